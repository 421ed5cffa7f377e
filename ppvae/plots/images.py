"""Images: rows of them, beside what they are."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from ppvae.plots import cells


def image_rows(rows: Mapping[str, np.ndarray], title: str = "") -> Figure:
    """One labelled row of images for each entry, all on one scale, grey ones dark where values are high.

    Args:
        rows: ``label -> (images, height, width)``, or with 1 or 3 channels ``(images, channels, height, width)``.
        title: above.

    Raises:
        ValueError: an entry is of another shape.
    """
    shown = {label: _images(label, np.asarray(images)) for label, images in rows.items()}
    width = max(len(images) for images in shown.values())
    figure = Figure(figsize=(1.6 + 0.55 * width, 0.4 + 0.62 * len(rows)), layout="constrained")
    grid = figure.subplots(len(rows), width, squeeze=False)
    low, top = cells.limits(np.zeros(1), *shown.values())
    for axes, (label, images) in zip(grid, shown.items(), strict=True):
        for axis in axes:
            axis.set(xticks=[], yticks=[], frame_on=False)
        for axis, image in zip(axes, images, strict=False):
            colours = np.nan_to_num((image - low) / (top - low), nan=1.0) if image.ndim == 3 else image
            axis.imshow(colours, cmap="gray_r", vmin=low, vmax=top, interpolation="nearest")
        axes[0].set_ylabel(label, rotation=0, ha="right", va="center")
    figure.suptitle(title, fontsize="medium")
    figure.set_label(f"{title or 'Images'}: rows of {width}, {', '.join(rows)}.")
    return figure


def _images(label: str, given: np.ndarray) -> np.ndarray:
    """Images as they are drawn, channels last if there are several."""
    if (shape := cells.image_shape(given.shape[1:])) is None:
        raise ValueError(
            f"row {label!r} has shape {given.shape}, and images are (images, height, width) or (images, channels, "
            "height, width) of 1 or 3 channels: reshape it, or put channels first by numpy.moveaxis(x, -1, 1)"
        )
    return cells.as_images(given, shape)
