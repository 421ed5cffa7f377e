"""Cells: measurements of one modality drawn small and side by side, as images or as curves."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from ppvae.plots.palette import COLOURS, GREY

ROOM = 0.1  # of the range of values, above and below curves, so that none is cut
LONG = 8  # times a side of an image the other may be


def image_shape(shape: Sequence[int], wanted: Sequence[int] | None = None) -> tuple[int, ...] | None:
    """Height and width, and 3 for colours, if an event of this shape is shown as an image; None if as a curve.

    An event of shape ``(height, width)``, ``(1, height, width)`` or ``(3, height, width)`` is an image, unless one side
    is far longer than the other, as in the channels of a series. ``wanted`` says so of any other with the same number
    of elements.

    Raises:
        ValueError: the event does not have as many elements as what is wanted.
    """
    if wanted is not None:
        if math.prod(wanted) != math.prod(shape):
            raise ValueError(f"{math.prod(shape)} elements do not fill an image of shape {tuple(wanted)}; give another")
        return tuple(wanted)
    if len(shape) == 3 and shape[0] in (1, 3):
        return tuple(shape[1:]) if shape[0] == 1 else (*shape[1:], 3)
    return tuple(shape) if len(shape) == 2 and max(shape) <= LONG * min(shape) else None


def as_images(values: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Events ``(n, *event)`` as images ``(n, *shape)``; channels move from the front to the back."""
    if len(shape) == 3 and values.ndim == 4:
        return np.moveaxis(values, 1, -1)
    return values.reshape(-1, *shape)


def draw(axis: Axes, rows: Sequence[np.ndarray], shape: Sequence[int] | None, limits: tuple[float, float]) -> None:
    """Rows of events ``(n, *event)``: as images one row below another, as curves one colour on another.

    Events of a row stand side by side; NaN is left blank. Limits are the lowest and the highest value shown.
    """
    axis.set(xticks=[], yticks=[])
    if shape is None:
        for colour, events in zip([GREY, *COLOURS], rows, strict=False):
            alone = events[0].size == 1  # and no line
            axis.plot(_joined(events), color=colour, lw=1.0, marker="o" if alone else None)
        axis.set_ylim(limits[0] - ROOM * (limits[1] - limits[0]), limits[1] + ROOM * (limits[1] - limits[0]))
        return
    tiles = _tiled([as_images(events, shape) for events in rows])
    low, high = limits
    if len(shape) == 3:
        axis.imshow(np.nan_to_num((tiles - low) / (high - low), nan=1.0), interpolation="nearest")
    else:
        axis.imshow(tiles, cmap="gray_r", vmin=low, vmax=high, interpolation="nearest")


def _tiled(rows: Sequence[np.ndarray]) -> np.ndarray:
    """Rows of images ``(n, height, width, ...)`` as one image, with a gap of one pixel between them."""
    gap = [(0, 0), (0, 1), (0, 1), *[(0, 0)] * (rows[0].ndim - 3)]
    padded = [np.concatenate(list(np.pad(images.astype(float), gap, constant_values=np.nan)), 1) for images in rows]
    return np.concatenate(padded, 0)[:-1, :-1]


def _joined(events: np.ndarray) -> np.ndarray:
    """Events one after the other, with a gap between them."""
    flat = events.reshape(len(events), -1).astype(float)
    return np.concatenate([flat, np.full((len(flat), 1), np.nan)], 1).ravel()[:-1]


def limits(*arrays: np.ndarray) -> tuple[float, float]:
    """The lowest and the highest value of all, with a little room where they are equal."""
    values = np.concatenate([array.ravel() for array in arrays])
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    return (low, high) if high > low else (low - 0.5, high + 0.5)
