"""Stacking: things of one kind, some of which are not there, as one array with holes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np


def stacked(
    one: Callable[[Any], np.ndarray], raw: Iterable[Any], shape: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """``one`` of each thing, ``(items, *shape)`` in float32, and which of them were there, ``(items,)``."""
    rows = [None if thing is None else one(thing) for thing in raw]
    array = np.zeros((len(rows), *shape), np.float32)
    observed = np.array([row is not None for row in rows], bool)
    for i in np.flatnonzero(observed):
        array[i] = rows[i]
    return array, observed
