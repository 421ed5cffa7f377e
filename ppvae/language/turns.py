"""Turns: torch's random numbers and default dtype are those of the whole process, so one thread at a time uses them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

_turn, _door = threading.RLock(), threading.Lock()


@contextmanager
def turn() -> Iterator[None]:
    """No other thread is in such a block meanwhile; a block within a block waits for nobody.

    Threads come in about the order in which they asked: the next one waits in the door, so that whoever has just left
    cannot be in again before it.
    """
    if _turn._is_owned():  # type: ignore[attr-defined]
        yield
        return
    try:
        with _door:
            _turn.acquire()
        yield
    finally:
        if _turn._is_owned():  # type: ignore[attr-defined]  # and was not interrupted while it waited
            _turn.release()
