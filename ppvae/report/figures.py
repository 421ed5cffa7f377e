"""Figures of a report: each drawn for light and for dark paper, with its caption and its words."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from ppvae.diagnostics.calibration import Uniform
from ppvae.diagnostics.khat import KHat
from ppvae.plots.calibration import coverage_figure, ecdf_figure
from ppvae.plots.khat import khat_map
from ppvae.plots.losses import loss_curves
from ppvae.report.measures import Measures, Subset

INKS = {"light": "#1f2328", "dark": "#e6e8eb"}
INKED = ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color")
STYLE: dict[str, Any] = {
    "svg.fonttype": "path",  # no font has to be there, or to be fetched
    "svg.hashsalt": "ppvae",  # the same run gives the same file
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "font.size": 10.0,
}
DPI = 160


@dataclass(frozen=True)
class Drawing:
    """A figure to be drawn.

    Attributes:
        section: of the page that it belongs to.
        name: what its files are called after.
        caption: what a reader should look for.
        draw: makes the figure; its label says in words what it shows.
    """

    section: str
    name: str
    caption: str
    draw: Callable[[], Figure]


@dataclass(frozen=True)
class Picture:
    """A figure as the page holds it.

    Attributes:
        section, caption: those of the drawing.
        alt: what it shows, in words.
        light, dark: SVG as ``data:`` addresses, to be shown on light and on dark paper.
        file: its name in the folder of figures, without ending.
        width, height: in CSS pixels.
    """

    section: str
    caption: str
    alt: str
    light: str
    dark: str
    file: str
    width: int
    height: int


KHAT = (
    "How far the guide is from the posterior, row by row. Above 0.7, where the colour turns warm, it misses a part of "
    "what the model holds possible; the share of such rows stands beside each subset. A row that lacks what was shown, "
    "or was not weighed for it, is blank."
)
LATENTS = (
    "Each line is a latent of simulated items, whose truth is known. Within the grey band it is calibrated; a lying S "
    "is too narrow or too wide, a bow lies too high or too low."
)
COVERED = (
    "How often intervals held the measured value, given {}. Marks belong on the dotted line of their colour; one below "
    "it is a promise that was not kept. Bars are two standard errors."
)
LOSS = (
    "Loss by epoch; dashed, that of held-out items, where it was measured. A line that still falls at its end says "
    "that more epochs may help, a dashed one that rises says that there were too many."
)


def drawings(measures: Measures) -> list[Drawing]:
    """The figures of a report, in its order."""
    weighed = [subset for subset in measures.subsets if subset.khat]
    found = [Drawing("latents", "k-hat", KHAT, partial(khat_map, _khat(weighed)))] if weighed else []
    for subset in measures.subsets:
        if subset.latents:
            check = replace(subset.latents, what=f"latents given {subset.label}")
            found.append(Drawing("latents", check.what, LATENTS, partial(ecdf_figure, [check])))
    for label, checks in _checks(measures.subsets).items():
        draw = partial(coverage_figure, checks)
        found.append(Drawing("predictions", f"predictions given {label}", COVERED.format(label), draw))
    if measures.fitted.history:
        curves = partial(loss_curves, {"training": measures.fitted.history})
        found.append(Drawing("training", "loss", LOSS, curves))
    return found


def picture(drawing: Drawing, stem: Path) -> Picture:
    """Draw a figure for the page, and write it as ``stem.svg``, without paper, and ``stem.png``, on white.

    Raises:
        ValueError: the figure does not say in words what it shows.
    """
    with mpl.rc_context(_style("dark")):
        dark = _svg(drawing.draw())
    with mpl.rc_context(_style("light")):
        figure = drawing.draw()
        light = _svg(figure)
        stem.with_suffix(".svg").write_bytes(light)
        figure.savefig(stem.with_suffix(".png"), dpi=DPI, facecolor="white")
    alt = str(figure.get_label())
    if not alt.strip():
        raise ValueError(f"the figure {drawing.name!r} has no alternative text: give it one by Figure.set_label")
    width, height = (round(96 * inches) for inches in figure.get_size_inches())
    return Picture(drawing.section, drawing.caption, alt, _address(light), _address(dark), stem.name, width, height)


def file_name(number: int, name: str) -> str:
    """A name that any file system takes, whatever modalities are called."""
    return f"{number:02d}-{re.sub('[^A-Za-z0-9]+', '-', name).strip('-')[:60]}"


def _style(paper: str) -> dict[Any, Any]:
    """How to draw on this paper; matplotlib types every key by its name."""
    return {**STYLE, **dict.fromkeys(INKED, INKS[paper])}


def _svg(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", facecolor="none", metadata={"Date": None})
    return buffer.getvalue()


def _address(svg: bytes) -> str:
    return f"data:image/svg+xml;base64,{base64.b64encode(svg).decode()}"


def _khat(subsets: Sequence[Subset]) -> KHat:
    """All subsets as one, NaN for the rows that were weighed for others alone."""
    rows = np.unique(np.concatenate([subset.weighed for subset in subsets]))
    unknown = np.full((len(subsets), len(rows)), np.nan)
    found = unknown.copy()
    parts = [subset.khat for subset in subsets if subset.khat]
    for row, subset, part in zip(found, subsets, parts, strict=True):
        row[np.searchsorted(rows, subset.weighed)] = part.khat[0]
    return KHat(tuple((subset.label,) for subset in subsets), found, unknown, unknown, parts[0].draws)


def _checks(subsets: Sequence[Subset]) -> dict[str, dict[str, Uniform]]:
    """Checks by what was shown and by what was asked; predictions from all others make one figure together."""
    found: dict[str, dict[str, Uniform]] = {}
    for subset in subsets:
        checks = {n: c for n, c in subset.predictions.items() if (~np.isnan(c.values)).any(1).sum() > 1}
        label = "all others" if len(subset.predictions) == 1 else subset.label
        if checks:
            found.setdefault(label, {}).update(checks)
    return found
