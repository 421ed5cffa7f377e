"""Splits: which rows are trained on, and which are held out."""

from __future__ import annotations

import numpy as np


def split_rows(items: int, fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Two disjoint sets of shuffled rows, ``fraction`` of the items in the first.

    Raises:
        ValueError: one of them would be empty.
    """
    order = np.random.default_rng(seed).permutation(items)
    cut = round(fraction * items)
    if not 0 < cut < items:
        raise ValueError(f"a split of {items} items at {fraction} leaves one side empty")
    return order[:cut], order[cut:]
