"""Interleaving: two loops timed in turns, so that whatever else the machine does falls on both."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

LIMIT_SECONDS = 60.0


@dataclass(frozen=True)
class Timing:
    """Milliseconds per step of two loops, medians over blocks, and the second's ratio to the first, block by block."""

    blocks: int
    hand_ms: float
    ours_ms: float
    ratio: float
    low: float
    high: float


def interleave(
    hand: Callable[[], object], ours: Callable[[], object], steps: int, blocks: int, clock: Callable[[], float]
) -> Timing:
    """Time up to ``blocks`` calls of each, in turns; the order within a turn alternates. A call takes ``steps`` steps.

    It stops early after a minute, as on a machine that is busy with other work. The interval ``low`` to ``high`` holds
    the middle four fifths of the ratios.
    """
    turns: list[tuple[float, float]] = []
    begin = time.perf_counter()
    while len(turns) < blocks and time.perf_counter() - begin < LIMIT_SECONDS:
        order = (hand, ours) if len(turns) % 2 else (ours, hand)
        taken = {loop: _seconds(loop, clock) for loop in order}
        turns.append((taken[hand], taken[ours]))
    seconds = np.array(turns)
    hand_ms, ours_ms = 1e3 * np.median(seconds, 0) / steps
    low, ratio, high = np.quantile(seconds[:, 1] / seconds[:, 0], [0.1, 0.5, 0.9])
    return Timing(len(turns), float(hand_ms), float(ours_ms), float(ratio), float(low), float(high))


def _seconds(call: Callable[[], object], clock: Callable[[], float]) -> float:
    begin = clock()
    call()
    return clock() - begin
