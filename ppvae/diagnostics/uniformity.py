"""Uniformity: are values in (0, 1) uniform? The test behind every calibration check, and its simultaneous bands.

The empirical distribution function is looked at in equal cells, where its count is binomial. Its worst two-sided
binomial tail is the statistic; its distribution is simulated, so that the bands hold at all cells together (Säilynoja,
Bürkner & Vehtari 2022, "Graphical test for discrete uniformity and its applications in goodness-of-fit evaluation and
multiple sample comparison").
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy import stats

CELLS = 100
SIMULATIONS = 10_000
EDGES = np.arange(1, CELLS) / CELLS


def p_values(values: np.ndarray) -> np.ndarray:
    """The p-value of uniformity over axis 0, ``(items, ...) -> (...)``; NaN is no value, and 1 where there is none.

    Below what the simulations resolve it is the union bound over cells.
    """
    columns = values.reshape(len(values), -1)
    sizes = (~np.isnan(columns)).sum(0)
    found = np.ones(len(sizes))
    for size in np.unique(sizes[sizes > 0]):
        chosen = sizes == size
        found[chosen] = _p_values(_counts(columns[:, chosen]), int(size))
    return found.reshape(values.shape[1:])


def band(items: int, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper bound of the distribution function at ``EDGES``: all hold with probability ``level``."""
    local = np.quantile(_null(items), 1 - level)
    return stats.binom.ppf(local / 2, items, EDGES) / items, stats.binom.ppf(1 - local / 2, items, EDGES) / items


def distribution(values: np.ndarray) -> np.ndarray:
    """The empirical distribution function of ``(items, columns)`` at ``EDGES``: ``(columns, cells − 1)``."""
    return _counts(values) / (~np.isnan(values)).sum(0)[:, None]


def _counts(columns: np.ndarray) -> np.ndarray:
    """How many values of each column lie below each edge: ``(columns, cells − 1)``."""
    cells = np.clip(np.floor(np.nan_to_num(columns) * CELLS), 0, CELLS - 1).astype(int)
    index = cells + CELLS * np.arange(columns.shape[1])
    counts = np.bincount(index[~np.isnan(columns)], minlength=CELLS * columns.shape[1])
    return counts.reshape(-1, CELLS).cumsum(1)[:, :-1]


def _p_values(counts: np.ndarray, items: int) -> np.ndarray:
    worst = _worst(counts, items)
    simulated = (1 + np.searchsorted(_null(items), worst * (1 + 1e-9), side="right")) / (SIMULATIONS + 1)
    return np.minimum(simulated, worst * len(EDGES))


def _worst(counts: np.ndarray, items: int) -> np.ndarray:
    """The smallest two-sided binomial tail over cells, ``(columns,)``."""
    return np.minimum(1.0, _tails(items)[np.arange(len(EDGES)), counts].min(1))


@lru_cache(maxsize=16)
def _tails(items: int) -> np.ndarray:
    """The two-sided tail of every count at every edge: ``(cells − 1, items + 1)``."""
    counts = np.arange(items + 1)
    below = stats.binom.cdf(counts, items, EDGES[:, None])
    above = stats.binom.sf(counts - 1, items, EDGES[:, None])
    return 2 * np.minimum(below, above)


@lru_cache(maxsize=1024)
def _null(items: int) -> np.ndarray:
    """The sorted statistic of simulated uniform values."""
    rng = np.random.default_rng(items)
    drawn = rng.multinomial(items, np.full(CELLS, 1 / CELLS), SIMULATIONS).cumsum(1)[:, :-1]
    return np.sort(_worst(drawn, items))
