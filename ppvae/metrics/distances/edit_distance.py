"""Edit distance: how many edits lie between two sequences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def levenshtein(one: Sequence[Any] | np.ndarray, other: Sequence[Any] | np.ndarray) -> int:
    """The fewest insertions, deletions and substitutions that turn one sequence into the other (Levenshtein 1966).

    >>> levenshtein("kitten", "sitting")
    3
    """
    target = np.array(list(other))
    columns = np.arange(len(target) + 1)
    row = columns
    for symbol in one:
        kept = row[:-1] + (target != symbol)
        best = np.concatenate([row[:1] + 1, np.minimum(kept, row[1:] + 1)])
        row = np.minimum.accumulate(best - columns) + columns  # insertions, each one more than the column to its left
    return int(row[-1])


def edit_distance(real: np.ndarray, made: np.ndarray, end: float | None = None) -> np.ndarray:
    """Edits between each real sequence and the one made for it, over the length of the longer: ``(items,)``, 0 to 1.

    Args:
        real: symbols ``(items, length)``; NaN was not measured, and such places are left out of both sequences. An
            item without any other place is NaN.
        made: symbols ``(items, length)``.
        end: the symbol that ends a sequence, or fills it up: it and what follows are cut off.

    >>> edit_distance(np.array([[3, 1, 2, 0], [1, 2, 0, 0]]), np.array([[3, 2, 2, 0], [1, 0, 2, 2]]), end=0)
    array([0.33333333, 0.5       ])
    """
    return np.array([_distance(one, other, end) for one, other in zip(real, made, strict=True)])


def _distance(real: np.ndarray, made: np.ndarray, end: float | None) -> float:
    seen = ~np.isnan(real)
    one, other = (_until(row[seen], end) for row in (real, made))
    longest = max(len(one), len(other))
    return levenshtein(one, other) / max(longest, 1) if seen.any() else np.nan


def _until(row: np.ndarray, end: float | None) -> np.ndarray:
    ended = row == end if end is not None else np.zeros(len(row), bool)
    return row[: ended.argmax()] if ended.any() else row
