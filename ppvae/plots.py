"""Plots: rows of images, and loss curves. Every figure's label says in words what it shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from ppvae.palette import COLOURS


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


def loss_curves(histories: Mapping[str, Sequence[Mapping[str, Any]]], title: str = "") -> Figure:
    """Training loss in nats per item against the epoch: one line for each ``label -> history``.

    The first of several is drawn wide and pale, so that a second one on top of it does not hide it.
    """
    figure = Figure(figsize=(6.0, 3.4), layout="constrained")
    axis = figure.subplots()
    for number, (label, history) in enumerate(histories.items()):
        width, alpha = (5.0, 0.35) if number == 0 and len(histories) > 1 else (1.2, 1.0)
        style: dict[str, Any] = {"color": COLOURS[number % len(COLOURS)], "lw": width, "alpha": alpha}
        axis.plot([h["epoch"] for h in history], [h["loss"] for h in history], label=label, **style)
    axis.set(xlabel="epoch", ylabel="loss, nats per item", title=title)
    axis.locator_params(axis="x", integer=True)
    axis.grid(alpha=0.3)
    axis.legend(frameon=False)
    ends = [f"{label} from {h[0]['loss']:.1f} to {h[-1]['loss']:.1f}" for label, h in histories.items() if h]
    figure.set_label(f"{title or 'Training loss'}, nats per item by epoch: {', '.join(ends)}.")
    return figure
