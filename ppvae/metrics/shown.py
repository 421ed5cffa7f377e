"""Shown: the same items with only some modalities to be seen, for many subsets of modalities at once."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from ppvae.data.dataset import Dataset


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
