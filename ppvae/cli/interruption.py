"""Interruption: Ctrl-C, at whatever moment, ends a command with one line and exit code 130."""

from __future__ import annotations

import _thread
import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any, Never

from ppvae.runs import launch

CODE = 130
LINE = "Interrupted."


def guarded(command: Callable[[], int], last: bool) -> int:
    """Run a command; where Ctrl-C stops it, say so and return 130.

    Args:
        command: returns its exit code; a KeyboardInterrupt that it raises may carry the line to say.
        last: nothing but leaving the process comes after it, and Ctrl-C should not disturb that either: an interrupted
            command leaves at once.
    """
    if threading.current_thread() is not threading.main_thread() or not _ours():
        return _answered(command)
    pressed: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: _stop(pressed, frame)), sys.unraisablehook
    sys.unraisablehook = _again
    try:
        return command()
    except BaseException as error:  # libraries may turn an interrupt into an error of their own
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        if not pressed and not isinstance(error, KeyboardInterrupt):
            raise
        code = _said(error)
        return _left(code) if last else code
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN if last else before[0])
        sys.unraisablehook = before[1]


def _answered(command: Callable[[], int]) -> int:
    """The command, where Ctrl-C is somebody else's: what raises KeyboardInterrupt by itself is told all the same."""
    try:
        return command()
    except KeyboardInterrupt as error:
        return _said(error)


def _said(error: BaseException) -> int:
    """Say the line that an interrupt carries, or our own; of several processes process 0 does."""
    if launch.rank() == 0:
        print(str(error) if isinstance(error, KeyboardInterrupt) and str(error) else LINE, file=sys.stderr)
    return CODE


def _left(code: int) -> Never:
    """Leave at once: libraries whose threads still compile may crash while the interpreter is taken down."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, AttributeError):  # None is what was closed
            stream.flush()
    os._exit(code)


def _ours() -> bool:
    """Is Ctrl-C still as Python made it? A parent or a host program that changed it, such as nohup, has its reasons."""
    return signal.getsignal(signal.SIGINT) is signal.default_int_handler


def _stop(pressed: list[int], frame: FrameType | None) -> None:
    """Raise KeyboardInterrupt, but leave at once where a module is loading: not all of them survive an exception."""
    pressed.append(1)
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            with suppress(OSError):
                os.write(2, f"{LINE}\n".encode())
            os._exit(CODE)
        frame = frame.f_back
    raise KeyboardInterrupt


def _again(error: Any) -> None:
    """An interrupt that a destructor or a callback swallowed comes again: raised here it would be lost too."""
    if isinstance(error.exc_value, KeyboardInterrupt):
        threading.Timer(0.01, _thread.interrupt_main).start()
    else:
        sys.__unraisablehook__(error)
