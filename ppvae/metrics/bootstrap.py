"""Bootstrap: how far a mean over items would move, had other items been drawn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

NUMBERS = 2**20  # at most so many resampled values are held at once


@dataclass(frozen=True)
class Interval:
    """A mean over items between the bounds of its bootstrap interval."""

    value: float
    low: float
    high: float


def interval(values: np.ndarray, level: float = 0.95, resamples: int = 2000, seed: int = 0) -> Interval:
    """The mean of one number for each item, with its percentile bootstrap interval over items.

    The interval (Efron and Tibshirani 1993, chapter 13) says how much the choice of items matters, and nothing of the
    seed of the training. Where all items agree it has no width, however few they are.

    Args:
        values: ``(items,)``; items that are NaN were not measured, and take no part.
        level: how often the interval should hold the mean of all possible items.
        resamples: bootstrap samples.
        seed: of the resampling.

    Raises:
        ValueError: fewer than two items were measured.

    >>> interval(np.array([0.0, 1.0, 1.0, np.nan, 1.0]))
    Interval(value=0.75, low=0.25, high=1.0)
    """
    values = values.astype(np.float64)
    seen = values[~np.isnan(values)]
    if len(seen) < 2:
        raise ValueError(f"{len(seen)} of {len(values)} items were measured; an interval needs at least two")
    found = stats.bootstrap(
        (seen,),
        np.mean,
        n_resamples=resamples,
        batch=max(1, NUMBERS // len(seen)),
        confidence_level=level,
        method="percentile",
        random_state=seed,
    ).confidence_interval
    return Interval(float(seen.mean()), float(found.low), float(found.high))
