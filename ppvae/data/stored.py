"""Stored: rows of an array in a file, read when they are asked for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

BLOCK = 2**22  # numbers that are read at once


@dataclass(frozen=True, eq=False)
class Stored:
    """An array ``(items, *shape)`` in an ``.npy`` file, or those of its rows that ``rows`` names, in their order.

    Indexing reads what is asked for through a map of its own, so that nothing that was read stays in memory.
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
        return np.array(np.load(self.path, mmap_mode="r")[self.rows[rows]])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self[:] if dtype is None else self[:].astype(dtype)

    def take(self, rows: np.ndarray) -> Stored:
        """The given rows, in that order, still in the file."""
        chosen = self.rows[rows]
        return Stored(self.path, (len(chosen), *self.shape[1:]), self.dtype, chosen)


def stored(path: Path, blocks: Iterable[np.ndarray], items: int, shape: tuple[int, ...]) -> Stored:
    """Write blocks of float32 rows, ``(some, *shape)`` and together ``items``, one after the other."""
    kind, whole = np.dtype(np.float32), (items, *shape)
    with path.open("wb") as file:
        header = {"descr": np.lib.format.dtype_to_descr(kind), "fortran_order": False, "shape": whole}
        np.lib.format.write_array_header_1_0(file, header)
        for block in blocks:
            file.write(np.ascontiguousarray(block, kind).tobytes())
    return Stored(path, whole, kind, np.arange(items))


def in_blocks(array: Any) -> Iterator[tuple[slice, np.ndarray]]:
    """An array's rows, some at a time where they are stored and all at once where not, and where they stand."""
    if not isinstance(array, Stored):
        yield slice(None), array
        return
    size = max(BLOCK // max(int(np.prod(array.shape[1:])), 1), 1)
    for start in range(0, len(array), size):
        place = slice(start, start + size)
        yield place, array[place]


def rows_of(array: Any, rows: np.ndarray) -> Any:
    """The given rows of an array, which stay stored where they are."""
    return array.take(rows) if isinstance(array, Stored) else array[rows]
