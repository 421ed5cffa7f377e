"""Downloaded: MNIST, SVHN and PolyMNIST as data sets, from the files that their makers keep."""

from __future__ import annotations

import gzip
import io
import zipfile
from pathlib import Path

import numpy as np
import scipy.io

from ppvae.data.dataset import Dataset
from ppvae.data.preprocessing.extra import extra
from ppvae.data.preprocessing.images import Images
from ppvae.datasets.downloads import download
from ppvae.language.modality import Modality

PARTS = {"train": ("train", "train"), "test": ("t10k", "test")}  # as MNIST and as the others call them


def mnist(part: str = "train", folder: str | Path | None = None) -> Dataset:
    """MNIST (LeCun, Cortes, Burges; CC BY-SA 3.0): ``image`` (1, 28, 28), whole numbers 0..255, label ``digit``.

    Args:
        part: ``train``, 60,000 items, or ``test``, 10,000.
        folder: where downloads are kept, see :func:`~ppvae.datasets.downloads.download`.

    Raises:
        ValueError: there is no such part, or it cannot be downloaded.
    """
    files, name = download("mnist", folder), _part(part)[0]
    pixels = _idx(files[f"{name}-images-idx3-ubyte.gz"])
    return _data_set({"image": pixels[:, None]}, _idx(files[f"{name}-labels-idx1-ubyte.gz"]))


def svhn(part: str = "train", folder: str | Path | None = None) -> Dataset:
    """SVHN (Netzer et al. 2011; for non-commercial use): ``image`` (3, 32, 32), whole numbers 0..255, label ``digit``.

    Arguments and errors are those of :func:`mnist`; ``train`` has 73,257 items, ``test`` 26,032.
    """
    stored = scipy.io.loadmat(download("svhn", folder)[f"{_part(part)[1]}_32x32.mat"])
    return _data_set({"image": np.ascontiguousarray(stored["X"].transpose(3, 2, 0, 1))}, stored["y"][:, 0] % 10)


def polymnist(part: str = "train", folder: str | Path | None = None) -> Dataset:
    """PolyMNIST (Sutter et al. 2021): ``m0`` to ``m4`` (3, 28, 28), 0..255, views of one digit; label ``digit``.

    Arguments and errors are those of :func:`mnist`; ``train`` has 60,000 items, ``test`` 10,000.
    """
    with zipfile.ZipFile(download("polymnist", folder)["PolyMNIST.zip"]) as archive:
        names = [name for name in archive.namelist() if f"/{_part(part)[1]}/" in name and name.endswith(".png")]
        views: dict[str, dict[tuple[int, int], str]] = {}
        for name in names:
            *_, view, file = name.split("/")
            number, digit, _ = file.split(".")  # 17.3.png is item 17, a three
            views.setdefault(view, {})[int(number), int(digit)] = name
        items = sorted(set.intersection(*(set(each) for each in views.values())))
        arrays = {
            view: np.stack([_pixels(archive.read(views[view][item])) for item in items]) for view in sorted(views)
        }
    return _data_set(arrays, np.array([digit for _, digit in items]))


def _part(part: str) -> tuple[str, str]:
    if part not in PARTS:
        raise ValueError(f"unknown part {part!r}; choose train or test")
    return PARTS[part]


def _idx(path: Path) -> np.ndarray:
    """An array in the IDX format: two zeros, type 8, the number of axes, their sizes, the bytes."""
    with gzip.open(path) as file:
        content = file.read()
    sizes = np.frombuffer(content, ">i4", content[3], 4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * content[3]).reshape(sizes)


def _pixels(content: bytes) -> np.ndarray:
    with extra("PIL.Image").open(io.BytesIO(content)) as picture:
        return np.asarray(picture.convert("RGB")).transpose(2, 0, 1)


def _data_set(arrays: dict[str, np.ndarray], digits: np.ndarray) -> Dataset:
    modalities = []
    for name, array in arrays.items():
        channels, height, width = array.shape[1:]
        told = Images(channels, height, width, 256).plain()
        modalities.append(Modality(name, array.shape[1:], "logistic", levels=256, kind="image", preprocessing=told))
    return Dataset(arrays, labels={"digit": digits}, modalities=modalities).refitted()
