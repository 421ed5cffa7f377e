"""Reading a Dataset from an ``.npz`` file."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import numpy as np

from ppvae.data.dataset import Dataset


def read_npz(path: str | Path) -> Dataset:
    """A data set from arrays ``(items, *shape)`` in an ``.npz`` file; nothing is unpickled.

    ``NAME.observed`` is the mask of ``NAME``, and ``labels.NAME`` a label.

    Raises:
        ValueError: the file is missing, damaged, or its arrays do not make a data set.
    """
    if not Path(path).is_file():
        raise ValueError(f"there is no data file {str(path)!r}")
    try:
        with Path(path).open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, AttributeError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        reason = (str(error).splitlines() or ["it is damaged"])[0]
        raise ValueError(f"cannot read {str(path)!r} as an .npz file of arrays: {reason}") from None
    observed = {n.removesuffix(".observed"): a for n, a in arrays.items() if n.endswith(".observed")}
    labels = {n.removeprefix("labels."): a for n, a in arrays.items() if n.startswith("labels.")}
    measured = {n: a for n, a in arrays.items() if not n.endswith(".observed") and not n.startswith("labels.")}
    return Dataset(measured, observed, labels)
