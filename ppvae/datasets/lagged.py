"""Lagged: series driven by one path through time, each after a lag of its own, with missing stretches."""

from __future__ import annotations

import numpy as np

from ppvae.data.dataset import Dataset
from ppvae.language.modality import Modality

MEMORY = 4.0  # steps after which a path has forgotten all but 1/e
NOISE = 0.3
GAINS = {"a": (1.0, -0.7), "b": (0.9,), "c": (-0.8, 0.6)}  # of the channels of each series
ON_TIME = "a"


def lagged(
    items: int = 1000, times: int = 40, lags: int = 8, known: float = 0.3, missing: float = 0.15, seed: int = 0
) -> Dataset:
    """Three series ``(channels, times)`` of one path: ``a`` on time, ``b`` and ``c`` later by ``b_lag`` and ``c_lag``.

    The path is an Ornstein-Uhlenbeck process of variance 1 that forgets in 4 steps. A reading is a channel's gain times
    the path so many steps before as the series' lag, uniform over ``0..lags - 1``, with noise of 0.3. The true lags are
    the labels ``b_lag`` and ``c_lag``.

    Args:
        items: how many.
        times: length of the clock.
        lags: how many values a lag takes.
        known: share of the lags that are measured.
        missing: length, as a share of the clock, of the stretch that is missing in each series at a random place; a
            series ends early by up to as much.
        seed: of everything.
    """
    rng = np.random.default_rng(seed)
    path, truth = _paths(rng, items, times + lags - 1), {}
    arrays: dict[str, np.ndarray] = {}
    for name, gains in GAINS.items():
        lag = np.zeros(items, int) if name == ON_TIME else rng.integers(0, lags, items)
        seen = path[np.arange(items)[:, None], lags - 1 - lag[:, None] + np.arange(times)]
        readings = np.array(gains)[:, None] * seen[:, None] + NOISE * rng.normal(size=(items, len(gains), times))
        arrays[name] = np.where(_holes(rng, items, times, missing)[:, None], np.nan, readings)
        if name != ON_TIME:
            truth[f"{name}_lag"] = lag
            arrays[f"{name}_lag"] = np.where(rng.random(items) < known, lag, np.nan)[:, None]
    return Dataset(arrays, labels=truth, modalities=[_modality(name, x, lags) for name, x in arrays.items()])


def _paths(rng: np.random.Generator, items: int, steps: int) -> np.ndarray:
    """Stationary paths, ``(items, steps)``."""
    rho = np.exp(-1 / MEMORY)
    path = rng.normal(size=(items, steps))
    for step in range(1, steps):
        path[:, step] = rho * path[:, step - 1] + np.sqrt(1 - rho**2) * path[:, step]
    return path


def _holes(rng: np.random.Generator, items: int, times: int, share: float) -> np.ndarray:
    """True in a stretch at a random place and after an early end, ``(items, times)``."""
    length, clock = int(share * times), np.arange(times)
    start, ended = rng.integers(0, times - length + 1, items), rng.integers(0, length + 1, items)
    within = (clock >= start[:, None]) & (clock < start[:, None] + length)
    return within | (clock >= times - ended[:, None])


def _modality(name: str, array: np.ndarray, lags: int) -> Modality:
    if array.ndim == 2:
        return Modality(name, (1,), "categorical", levels=lags)
    return Modality(name, array.shape[1:], center=0.0, spread=1.0, kind="series")
