"""Probing: what a linear classifier reads off the latents."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from ppvae.data.dataset import Dataset
from ppvae.metrics.judging import labels, linear
from ppvae.metrics.shown import anything, shown
from ppvae.posterior import Fitted


def probe(
    fitted: Fitted,
    train: Dataset,
    test: Dataset,
    label: str,
    given: Collection[str] | None = None,
    site: str = "z",
    draws: int = 20,
    seed: int = 0,
) -> float:
    """Share of the test items whose label a linear classifier reads off the mean of a latent, given some modalities.

    It is fitted to the training items' latents, given the same modalities; items that have none of them take no part.
    """
    return probes(fitted, train, test, label, [train.arrays if given is None else given], site, draws, seed)[0]


def probes(
    fitted: Fitted,
    train: Dataset,
    test: Dataset,
    label: str,
    subsets: Sequence[Collection[str]],
    site: str = "z",
    draws: int = 20,
    seed: int = 0,
) -> list[float]:
    """The :func:`probe` given each subset of modalities, asked all at once."""
    pieces = []
    for data in (train, test):
        rows = shown(data, subsets)
        mean = fitted.encode(rows, draws=draws, seed=seed)[site].mean(0).reshape(len(rows), -1)
        pieces.append([np.split(part, len(subsets)) for part in (mean, labels(rows, label), anything(rows))])
    scores = []
    for (z, truth, there), (new, answers, seen) in zip(*(zip(*piece, strict=True) for piece in pieces), strict=True):
        scores.append(float(linear().fit(z[there], truth[there]).score(new[seen], answers[seen])))
    return scores
