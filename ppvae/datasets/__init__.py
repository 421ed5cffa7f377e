"""Datasets: the sets that ship with ppvae."""

from __future__ import annotations

import importlib
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from ppvae.data.dataset import Dataset

GENERATED = ("sprites", "polydigits")
NAMES = ("mfeat", "spoken_digits", *GENERATED)


def load(name: str, **options: Any) -> Dataset:
    """A shipped data set, with labels ``digit``, or one that is drawn here, with options.

    ``mfeat``: UCI Multiple Features (R. Duin, CC BY 4.0), 2,000 handwritten digits in six views: ``fou`` (76),
    ``fac`` (216), ``kar`` (64), ``zer`` (47) and ``mor`` (6) are real numbers, ``pix`` (240) is an image of 16 rows and
    15 columns, whole numbers from 0 to 6.

    ``spoken_digits``: 1,797 handwritten digits (E. Alpaydin, C. Kaynak, CC BY 4.0): ``image`` (1, 8, 8) from 0 to 1,
    ``word`` (6), the name in one of four spellings, and ``sound`` (32, 32), the name spoken by one of 60 voices of
    espeak-ng, as a log-mel spectrogram in decibels.

    ``sprites``: see :func:`ppvae.datasets.sprites.sprites`. ``polydigits``: see
    :func:`ppvae.datasets.polydigits.polydigits`.
    """
    if name not in NAMES:
        raise ValueError(f"unknown data set {name!r}; choose one of {', '.join(NAMES)}")
    from ppvae.data.dataset import Dataset  # late: to know the names takes no torch

    make = getattr(importlib.import_module(f"ppvae.datasets.{name}"), name)
    if options and name not in GENERATED:
        raise ValueError(f"the data set {name!r} is as it is stored and takes no options, not {', '.join(options)}")
    if name in GENERATED:
        return make(**options)
    with files("ppvae.datasets").joinpath(f"{name}.npz").open("rb") as file, np.load(file) as stored:
        arrays = dict(stored)
    digit = arrays.pop("digit")
    arrays, modalities = make(arrays)
    return Dataset(arrays, labels={"digit": digit}, modalities=modalities).refitted()
