"""Keys: a number for each row of a data set, from what was measured in it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from ppvae.data.stored import in_blocks


def row_keys(arrays: Mapping[str, Any], observed: Mapping[str, np.ndarray]) -> np.ndarray:
    """A 32-bit key for each row, whatever stands in its holes: ``(items,)``.

    Rows that are equal to the last bit are told apart by how many of them came before.
    """
    parts = [_row_bytes(arrays[name], observed.get(name)) for name in sorted(arrays)]
    return _told_apart(b"".join(row) for row in zip(*parts, strict=True))


def _row_bytes(array: np.ndarray, mask: np.ndarray | None) -> Iterator[bytes]:
    """The values of each row and which of them were measured, whatever form other rows give the mask."""
    for place, block in in_blocks(array):
        rows = np.ascontiguousarray(block).reshape(len(block), -1)
        seen = np.ones((1, 1), bool) if mask is None else mask[place].reshape(len(block), -1)
        there = np.packbits(np.broadcast_to(seen, (len(seen), rows.shape[1])), axis=1)
        for values, bits in zip(rows, np.broadcast_to(there, (len(rows), there.shape[1])), strict=True):
            yield values.tobytes() + bits.tobytes()


def _told_apart(rows: Iterable[bytes]) -> np.ndarray:
    seen: dict[bytes, int] = {}
    keys = []
    for row in rows:
        digest = hashlib.blake2b(row, digest_size=8).digest()
        copy = seen[digest] = seen.get(digest, -1) + 1
        keys.append(np.random.SeedSequence([int.from_bytes(digest), copy]).generate_state(1)[0])
    return np.array(keys, np.uint32)
