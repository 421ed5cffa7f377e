"""Plots of k-hat by subset and item."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.colors import BoundaryNorm
from matplotlib.figure import Figure

from ppvae.diagnostics.khat import KHat
from ppvae.inference.arviz import THRESHOLD
from ppvae.plots.labels import drawn

SHORT = 22  # characters of a name beside the map, which may stand on a phone
LEVELS = (0.0, 0.25, 0.5, THRESHOLD, 1.0, 1.5, 2.0)  # as many colours below the threshold as above


def khat_map(result: KHat, title: str = "") -> Figure:
    """A heat map of k-hat, a row for each subset; items are sorted by their worst k-hat, so that columns match.

    The colour changes sides at 0.7; each row's label holds its share of items above. Where an item has nothing of a
    subset the map is blank.
    """
    order = np.argsort(np.fmax.reduce(result.khat))
    figure = Figure(figsize=(7.0, max(2.4, 0.9 + 0.32 * len(result.names))), layout="constrained")
    axis = figure.subplots()
    colours: dict[str, Any] = {"cmap": "coolwarm", "norm": BoundaryNorm(LEVELS, 256, extend="both"), "aspect": "auto"}
    shown = axis.imshow(np.clip(result.khat[:, order], -9.0, 9.0), interpolation="nearest", **colours)
    labels = [f"{drawn(name, SHORT)}  {share:.0%}" for name, share in result.share.items()]
    axis.set(yticks=range(len(labels)), yticklabels=labels, xlabel="items, by their worst k-hat", title=title)
    axis.locator_params(axis="x", integer=True)
    figure.colorbar(shown, ax=axis, label="k-hat")
    worst = ", ".join(f"{share:.0%} given {name}" for name, share in result.share.items())
    what = f"{title or 'k-hat'} of {result.khat.shape[1]} items, {result.draws} draws of each"
    figure.set_label(f"{what}; share above {THRESHOLD}: {worst}.")
    return figure
