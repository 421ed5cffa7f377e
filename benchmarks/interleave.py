"""Interleaving: two loops timed in turns, so that whatever else the machine does falls on both."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

FEWEST = 3


@dataclass(frozen=True)
class Timing:
    """Milliseconds per step of two loops, medians over turns, and the second's ratio to the first, turn by turn."""

    turns: int
    hand_ms: float
    ours_ms: float
    ratio: float
    low: float
    high: float


def interleave(
    hand: Callable[[], object], ours: Callable[[], object], steps: int, seconds: float, clock: Callable[[], float]
) -> Timing:
    """Call each in turns for so many seconds, at least three times; the order within a turn alternates.

    A call takes ``steps`` steps. The interval ``low`` to ``high`` holds the middle four fifths of the ratios.
    """
    turns: list[tuple[float, float]] = []
    begin = time.perf_counter()
    while len(turns) < FEWEST or time.perf_counter() - begin < seconds:
        order = (hand, ours) if len(turns) % 2 else (ours, hand)
        taken = {loop: taken_by(loop, clock) for loop in order}
        turns.append((taken[hand], taken[ours]))
    times = np.array(turns)
    hand_ms, ours_ms = 1e3 * np.median(times, 0) / steps
    low, ratio, high = np.quantile(times[:, 1] / times[:, 0], [0.1, 0.5, 0.9])
    return Timing(len(turns), float(hand_ms), float(ours_ms), float(ratio), float(low), float(high))


def taken_by(call: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    """Seconds that a call takes."""
    begin = clock()
    call()
    return clock() - begin
