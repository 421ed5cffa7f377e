"""Predicted: draws of modalities, as the data have them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod

import numpy as np

from ppvae.language.modality import Modality


def as_measured(drawn: Mapping[str, np.ndarray], modalities: Sequence[Modality]) -> dict[str, np.ndarray]:
    """Draws ``(draws, items, *shape)`` in the order of the modalities, NaN in what nobody measured in training.

    A model may observe the numbers of an item in a shape of its own, and JAX sorts what it returns by name.
    """
    return {each.name: _whole(drawn[each.name], each) for each in modalities if each.name in drawn}


def _whole(values: np.ndarray, modality: Modality) -> np.ndarray:
    if prod(values.shape[2:]) == prod(modality.shape):
        values = values.reshape(*values.shape[:2], *modality.shape)
    if not modality.unmeasured:
        return values
    known = np.ones(modality.shape, bool)
    known.flat[list(modality.unmeasured)] = False
    return np.where(known, values, np.nan)
