"""Feeding: the rows of an epoch on the device, all at once, or block by block where they are read from disk."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from ppvae.backends.devices import processes
from ppvae.data.dataset import Dataset
from ppvae.data.stored import on_disk
from ppvae.runs.plan import Info
from ppvae.runs.settings import Settings

NUMBERS = 2**21  # at most so many of a block, but at least those of one step


class Block(NamedTuple):
    """Some of the data on the device; ``rows`` ``(steps, batch)`` of all data, those that this process is fed.

    They stand at ``places`` in it: ``(steps, batch)`` rows, or ``(steps,)`` numbers of steps where it holds
    ``(steps, batch, ...)``.
    """

    arrays: Mapping[str, Any]
    observed: Mapping[str, Any]
    rows: np.ndarray
    places: np.ndarray


Feed = Callable[[np.ndarray], Iterator[Block]]


def feeding(engine: Any, settings: Settings, data: Dataset) -> Feed:
    """What gives the rows of each step of an epoch, ``(steps, batch)``, with their data, in blocks of as many steps.

    The data, or those read from disk, are put on every device that takes part, once.
    """
    if on_disk(data.arrays):
        return partial(_from_disk, engine, settings, data)
    with engine.environment(settings):
        arrays, observed = (engine.put(held, settings) for held in (data.arrays, data.observed or {}))

    def whole(rows: np.ndarray) -> Iterator[Block]:
        own = rows[:, engine.own(rows.shape[1])]
        yield Block(arrays, observed, own, own)

    return whole


def _from_disk(engine: Any, settings: Settings, data: Dataset, rows: np.ndarray) -> Iterator[Block]:
    """Blocks of whole steps, of which each process reads its share alone."""
    steps, groups = _steps(data, rows), (data.arrays, data.observed or {})
    for start in range(0, len(rows), steps):
        some = rows[start : start + steps]
        read = some[:, processes.own(rows.shape[1])]
        with engine.environment(settings):
            arrays, observed = (engine.put_steps({n: a[read] for n, a in group.items()}, settings) for group in groups)
        block = Block(arrays, observed, some[:, engine.own(rows.shape[1])], np.arange(steps, dtype=np.int32))
        del arrays, observed
        yield block
        del block  # before the next one is read


def _steps(data: Dataset, rows: np.ndarray) -> int:
    """The most steps of a block that divide those of an epoch, so that a backend compiles once."""
    numbers = rows.shape[1] * sum(math.prod(array.shape[1:]) for array in data.arrays.values())
    return max(n for n in range(1, len(rows) + 1) if len(rows) % n == 0 and n * numbers <= max(NUMBERS, numbers))


def joined(infos: Sequence[Info]) -> Info:
    """What the steps of all blocks tell."""
    shares = {name: np.concatenate([info.shares[name] for info in infos]) for name in infos[0].shares}
    return Info(shares, np.concatenate([info.gradient_norm for info in infos]))
