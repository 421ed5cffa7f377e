"""Launch: what the launcher of several processes, such as torchrun, has told this one by its environment.

``RANK`` and ``WORLD_SIZE`` say which of how many it is, ``LOCAL_RANK`` which on its host, ``MASTER_ADDR`` and
``MASTER_PORT`` where they meet.
"""

from __future__ import annotations

import os
import re
import sys


def count() -> int:
    """How many processes were launched together."""
    return _number("WORLD_SIZE") or 1


def rank() -> int:
    """The number of this process among them: process 0 writes, shows and decides."""
    return (_number("RANK") or 0) if count() > 1 else 0


def check() -> None:
    """Raise ValueError where what the launcher has told cannot be: this process would wait for others in vain."""
    if "WORLD_SIZE" not in os.environ:
        return
    _check("WORLD_SIZE", 1, 2**31)
    if count() > 1:
        _check("RANK", 0, count())
        _check("MASTER_PORT", 1, 2**16)
        if not os.environ.get("MASTER_ADDR"):
            raise ValueError("MASTER_ADDR is missing in the environment: it names the host of process 0")


def _check(name: str, least: int, end: int) -> None:
    if (number := _number(name)) is None or not least <= number < end:
        given = f"is {os.environ[name]!r}" if name in os.environ else "is missing"
        raise ValueError(
            f"{name} {given} in the environment, where a launcher such as torchrun sets a number from {least} to "
            f"{end - 1}: set it, or unset WORLD_SIZE to train in one process"
        )


def place() -> str:
    """Where the processes meet."""
    return f"{os.environ.get('MASTER_ADDR')}:{os.environ.get('MASTER_PORT')}"


def sets_agree() -> bool:
    """Have names in a set the same order in all of them? Python draws it when it starts, unless it is told a number."""
    return os.environ.get("PYTHONHASHSEED", "random") != "random"


def agreeing() -> None:
    """Start this process again as one in which sets have the order of all others, unless that is so, or cannot be.

    What is compiled then is what another process has compiled before, or compiles beside.
    """
    if os.name == "posix" and os.path.isfile(sys.argv[0]) and not sets_agree():
        if sys.stdout is not None:  # as it is where it was closed
            sys.stdout.flush()
        os.execve(sys.executable, sys.orig_argv, {**os.environ, "PYTHONHASHSEED": "0"})


def local_rank() -> int:
    """The number of this process among those of its host."""
    return rank() if (number := _number("LOCAL_RANK")) is None else number


def _number(name: str) -> int | None:
    """A whole number that the environment holds, if it is one."""
    text = os.environ.get(name, "")
    return int(text) if re.fullmatch(r"[0-9]{1,9}", text) else None
