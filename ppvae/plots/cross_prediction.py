"""Plots of cross-prediction: predictions beside measurements, and heat maps of any score from subset to modality."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from ppvae.diagnostics.cross_prediction import Crossing
from ppvae.plots import cells
from ppvae.plots.labels import drawn
from ppvae.plots.palette import SHADES

SHORT = 16  # characters of a name beside a heat map, which may stand on a phone


def crossing_figure(
    found: Crossing, items: Sequence[int] | None = None, image_shapes: Mapping[str, Sequence[int]] | None = None
) -> Figure:
    """A row for each subset that is given, a column for each modality that is asked, in each cell a few items.

    Items stand side by side: images measured above predicted, curves over elements measured in grey and predicted in
    blue. A column has one scale, and stays blank where nothing was measured.

    Args:
        found: the predictions.
        items: rows of the data to show; the first five where left out.
        image_shapes: modality to the height and width of its image, for events of another shape; an event of shape
            ``(height, width)`` or ``(channels, height, width)`` is an image anyway.

    Raises:
        ValueError: an image does not have as many elements as the modality.
    """
    names = list(found.predicted)
    rows = list(range(len(found.measured[names[0]]))[:5] if items is None else items)
    figure = Figure(figsize=(1.0 + 2.2 * len(names), 0.6 + 1.0 * len(found.given)), layout="constrained")
    grid = figure.subplots(len(found.given), len(names), squeeze=False)
    for column, name in zip(grid.T, names, strict=True):
        truth, means = found.measured[name][rows], found.predicted[name][:, rows]
        shape = cells.image_shape(truth.shape[1:], (image_shapes or {}).get(name))
        for axis, mean in zip(column, means, strict=True):
            cells.draw(axis, [truth, mean], shape, cells.limits(truth, means))
        column[0].set_title(drawn(name), fontsize="medium")
    for axis, label in zip(grid[:, 0], found.names, strict=True):
        axis.set_ylabel(drawn(label), rotation=0, ha="right", va="center")
    figure.supylabel("given", fontsize="medium")
    figure.suptitle("asked: measured and predicted", fontsize="medium")
    scores = "; ".join(f"{label}: {_listed(names, row)}" for label, row in zip(found.names, found.r2, strict=True))
    figure.set_label(f"Measured and predicted values of {len(rows)} items. R² given {scores}.")
    return figure


def _listed(names: Sequence[str], scores: np.ndarray) -> str:
    return ", ".join(f"{name} {score:.2f}" for name, score in zip(names, scores, strict=True) if not np.isnan(score))


def heat_map(scores: np.ndarray, rows: Sequence[str], columns: Sequence[str], what: str, title: str = "") -> Figure:
    """A score for each subset that is given, a row, and each modality that is asked, a column; NaN is left blank.

    Args:
        scores: ``(rows, columns)``.
        rows: names of what is given.
        columns: names of what is asked.
        what: the score and its unit, ``"R²"``.
        title: of the figure.

    Raises:
        ValueError: the names do not fit the scores.
    """
    if scores.shape != (len(rows), len(columns)):
        raise ValueError(
            f"scores of shape {scores.shape} have {len(rows)} row and {len(columns)} column names; match them"
        )
    figure = Figure(figsize=(2.2 + 0.75 * len(columns), 1.1 + 0.4 * len(rows)), layout="constrained")
    axis = figure.subplots()
    middle = np.mean(cells.limits(scores))
    shown = axis.imshow(scores, cmap=SHADES, aspect="auto")
    for (row, column), score in np.ndenumerate(scores):
        if not np.isnan(score):
            colour = "white" if score < middle else "black"
            axis.text(column, row, f"{score:.2f}", ha="center", va="center", color=colour)
    axis.set_xticks(range(len(columns)), [drawn(name, SHORT) for name in columns], rotation=30, ha="right")
    axis.set_yticks(range(len(rows)), [drawn(name, SHORT) for name in rows])
    axis.set(xlabel="asked", ylabel="given", title=title)
    figure.colorbar(shown, ax=axis, label=what)
    table = "; ".join(f"{row}: {_listed(columns, values)}" for row, values in zip(rows, scores, strict=True))
    figure.set_label(f"{what} of what is asked given {table}.")
    return figure
