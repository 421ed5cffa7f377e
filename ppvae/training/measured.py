"""Measured: what of the training data nobody measured, and what their precision hides, found before training."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ppvae.data.dataset import Dataset
from ppvae.data.modalities import unmeasured
from ppvae.data.stored import in_blocks
from ppvae.language.modality import REALS, Modality

NAMED = 5  # elements
ROOT = float(np.sqrt(np.finfo(np.float32).max))  # the square of what is larger is infinite in float32


def measured(data: Dataset, dtype: str) -> Dataset:
    """The data, whose modalities say which of their elements no item has.

    Warns:
        UserWarning: there are such elements, or training in this dtype would round away how an element varies, or lose
            its square.

    Raises:
        ValueError: of a modality there is nothing at all, or its squares are beyond this dtype.
    """
    found = []
    for modality in data.modalities or ():
        lacking = unmeasured(data.arrays[modality.name], (data.observed or {}).get(modality.name))
        if len(lacking) == max(np.prod(modality.shape, dtype=int), 1):
            raise ValueError(f"modality {modality.name!r} has no value at all in the training data; leave it out")
        if lacking:
            _warn(f"nobody measured {_told(modality, lacking)}, so answers there are NaN")
        if dtype == "float32" and (largest := _largest(data.arrays[modality.name])) > ROOT:
            raise ValueError(
                f"modality {modality.name!r} holds a number of size {largest:g}, whose square float32 cannot hold: "
                "make it NaN if it stands for what is missing, or rescale it, or train with dtype='float64'"
            )
        if dtype == "float32" and (least := _least(modality)) < 10 / ROOT:
            _warn(
                f"modality {modality.name!r} varies by {least:g}, whose square float32 cannot hold: rescale it, or "
                "train with dtype='float64'"
            )
        if dtype == "float32" and (coarse := _coarse(data, modality.name)):
            cure = "subtract a constant from it, or train with dtype='float64'"
            _warn(f"float32 rounds {_told(modality, coarse)} by more than a hundredth of how it varies: {cure}")
        found.append(replace(modality, unmeasured=lacking))
    return data.like(found)


def _largest(array: Any) -> float:
    return max(float(np.abs(block).max(initial=0)) for _, block in in_blocks(array))


def _least(modality: Modality) -> float:
    """The smallest spread of real numbers."""
    return float(np.min(modality.spread)) if modality.likelihood in REALS and modality.spread is not None else 1.0


def _coarse(data: Dataset, name: str) -> list[int]:
    """The elements that float32 rounds by more than a hundredth of their deviation, unless that is rounding too."""
    if (kind := data.arrays[name].dtype).itemsize < 4 or kind == np.float32:
        return []
    array = data.arrays[name].reshape(len(data), -1)
    values = np.ma.masked_invalid(data.holed(name).reshape(len(data), -1))
    rounding = np.abs(array - array.astype(np.float32)).max(0)
    deviation, level = values.std(0).filled(0), np.abs(values.mean(0)).filled(0)
    return np.flatnonzero((rounding > 0.01 * deviation) & (deviation > 1e-9 * level)).tolist()


def _told(modality: Modality, elements: Sequence[int]) -> str:
    names = [str(modality.features[i]) if modality.features else f"element {i}" for i in elements[:NAMED]]
    more = f" and {len(elements) - NAMED} more" if len(elements) > NAMED else ""
    return f"{', '.join(names)}{more} of modality {modality.name!r}"


def _warn(sentence: str) -> None:
    warnings.warn(sentence, UserWarning, stacklevel=4)  # the call of fit
