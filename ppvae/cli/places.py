"""Places: where a command finds a run and where it may write; asked before anything heavy is loaded."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ppvae.runs import checkpoint


def find(folder: Path) -> None:
    """Raise ValueError where there is no run in this folder."""
    with checkpoint.reading(folder):
        for name in (checkpoint.RUN, checkpoint.WEIGHTS):
            if not (folder / name).exists():
                raise FileNotFoundError


def writable_folder(path: Path) -> Path:
    """The folder, which may yet be missing: better to learn before training than after that it cannot be written."""
    there = next(place for place in (path.absolute(), *path.absolute().parents) if place.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise ValueError(f"cannot write into {str(path)!r}: {str(there)!r} is no folder to write in")
    return path


def writable_file(path: Path) -> Path:
    """The file, which may yet be missing, as its folder may."""
    if path.is_dir():
        raise ValueError(f"cannot write {str(path)!r}, which is a folder (a directory): name a file in it")
    writable_folder(path.parent)
    return path


def write(path: Path, arrays: Mapping[str, np.ndarray]) -> str:
    """Write arrays as an ``.npz`` file; returns its name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
    return str(path)
