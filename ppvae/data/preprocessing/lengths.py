"""Lengths: how long all things of a kind are made, where one that is far longer than the rest would rule."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

SHORT = 128  # steps that cost little, however few of them are needed


def bounded(lengths: Sequence[int]) -> int:
    """The longest of these lengths, but at most twice what 99 of 100 need, and never cut below 128.

    Every thing is filled up to this length, in memory and in each step of training.

    >>> bounded([20, 30, 400]), bounded([20] * 98 + [300, 9000])
    (128, 600)
    """
    most = int(np.quantile(lengths, 0.99, method="lower"))
    return min(max(lengths), max(2 * most, SHORT))
