"""Datasets: the sets that ship with ppvae."""

from __future__ import annotations

import importlib
from importlib.resources import files
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ppvae.data.dataset import Dataset

NAMES = ("mfeat", "spoken_digits")


def load(name: str) -> Dataset:
    """A shipped data set, with labels ``digit``.

    ``mfeat``: UCI Multiple Features (R. Duin, CC BY 4.0), 2,000 handwritten digits in six views: ``fou`` (76),
    ``fac`` (216), ``kar`` (64), ``zer`` (47) and ``mor`` (6) are real numbers, ``pix`` (240) is an image of 16 rows and
    15 columns, whole numbers from 0 to 6.

    ``spoken_digits``: 1,797 handwritten digits (E. Alpaydin, C. Kaynak, CC BY 4.0): ``image`` (1, 8, 8) from 0 to 1,
    ``word`` (6), the name in one of four spellings, and ``sound`` (32, 32), the name spoken by one of 60 voices of
    espeak-ng, as a log-mel spectrogram in decibels.
    """
    if name not in NAMES:
        raise ValueError(f"unknown data set {name!r}; choose one of {', '.join(NAMES)}")
    from ppvae.data.dataset import Dataset  # late: to know the names takes no torch

    with files("ppvae.datasets").joinpath(f"{name}.npz").open("rb") as file, np.load(file) as stored:
        arrays = dict(stored)
    digit = arrays.pop("digit")
    arrays, modalities = getattr(importlib.import_module(f"ppvae.datasets.{name}"), name)(arrays)
    return Dataset(arrays, labels={"digit": digit}, modalities=modalities).refitted()
