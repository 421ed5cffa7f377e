"""Datasets: the sets that ship with ppvae."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ppvae.data.dataset import Dataset

NAMES = ("mfeat",)


def load(name: str) -> Dataset:
    """A shipped data set.

    ``mfeat``: UCI Multiple Features (R. Duin, CC BY 4.0), 2,000 handwritten digits in six views, with labels
    ``digit``: ``fou`` (76), ``fac`` (216), ``kar`` (64), ``zer`` (47) and ``mor`` (6) are real numbers, ``pix`` (240)
    is an image of 16 rows and 15 columns, whole numbers from 0 to 6.
    """
    if name not in NAMES:
        raise ValueError(f"unknown data set {name!r}; choose one of {', '.join(NAMES)}")
    from ppvae.data.dataset import Dataset  # late: to know the names takes no torch
    from ppvae.language.modality import Modality

    with files("ppvae.datasets").joinpath(f"{name}.npz").open("rb") as file, np.load(file) as stored:
        arrays = {view: stored[view] for view in stored.files}
    digit = arrays.pop("digit")
    modalities = [
        Modality(view, array.shape[1:], "categorical", levels=7) if view == "pix" else Modality(view, array.shape[1:])
        for view, array in arrays.items()
    ]
    return Dataset(arrays, labels={"digit": digit}, modalities=modalities).refitted()
