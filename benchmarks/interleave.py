"""Interleaving: two loops timed in turns, so that whatever else the machine does falls on both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Timing:
    """Milliseconds per step of two loops (medians over blocks), and the second's ratio to the first, block by block."""

    hand_ms: float
    ours_ms: float
    ratio: float
    low: float
    high: float


def interleave(
    hand: Callable[[], object], ours: Callable[[], object], steps: int, blocks: int, clock: Callable[[], float]
) -> Timing:
    """Time ``blocks`` calls of each, in turns; the order within a turn alternates. A call takes ``steps`` steps.

    The interval ``low`` to ``high`` holds the middle four fifths of the ratios.
    """
    seconds = np.empty((blocks, 2))
    for block in range(blocks):
        for column in (0, 1) if block % 2 else (1, 0):
            begin = clock()
            (hand, ours)[column]()
            seconds[block, column] = clock() - begin
    hand_ms, ours_ms = 1e3 * np.median(seconds, 0) / steps
    low, ratio, high = np.quantile(seconds[:, 1] / seconds[:, 0], [0.1, 0.5, 0.9])
    return Timing(float(hand_ms), float(ours_ms), float(ratio), float(low), float(high))
