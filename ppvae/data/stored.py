"""Stored: rows of an array in a file, read when they are asked for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from ppvae.data.preprocessing import Preprocessing

BLOCK = 2**20  # numbers that are read at once
THINGS = 256  # that are encoded at once


@dataclass(frozen=True, eq=False)
class Stored:
    """An array ``(items, *shape)`` in a file, row after row, or those of its rows that ``rows`` names, in their order.

    Indexing reads what is asked for, and nothing else: a map of the file would count what lies around it, too.
    """

    path: Path
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    rows: np.ndarray

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> np.ndarray:
        chosen = np.asarray(self.rows[rows])
        found = np.empty((chosen.size, *self.shape[1:]), self.dtype)
        size = found.nbytes // max(chosen.size, 1)
        with self.path.open("rb", buffering=0) as file:
            for row, into in zip(chosen.flat, found.reshape(chosen.size, -1), strict=True):
                file.seek(int(row) * size)
                file.readinto(into.data)
        return found.reshape(*chosen.shape, *self.shape[1:])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self[:] if dtype is None else self[:].astype(dtype)

    def take(self, rows: np.ndarray) -> Stored:
        """The given rows, in that order, still in the file."""
        chosen = self.rows[rows]
        return Stored(self.path, (len(chosen), *self.shape[1:]), self.dtype, chosen)


def stored(path: Path, blocks: Iterable[np.ndarray], items: int, shape: tuple[int, ...]) -> Stored:
    """Write blocks of float32 rows, ``(some, *shape)`` and together ``items``, one after the other."""
    with path.open("wb") as file:
        for block in blocks:
            file.write(np.ascontiguousarray(block, np.float32).data)  # tofile does not say what the system refuses
    return Stored(path, (items, *shape), np.dtype(np.float32), np.arange(items))


def encoded(path: Path, made: Preprocessing, things: Iterator[Any], items: int) -> tuple[Stored, np.ndarray]:
    """Things as rows in a file, read and encoded some at a time, and where they were measured."""
    observed: list[np.ndarray] = []

    def blocks() -> Iterator[np.ndarray]:
        for _ in range(0, items, THINGS):
            array, seen = made.encode(islice(things, THINGS))
            observed.append(seen)
            yield array

    return stored(path, blocks(), items, made.shape), np.concatenate(observed)


def in_blocks(array: Any) -> Iterator[tuple[slice, np.ndarray]]:
    """An array's rows, some at a time where they are stored and all at once where not, and where they stand."""
    if not isinstance(array, Stored):
        yield slice(None), array
        return
    size = max(BLOCK // max(int(np.prod(array.shape[1:])), 1), 1)
    for start in range(0, len(array), size):
        place = slice(start, start + size)
        yield place, array[place]


def on_disk(arrays: Mapping[str, Any]) -> bool:
    """Does one of these arrays lie in a file?"""
    return any(isinstance(array, Stored) for array in arrays.values())


def rows_of(array: Any, rows: np.ndarray) -> Any:
    """The given rows of an array, which stay stored where they are."""
    return array.take(rows) if isinstance(array, Stored) else array[rows]
