"""Lock: a run folder has one writer at a time, among threads, processes, and hosts that share the disk."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from ppvae.runs.files import flush

LOCK = ".lock"


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """The folder, made where it is missing, is this writer's alone within the block; the end of the process frees it.

    A folder in which nothing was written is gone afterwards.

    Raises:
        ValueError: somebody else holds it, and who; or it cannot be written.
    """
    lock = FileLock(folder / LOCK, blocking=False)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        flush(folder.absolute().parent)
        lock.acquire()
        (folder / LOCK).write_text(f"process {os.getpid()} on {socket.gethostname()}", encoding="utf-8")
    except Timeout:
        who = (folder / LOCK).read_text(encoding="utf-8", errors="replace")[:200] or "another process"
        said = f"the run folder {str(folder)!r} is in use by {who}: wait until it has ended, or choose another folder"
        raise ValueError(said) from None
    except OSError as error:
        lock.release()
        raise ValueError(f"cannot write the run folder {str(folder)!r}: {error.strerror}") from None
    try:
        yield
    finally:
        if [entry.name for entry in folder.iterdir()] == [LOCK]:
            (folder / LOCK).unlink()
            folder.rmdir()
        lock.release()
