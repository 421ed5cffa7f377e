"""Polydigits: several views of one digit, each another hand's digit on crops of another picture.

After PolyMNIST (Sutter et al. 2021, "Generalized Multimodal ELBO", https://arxiv.org/abs/2105.02470), from what is at
hand offline: scikit-learn's digits and its two sample pictures, whose colours are turned to make six.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np

from ppvae.data.dataset import Dataset
from ppvae.data.preprocessing.images import Images
from ppvae.language.modality import Modality

FASHION = Path("/usr/share/datasets/fashion-mnist")  # where Debian's package dataset-fashion-mnist puts it
PICTURES = ("china.jpg", "flower.jpg")
VIEWS = 3 * len(PICTURES)
DIM = 0.6  # how bright a picture is behind a digit, which is white
HELD_OUT = 0.25


def polydigits(views: int = 3, source: Literal["digits", "fashion"] = "digits", seed: int = 0) -> Dataset:
    """Views ``view_0``, ``view_1``, ... of the same digit, each ``(3, side, side)`` from 0 to 1.

    ``digits`` are scikit-learn's 1,797 of 8 x 8 pixels, drawn at twice their size; ``fashion`` are the 10,000 test
    pictures of Fashion-MNIST, clothes of 28 x 28 pixels, from Debian's package. Every one is seen once in each view.
    The labels are ``digit``, and ``part``: what is seen in rows of ``test``, a quarter, is in no row of ``train``.

    Raises:
        ValueError: there are no pictures for so many views, or no such source.
        FileNotFoundError: Debian's package is not installed.
    """
    if not 1 <= views <= VIEWS:
        raise ValueError(f"polydigits have 1 to {VIEWS} views, each on another picture, not {views}")
    if source not in SOURCES:
        raise ValueError(f"unknown source {source!r} of polydigits; choose one of {', '.join(SOURCES)}")
    rng = np.random.default_rng(seed)
    shown, digit = SOURCES[source]()
    held_out = rng.random(len(digit)) < HELD_OUT
    group = 2 * digit + held_out
    side = shown.shape[-1]
    arrays = {f"view_{view}": on_crops(shown[shuffled(group, rng)], backdrop(view), rng) for view in range(views)}
    images = Images(3, side, side)
    modalities = [Modality(name, images.shape, kind="image", preprocessing=images.plain()) for name in arrays]
    labels = {"digit": digit, "part": np.where(held_out, "test", "train")}
    return Dataset(arrays, labels=labels, modalities=modalities).refitted()


def shuffled(group: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A permutation of the rows that keeps each within its group."""
    found = np.empty(len(group), int)
    for each in np.unique(group):
        rows = np.flatnonzero(group == each)
        found[rows] = rng.permutation(rows)
    return found


def on_crops(shown: np.ndarray, picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """White digits ``(items, side, side)`` from 0 to 1 on random crops of a picture ``(height, width, 3)``."""
    items, side = shown.shape[:2]
    top, left = (rng.integers(0, size - side + 1, items) for size in picture.shape[:2])
    crops = np.stack([picture[y : y + side, x : x + side] for y, x in zip(top, left, strict=True)])
    ink = shown[..., None]
    return np.asarray(ink + (1 - ink) * DIM * crops, np.float32).transpose(0, 3, 1, 2)


def backdrop(view: int) -> np.ndarray:
    """The picture of a view, ``(height, width, 3)`` from 0 to 1: two that differ, then those in other colours."""
    from sklearn.datasets import load_sample_image

    return np.roll(load_sample_image(PICTURES[view % len(PICTURES)]) / np.float32(255), view // len(PICTURES), axis=2)


def _digits() -> tuple[np.ndarray, np.ndarray]:
    from sklearn.datasets import load_digits

    images, digit = load_digits(return_X_y=True)
    return (images.reshape(-1, 8, 8).astype(np.float32) / 16).repeat(2, 1).repeat(2, 2), digit


def _fashion() -> tuple[np.ndarray, np.ndarray]:
    if not FASHION.is_dir():
        raise FileNotFoundError(f"there is no {FASHION}: install Debian's package dataset-fashion-mnist")
    images, labels = (_idx(FASHION / f"t10k-{kind}.gz") for kind in ("images-idx3-ubyte", "labels-idx1-ubyte"))
    return images / np.float32(255), labels.astype(int)


def _idx(path: Path) -> np.ndarray:
    """An array of bytes in MNIST's format: how many dims, their sizes, the values."""
    with gzip.open(path) as file:
        raw = file.read()
    dims = raw[3]
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * dims).reshape(np.frombuffer(raw, ">i4", dims, 4))


SOURCES: dict[str, Callable[[], tuple[np.ndarray, np.ndarray]]] = {"digits": _digits, "fashion": _fashion}
