"""Apart: what a process of its own computes, so that the libraries which that takes are gone with it."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from typing import Any, TypeVar

from ppvae.cli import command

Answer = TypeVar("Answer")
CODE = "from ppvae.cli import apart; apart.answer()"


def apart(make: Callable[..., Answer], *given: Any) -> Answer:
    """What ``make(*given)`` returns; all of it has to be picklable. What it says, it says on stderr.

    Raises:
        ValueError: the other process met a mistake of the user's.
        MemoryError: the system has ended it.
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    asked = pickle.dumps((make, given))
    run = subprocess.run([sys.executable, "-P", "-c", CODE], input=asked, stdout=subprocess.PIPE, env=environment)
    if run.returncode < 0:
        raise MemoryError("the process that read the data was ended")
    run.check_returncode()
    answer = pickle.loads(run.stdout)
    if isinstance(answer, ValueError):
        raise answer
    return answer


def answer() -> None:
    """In the other process: read what is asked, and write the answer, or the mistake of the user's that it met."""
    make, given = pickle.load(sys.stdin.buffer)
    try:
        with redirect_stdout(sys.stderr):
            found = make(*given)
    except Exception as error:
        if (reason := command.mistake(error)) is None:
            raise
        found = ValueError(reason)
    pickle.dump(found, sys.stdout.buffer)
