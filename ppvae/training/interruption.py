"""Interruption: a request to end the process unwinds it as an exception does."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from ppvae.backends.devices import processes

ENDINGS = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]  # and a closed terminal


@contextmanager
def terminable() -> Iterator[None]:
    """Within the block SIGTERM and SIGHUP raise SystemExit, with the exit code of a process that they ended.

    To one of several processes that train together it means that the launcher ends them all, most often since another
    has died: ConnectionError. Outside the main thread, and where the process handles a signal in its own way, as under
    nohup, it is left alone.
    """
    main = threading.current_thread() is threading.main_thread()
    ours = [number for number in ENDINGS if main and signal.getsignal(number) is signal.SIG_DFL]
    for number in ours:
        signal.signal(number, _exit)
    try:
        yield
    finally:
        for number in ours:
            if signal.getsignal(number) is _exit:
                signal.signal(number, signal.SIG_DFL)


def ending() -> None:
    """One of several processes that train together ends by itself, and so hears no launcher that asks for it."""
    for number in ENDINGS if processes.joined() else ():
        if signal.getsignal(number) is _exit:
            signal.signal(number, signal.SIG_IGN)


def _exit(number: int, frame: Any) -> NoReturn:
    if processes.joined():
        ending()
        raise ConnectionError(processes.LOST)
    raise SystemExit(128 + number)
