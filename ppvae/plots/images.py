"""Images: rows of them, beside what they are."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure


def image_rows(rows: Mapping[str, np.ndarray], title: str = "") -> Figure:
    """One labelled row of grey images for each entry, ``label -> (images, height, width)``, on one scale."""
    width = max(len(images) for images in rows.values())
    figure = Figure(figsize=(1.6 + 0.55 * width, 0.4 + 0.62 * len(rows)), layout="constrained")
    grid = figure.subplots(len(rows), width, squeeze=False)
    top = max(float(images.max()) for images in rows.values())
    for axes, (label, images) in zip(grid, rows.items(), strict=True):
        for axis in axes:
            axis.set(xticks=[], yticks=[], frame_on=False)
        for axis, image in zip(axes, images, strict=False):
            axis.imshow(image, cmap="gray_r", vmin=0, vmax=top, interpolation="nearest")
        axes[0].set_ylabel(label, rotation=0, ha="right", va="center")
    figure.suptitle(title, fontsize="medium")
    figure.set_label(f"{title or 'Images'}: rows of {width}, {', '.join(rows)}.")
    return figure
