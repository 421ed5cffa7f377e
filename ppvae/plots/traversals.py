"""Plots of traversals: what is decoded along each latent, as strips of images or as bundles of curves."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure

from ppvae.diagnostics.traversals import Traversal
from ppvae.plots import cells
from ppvae.plots.labels import drawn
from ppvae.plots.palette import SHADES


def traversal_figure(found: Traversal, modality: str, image_shape: Sequence[int] | None = None) -> Figure:
    """A row for each latent: an image for each of its values, or a curve over elements, dark for low values.

    An event of shape ``(height, width)`` or ``(channels, height, width)`` is an image; ``image_shape`` makes one of any
    other event with as many elements. All rows share one scale, in the modality's units.

    Raises:
        ValueError: there is no such modality, or its events do not have as many elements as the image.
    """
    if modality not in found.decoded:
        raise ValueError(f"there is no modality {modality!r} in the traversal; it has {', '.join(found.decoded)}")
    decoded = found.decoded[modality]
    rows, steps = found.values.shape
    shape = cells.image_shape(decoded.shape[2:], image_shape)
    width = 1.0 + 0.75 * steps * shape[1] / shape[0] if shape else 7.0
    figure = Figure(figsize=(max(width, 3.0), 1.4 * rows), layout="constrained")
    axes = list(figure.subplots(rows, 1, squeeze=False)[:, 0])
    if shape is None:
        _curves(figure, axes, found, modality)
    else:
        _strips(axes, found, modality, shape)
    for axis, name in zip(axes, found.names, strict=True):
        axis.set_title(drawn(name), fontsize="medium", loc="left")
    moves = np.ptp(decoded.reshape(rows, steps, -1), axis=1).mean(1)
    listed = ", ".join(f"{name} {move:.2g}" for name, move in zip(found.names, moves, strict=True))
    figure.set_label(f"{modality}, decoded along single latents. Mean range of an element: {listed}.")
    return figure


def _strips(axes: list[Axes], found: Traversal, modality: str, shape: Sequence[int]) -> None:
    """Images side by side, with the latent's value below each."""
    decoded = found.decoded[modality]
    places = np.arange(found.values.shape[1]) * (shape[1] + 1) + (shape[1] - 1) / 2
    for axis, values, events in zip(axes, found.values, decoded, strict=True):
        cells.draw(axis, [events], shape, cells.limits(decoded))
        axis.set_xticks(places, [f"{value:.1f}" for value in values])


def _curves(figure: Figure, axes: list[Axes], found: Traversal, modality: str) -> None:
    """Curves over elements, coloured by the latent's value; the palest yellows are left out."""
    shades = ListedColormap(mpl.colormaps[SHADES](np.linspace(0.0, 0.85, 256)))
    colours = ScalarMappable(Normalize(*cells.limits(found.values)), shades)
    for axis, values, events in zip(axes, found.values, found.decoded[modality], strict=True):
        for value, event in zip(values, events, strict=True):
            axis.plot(event.ravel(), color=colours.to_rgba(value), lw=1.0, marker="o" if event.size == 1 else None)
        axis.set(ylabel=drawn(modality), ylim=cells.limits(found.decoded[modality]))
    axes[-1].set_xlabel("element")
    figure.colorbar(colours, ax=axes, label="value of the latent")
