"""Labels: names and numbers of items, NaN where one has none."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from ppvae.language.intake import is_missing


def as_label(what: str, given: Any) -> np.ndarray:
    """A label of each item, ``(items,)``: numbers or text; where some are missing, floats or objects, with NaN there.

    Raises:
        ValueError: it is no array of one axis, or of anything else.
    """
    given = given.numpy(force=True) if isinstance(given, torch.Tensor) else given
    values = np.array(np.ma.getdata(given) if isinstance(given, np.ma.MaskedArray) else given)
    if values.ndim != 1:
        raise ValueError(f"{what} must be an array (items,), one value an item, not of shape {values.shape}")
    missing = np.ma.getmaskarray(given).copy() if isinstance(given, np.ma.MaskedArray) else np.zeros(len(values), bool)
    if values.dtype.kind in "OT":
        missing |= np.array([is_missing(value) for value in values], bool)
        known = np.array(values[~missing].tolist())
    else:
        known = values[~missing]
    known = known.astype(str) if known.dtype.kind == "S" else known
    if known.ndim != 1 or known.dtype.kind not in "biufUMm":
        raise ValueError(f"{what} must hold numbers or text, and holds {_other(values[~missing])}")
    if not missing.any():
        return known
    found = np.full(len(values), np.nan, float if known.dtype.kind in "biuf" else object)
    found[~missing] = known
    return found


def _other(values: np.ndarray) -> str:
    """The first value that is no label, and what it is."""
    first = next((value for value in values.tolist() if not isinstance(value, str | int | float)), values[0])
    return f"{str(first)[:40]!r}, a {type(first).__name__}; write str() of each"
