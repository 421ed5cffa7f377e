"""Lessons: rows of the data, each without what a random subset of its modalities leaves out."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ppvae.data.dataset import Dataset
from ppvae.inference.fitted import Fitted
from ppvae.language.batch import over


def repeated(data: Dataset, items: int, seed: int) -> Dataset:
    """So many rows in random order, each again only after all others."""
    rows = np.random.default_rng([seed, 0]).permutation(len(data))
    return data.take(np.resize(rows, items))


def hidden(fitted: Fitted, data: Dataset, seed: int) -> dict[str, np.ndarray]:
    """Which items do without a modality that they have, ``(items,)`` by name.

    How many of them an item keeps is drawn uniformly from 1 to all it has, and then which; what the model takes as
    given stays.
    """
    random = np.random.default_rng([seed, 1])
    present = np.stack([data.present(name) for name in fitted.explained])
    rank = (random.random(present.shape) + ~present).argsort(0).argsort(0)
    kept = 1 + np.floor(random.random(len(data)) * present.sum(0))
    return dict(zip(fitted.explained, present & (rank >= kept), strict=True))


def without(data: Dataset, hidden: Mapping[str, np.ndarray]) -> Dataset:
    """The data with holes for what is hidden of an item."""
    observed = dict(data.observed or {})
    for name, mask in hidden.items():
        known = observed.get(name, np.ones(len(data), bool))
        observed[name] = known & ~over(mask, known)
    return Dataset(data.arrays, observed, modalities=data.modalities)
