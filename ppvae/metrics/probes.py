"""Probes: what a linear classifier reads off the latents."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from ppvae.data.dataset import Dataset
from ppvae.inference.fitted import Fitted
from ppvae.metrics.classifiers import known, labels, linear
from ppvae.metrics.subsets import encoded


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

    It is fitted to the training items' latents, given the same modalities; items that have none of them, or no label,
    take no part.
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
    sides = (_labelled(fitted, data, label, subsets, site, draws, seed) for data in (train, test))
    return [float(linear().fit(*fit).score(*held)) for fit, held in zip(*sides, strict=True)]


def _labelled(
    fitted: Fitted, data: Dataset, label: str, subsets: Sequence[Collection[str]], site: str, draws: int, seed: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """For each subset, the latents and the labels of the items that have both."""
    truth = labels(data, label)
    found = [(mean, there & known(truth)) for mean, there in encoded(fitted, data, subsets, site, draws, seed)]
    return [(mean[seen], truth[seen]) for mean, seen in found]
