"""Compilation cache: what XLA compiled for one command is kept on disk for the next."""

from __future__ import annotations

import hashlib
import os
import platform
import time
from contextlib import suppress
from pathlib import Path

from ppvae.runs import launch

SETTINGS = {  # JAX's own, in bytes and seconds
    "JAX_COMPILATION_CACHE_MAX_SIZE": str(1 << 30),
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    # XLA's log says of whatever it loads that another machine compiled it (jax-ml/jax #38445); what fails raises anyway
    "TF_CPP_MIN_LOG_LEVEL": "3",
}
FOLDER, SWITCH = "JAX_COMPILATION_CACHE_DIR", "JAX_ENABLE_COMPILATION_CACHE"
UNFINISHED = 60  # seconds in which another process surely writes what follows an entry


def keep() -> None:
    """Let JAX, before it is imported, keep what it compiles in ``~/.cache/ppvae``, unless its own variables say other.

    Nothing is kept where processes share a run, which have to compile alike, nor where that folder cannot be written.
    """
    off = os.environ.get(SWITCH, "1").lower() in ("0", "false", "off", "no", "f", "n")
    if off or FOLDER in os.environ or launch.count() > 1:
        return
    with suppress(OSError, RuntimeError):  # a disk that is full or read-only; nobody's home
        folder = Path.home() / ".cache" / "ppvae" / "compiled" / _processor()
        folder.mkdir(0o700, parents=True, exist_ok=True)  # whoever may write there may run code
        if os.access(folder, os.W_OK):
            _tidy(folder)
            os.environ.update({**SETTINGS, **os.environ, FOLDER: str(folder)})


def _processor() -> str:
    """A name for this kind of processor, since two machines may share a home and not each other's instructions."""
    said = [platform.machine(), platform.processor(), platform.system()]
    with suppress(OSError), open("/proc/cpuinfo") as lines:
        first = lines.read(1 << 14).partition("\n\n")[0].splitlines()
        said += [line for line in first if line.startswith(("model name", "flags", "Features", "CPU part"))]
    return hashlib.sha256("\n".join(said).encode()).hexdigest()[:16]


def _tidy(folder: Path) -> None:
    """Remove entries of processes that were killed as they wrote them: JAX notes the time after an entry is whole."""
    for entry in folder.glob("*-cache"):
        whole = entry.with_name(entry.name.removesuffix("cache") + "atime").exists()
        if not whole and time.time() - entry.stat().st_mtime > UNFINISHED:
            entry.unlink(missing_ok=True)
