"""Places: where a command may write, which is asked before anything else."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ppvae.runs.files import check_free, replacing


def writable_folder(path: Path) -> Path:
    """The folder, which may yet be missing: better to learn before training than after that it cannot be written."""
    there = next(place for place in (path.absolute(), *path.absolute().parents) if os.path.lexists(place))
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise ValueError(f"cannot write into {str(path)!r}: {str(there)!r} is no folder to write in")
    return path


def writable_file(path: Path, force: bool) -> Path:
    """The file, which may yet be missing, as its folder may; what is there is replaced with ``force`` alone."""
    check_free(path, force)
    writable_folder(path.parent)
    return path


def write(path: Path, arrays: Mapping[str, np.ndarray]) -> str:
    """Write arrays as an ``.npz`` file; returns its name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path, durable=True) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as file:
        for name, array in arrays.items():  # savez takes no array named like its arguments
            with file.open(f"{name}.npy", "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, array, allow_pickle=False)
    return str(path)
