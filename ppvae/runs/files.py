"""Files: only regular ones are read; what is written takes the old one's place as a whole, or leaves it as it was."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from safetensors import SafetensorError


def check_regular(path: Path) -> int:
    """The size of a file in bytes; opening it neither waits, as a pipe would, nor reads a device.

    Raises:
        OSError: there is none.
        ValueError: it is no regular file.
    """
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise ValueError(f"{path.name} is no regular file")
    return found.st_size


def check_free(path: Path, force: bool) -> None:
    """Raise ValueError where a file to be written would replace something; with ``force`` it may replace a file."""
    if path.is_file() and not force:
        raise ValueError(f"{str(path)!r} is there already: choose another name, or replace it with --force")
    if path.exists() and not path.is_file():
        raise ValueError(f"cannot write {str(path)!r}: it is a directory or a device")


@contextmanager
def replacing(path: Path, durable: bool = False) -> Iterator[Path]:
    """A temporary file to write in the block, which then replaces ``path``; ``durable`` outlives a power cut, too.

    Raises:
        OSError: it could not be written; the temporary file is gone, and ``path`` is what it was.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.touch()
        mode = temporary.stat().st_mode
        yield temporary
        with temporary.open("rb") as file:
            if os.fstat(file.fileno()).st_mode != mode:  # safetensors lets nobody else read
                os.chmod(temporary, mode)
            if durable:
                os.fsync(file.fileno())
        os.replace(temporary, path)
        if durable:
            flush(path.parent)
    except (OSError, SafetensorError) as error:
        raise OSError(number := _errno(error), f"{os.strerror(number)}; what was there stays", str(path)) from None
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def left_behind(path: Path) -> Iterator[Path]:
    """The temporary files for ``path`` of processes that died while they wrote."""
    return path.parent.glob(f".{path.name}.*")


def flush(folder: Path) -> None:
    """Flush the entries of a folder to the disk, where the system can: without it a power cut may undo a rename."""
    if hasattr(os, "O_DIRECTORY"):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _errno(error: OSError | SafetensorError) -> int:
    """The system's number of an error; safetensors has it in the text alone."""
    if isinstance(error, OSError):
        return error.errno or errno.EIO
    found = re.search(r"os error (\d+)", str(error))
    return int(found[1]) if found else errno.EIO
