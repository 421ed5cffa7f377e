"""Subsets: the same items with only some modalities to be seen, for many subsets at once, and their posterior means."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from ppvae.data.dataset import Dataset
from ppvae.inference.fitted import Fitted


def shown(data: Dataset, subsets: Sequence[Collection[str]]) -> Dataset:
    """The items once for each subset of modalities, everything else hidden: subset by subset, rows in their order.

    One question about the result asks about every subset, so that a backend compiles once for all of them.

    Raises:
        ValueError: there is no subset, or one names a modality that the data lack.
    """
    unknown = {name for subset in subsets for name in subset} - data.arrays.keys()
    if not subsets:
        raise ValueError("no subset was given; give a list of lists of names")
    if unknown:
        raise ValueError(f"subsets name {sorted(unknown)}; name some of the data's modalities {list(data.arrays)}")
    observed = {}
    for name in data.arrays:
        mask = (data.observed or {}).get(name, np.ones(len(data), bool))
        observed[name] = np.concatenate([mask & (name in subset) for subset in subsets])
    copies = {name: np.concatenate([array] * len(subsets)) for name, array in data.arrays.items()}
    labels = {name: np.concatenate([label] * len(subsets)) for name, label in (data.labels or {}).items()}
    return Dataset(copies, observed, labels, data.modalities)


def anything(data: Dataset) -> np.ndarray:
    """Which items have something measured, booleans ``(items,)``."""
    return np.any([data.present(name) for name in data.arrays], axis=0)


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
