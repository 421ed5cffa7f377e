"""Plates: those of a text's own that go over the items of the batch, under whatever name, as ``batch.plate()`` does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ContextDecorator, contextmanager
from contextvars import ContextVar
from typing import Any

from ppvae.language import ppl
from ppvae.language.batch import Batch

_around: ContextVar[tuple[Batch, frozenset[str]] | None] = ContextVar("batch around", default=None)
_noted: ContextVar[dict[str, bool] | None] = ContextVar("plates noted", default=None)


@contextmanager
def around(batch: Batch | None, others: frozenset[str]) -> Iterator[None]:
    """Within the block plates as long as the batch are its items', but for ``others``, which are so by chance."""
    token = _around.set(_around.get() if batch is None else (batch, others))
    try:
        yield
    finally:
        _around.reset(token)


@contextmanager
def noting() -> Iterator[dict[str, bool]]:
    """Of each plate within the block: was it always as long as the batch?"""
    found: dict[str, bool] = {}
    token = _noted.set(found)
    try:
        yield found
    finally:
        _noted.reset(token)


def over_items(name: str, size: Any, rows: Any, dim: int | None, free: bool) -> Batch | None:
    """The batch whose items a plate goes over: it has their number and their dimension, and leaves none out.

    ``free`` tells that no other plate around takes the last dimension.
    """
    known = _around.get()
    if known is None or not ppl.engaged() or not free or name in ("items", *known[1]) or dim not in (None, -1):
        return None
    batch = known[0]
    long = size in (None, batch.size) and (rows is None or len(rows) == batch.size)
    if (noted := _noted.get()) is not None and size is not None:
        noted[name] = long and noted.get(name, True)
    return batch if long else None


class Over(ContextDecorator):
    """A plate of a text over the items of the batch: ``batch.plate()`` within ``with``; as a loop, the text's own."""

    def __init__(self, batch: Batch, rows: Any, own: Callable[[], Any]) -> None:
        self.batch, self.rows, self.own = batch, rows, own
        self.entered: list[Any] = []

    def __enter__(self) -> Any:
        self.entered.append(plate := self.batch.plate())
        plate.__enter__()
        return ppl.ops.arange(self.batch.size) if self.rows is None else self.rows

    def __exit__(self, *error: Any) -> Any:
        return self.entered.pop().__exit__(*error)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.own())
