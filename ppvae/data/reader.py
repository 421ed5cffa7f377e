"""Reading a Dataset from an ``.npz`` file, which may come from anybody."""

from __future__ import annotations

import math
import os
import stat
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from ppvae.data.dataset import Dataset
    from ppvae.language.modality import Modality

TIMES, ANYWAY = 100, 2**24  # measurements shrink less than so many times; so many bytes are read in any case
HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
# What reads the arrays of other kinds of file, for those who would write an .npz file of them.
OTHERS = {
    **dict.fromkeys((".csv", ".tsv", ".txt"), "pandas.read_csv(path, index_col=0)"),
    **dict.fromkeys((".xls", ".xlsx"), "pandas.read_excel(path, index_col=0)"),
    **dict.fromkeys((".parquet", ".pq"), "pandas.read_parquet(path)"),
    **dict.fromkeys((".h5", ".hdf5"), "h5py.File(path)['NAME'][:]"),
    ".feather": "pandas.read_feather(path)",
    ".h5ad": "anndata.read_h5ad(path).to_df()",
    ".h5mu": "mudata.read(path)['NAME'].to_df()",
    ".mat": "scipy.io.loadmat(path)['NAME']",
    ".mtx": "scipy.io.mmread(path).toarray()",
    ".npy": "numpy.load(path)",
    ".nc": "xarray.load_dataset(path)['NAME'].values",
    **dict.fromkeys((".pt", ".pth"), "torch.load(path, weights_only=True)['NAME'].numpy()"),
    **dict.fromkeys((".pkl", ".pickle"), "array"),  # a pickle can run code: we name nothing that reads one
}
IDS = "ids"  # the array that tells the rows
SPARSE = {"data", "format", "shape"}  # what scipy.sparse.save_npz writes of every matrix
RECIPE = "write one with numpy.savez('data.npz', NAME=array, ...)"


def read_npz(path: str | Path, max_bytes: int | None = None) -> Dataset:
    """A data set from arrays ``(items, *shape)`` in an ``.npz`` file; nothing is unpickled.

    ``NAME.observed`` is the mask of ``NAME``, ``labels.NAME`` a label, and ``ids`` what tells each row.

    Args:
        path: the file.
        max_bytes: refuse a file that unpacks to more; by default to more than 100 times its size and 16 MiB.

    Raises:
        ValueError: the file is missing, damaged, too large, or its arrays do not make a data set.
    """
    return data_set(arrays_in(path, max_bytes))


def data_set(
    arrays: Mapping[str, np.ndarray], likelihood: Mapping[str, str] | None = None, known: Sequence[Modality] = ()
) -> Dataset:
    """A data set from the arrays of a file, of the known modalities where it has them; errors are those of Dataset."""
    from ppvae.data.dataset import Dataset  # late: to refuse a file takes no torch

    observed = {n.removesuffix(".observed"): a for n, a in arrays.items() if n.endswith(".observed")}
    labels = {n.removeprefix("labels."): a for n, a in arrays.items() if n.startswith("labels.")}
    told = {IDS, *(n for n in arrays if n.endswith(".observed") or n.startswith("labels."))}
    measured = {n: a for n, a in arrays.items() if n not in told}
    return Dataset(measured, observed, labels, [m for m in known if m.name in measured], likelihood, arrays.get(IDS))


def arrays_in(path: str | Path, max_bytes: int | None = None) -> dict[str, np.ndarray]:
    """The arrays of an ``.npz`` file by name; arguments and errors are those of :func:`read_npz`."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # opening a pipe would wait for somebody to write
            raise ValueError("it is not a regular file")
        if recipe := OTHERS.get(Path(path).suffix.lower()):
            raise ValueError(f"only .npz files are read; write one with numpy.savez('data.npz', NAME={recipe})")
        with open(path, "rb") as file:
            if not zipfile.is_zipfile(file):
                raise ValueError(f"it is not a zip archive; {RECIPE}")
            with zipfile.ZipFile(file) as archive:
                _check_size(archive.infolist(), os.fstat(file.fileno()).st_size, max_bytes)
                return {name: _array(archive, info) for name, info in _named(archive.infolist()).items()}
    except FileNotFoundError:
        raise ValueError(f"there is no data file {str(path)!r}") from None
    except Exception as error:  # zipfile, zlib and numpy raise nearly everything when bytes are wrong
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        first = (reason.splitlines() or ["it is damaged"])[0]
        raise ValueError(f"cannot read {str(path)!r} as an .npz file of arrays: {first}") from None


def _check_size(members: list[zipfile.ZipInfo], packed: int, most: int | None) -> None:
    """Refuse what unpacks to too much. That no member is longer than it says here is zipfile's promise."""
    unpacked, limit = sum(info.file_size for info in members), max(ANYWAY, TIMES * packed) if most is None else most
    if unpacked > limit:
        told = f"its {packed:,} bytes unpack to {unpacked:,}, more than the {limit:,} that are read"
        raise ValueError(f"{told}; where you trust it, set --max-bytes (max_bytes=) to {unpacked} or more")


def _named(members: list[zipfile.ZipInfo]) -> dict[str, zipfile.ZipInfo]:
    """The members by the names of their arrays; zipfile itself would cut a name at a NUL."""
    found: dict[str, zipfile.ZipInfo] = {}
    for info in members:
        name = info.orig_filename.removesuffix(".npy")
        if name == info.orig_filename:
            raise ValueError(f"{name!r} in it is no .npy file; {RECIPE}")
        if name in found:
            raise ValueError(f"it holds {name!r} twice")
        found[name] = info
    if found.keys() >= SPARSE:
        raise ValueError(f"it is a sparse matrix of SciPy; {RECIPE}, of scipy.sparse.load_npz(path).toarray()")
    return found


def _array(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> np.ndarray:
    """One array, once its header is known to promise no more and no less than what follows it."""
    try:
        if info.flag_bits & 1:
            raise ValueError("it is encrypted")
        with archive.open(info) as stream:
            version = np.lib.format.read_magic(stream)
            if version not in HEADERS:
                raise ValueError(f"version {version} of the .npy format is not read; {RECIPE}")
            shape, _, dtype = HEADERS[version](stream)
            _check_header(shape, dtype, info.file_size - stream.tell())
        with archive.open(info) as stream:
            return np.lib.format.read_array(stream, allow_pickle=False)
    except Exception as error:
        raise ValueError(f"{info.orig_filename!r}: {str(error) or type(error).__name__}") from None


def _check_header(shape: tuple[int, ...], dtype: np.dtype[Any], follow: int) -> None:
    if dtype.hasobject:
        raise ValueError("it holds Python objects, which are never unpickled; save array.astype(str) or astype(float)")
    if dtype.kind == "V":
        raise ValueError(f"it is structured ({dtype}); save each field as an array of its own")
    if math.prod(shape) * dtype.itemsize != follow:
        raise ValueError(f"its header promises shape {shape} of {dtype}, but {follow} bytes follow")
