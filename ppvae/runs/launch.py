"""Launch: what the launcher of several processes, such as torchrun, has told this one by its environment.

``RANK`` and ``WORLD_SIZE`` say which of how many it is, ``LOCAL_RANK`` which on its host, ``MASTER_ADDR`` and
``MASTER_PORT`` where they meet.
"""

from __future__ import annotations

import os
import sys


def count() -> int:
    """How many processes were launched together."""
    return int(os.environ.get("WORLD_SIZE", 1))


def rank() -> int:
    """The number of this process among them: process 0 writes, shows and decides."""
    return int(os.environ.get("RANK", 0)) if count() > 1 else 0


def sets_agree() -> bool:
    """Have names in a set the same order in all of them? Python draws it when it starts, unless it is told a number."""
    return os.environ.get("PYTHONHASHSEED", "random") != "random"


def agreeing() -> None:
    """Start this process again as one in which sets have the order of all others, unless that is so, or cannot be.

    What is compiled then is what another process has compiled before, or compiles beside.
    """
    if os.name == "posix" and os.path.isfile(sys.argv[0]) and not sets_agree():
        sys.stdout.flush()
        os.execve(sys.executable, sys.orig_argv, {**os.environ, "PYTHONHASHSEED": "0"})


def local_rank() -> int:
    """The number of this process among those of its host."""
    return int(os.environ.get("LOCAL_RANK", rank()))
