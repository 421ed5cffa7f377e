"""Interruption: a request to end the process unwinds it as an exception does."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from ppvae.backends.devices import processes


@contextmanager
def terminable() -> Iterator[None]:
    """Within the block SIGTERM raises SystemExit, with the exit code of a process that it ended.

    To one of several processes that train together it means that the launcher ends them all, most often since another
    has died: ConnectionError. Outside the main thread, and where the process handles the signal in its own way, it is
    left alone.
    """
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, _exit)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGTERM) is _exit:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def ending() -> None:
    """One of several processes that train together ends by itself, and so hears no launcher that asks for it."""
    if processes.joined() and signal.getsignal(signal.SIGTERM) is _exit:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)


def _exit(number: int, frame: Any) -> NoReturn:
    if processes.joined():
        ending()
        raise ConnectionError(processes.LOST)
    raise SystemExit(128 + number)
