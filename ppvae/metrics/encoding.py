"""Encoding: the posterior means of the same items, given each of many subsets of modalities."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from ppvae.data.dataset import Dataset
from ppvae.metrics.shown import anything, shown
from ppvae.posterior import Fitted


def encoded(
    fitted: Fitted,
    data: Dataset,
    subsets: Sequence[Collection[str]],
    site: str = "z",
    draws: int = 20,
    seed: int = 0,
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Means ``(items, elements)`` of a latent given each subset, and which items have something of it, ``(items,)``.

    Raises:
        ValueError: the posterior has no such latent.
    """
    rows = shown(data, subsets)
    drawn = fitted.encode(rows, draws=draws, seed=seed)
    if site not in drawn:
        raise ValueError(f"the posterior has no latent {site!r}; it has {', '.join(drawn)}")
    mean = drawn[site].mean(0).reshape(len(rows), -1)
    parts = (np.split(part, len(subsets)) for part in (mean, anything(rows)))
    return list(zip(*parts, strict=True))
