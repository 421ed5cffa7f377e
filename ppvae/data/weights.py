"""Weights of items: how much each counts in training."""

from __future__ import annotations

from typing import Any

import numpy as np

from ppvae.language.intake import library


def checked(weights: Any, items: int) -> np.ndarray:
    """The weights as numbers, ``(items,)``; ones for None.

    Raises:
        ValueError: they are not one number of 0 or more for each item, or all are 0.
    """
    if weights is None:
        return np.ones(items)
    if library(weights) == "pandas":
        raise ValueError("weights cannot be a data frame or series; give an array in the order of the data's rows")
    try:
        found = np.asarray(weights, np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"weights must be {items} numbers, one for each item, not {weights!r}") from None
    if found.shape != (items,):
        raise ValueError(f"weights have shape {found.shape}; give one for each of the {items} items, ({items},)")
    if not (np.isfinite(found) & (found >= 0)).all() or not found.any():
        raise ValueError("weights must be finite numbers of 0 or more, and not all 0")
    return found + 0.0  # no zero is negative, so that equal weights have equal bits
