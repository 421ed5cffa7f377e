"""Measured: what of the training data nobody measured, and what their precision hides, found before training."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np

from ppvae.data.dataset import Dataset
from ppvae.data.modalities import unmeasured
from ppvae.language.modality import Modality

NAMED = 5  # elements


def measured(data: Dataset) -> Dataset:
    """The data, whose modalities say which of their elements no item has.

    Warns:
        UserWarning: there are such elements.

    Raises:
        ValueError: of a modality there is nothing at all.
    """
    found = []
    for modality in data.modalities or ():
        lacking = unmeasured(data.arrays[modality.name], (data.observed or {}).get(modality.name))
        if len(lacking) == max(np.prod(modality.shape, dtype=int), 1):
            raise ValueError(f"modality {modality.name!r} has no value at all in the training data; leave it out")
        if lacking:
            _warn(modality, lacking)
        found.append(replace(modality, unmeasured=lacking))
    return data.like(found)


def _warn(modality: Modality, lacking: tuple[int, ...]) -> None:
    names = [str(modality.features[i]) if modality.features else f"element {i}" for i in lacking[:NAMED]]
    more = f" and {len(lacking) - NAMED} more" if len(lacking) > NAMED else ""
    warnings.warn(
        f"nobody measured {', '.join(names)}{more} of modality {modality.name!r}, so answers there are NaN",
        UserWarning,
        stacklevel=4,  # the call of fit
    )
