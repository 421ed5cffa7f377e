"""Figures of a report: each drawn for light and for dark paper, with its caption and its words."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from ppvae.diagnostics.khat import KHat
from ppvae.plots.calibration import ecdf_figure
from ppvae.plots.cross_prediction import heat_map
from ppvae.plots.khat import khat_map
from ppvae.plots.losses import loss_curves
from ppvae.report.measures import Measures
from ppvae.report.subsets import Subset, source
from ppvae.runs.files import replacing
from ppvae.training.early_stopping import still_falls, stop_at

INKS = {"light": "#1f2328", "dark": "#e6e8eb"}
INKED = ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color")
STYLE: dict[Any, Any] = {  # matplotlib types every key by its name
    **dict.fromkeys(INKED, INKS["light"]),
    "svg.fonttype": "path",  # no font has to be there, or to be fetched
    "svg.hashsalt": "ppvae",  # the same run gives the same file
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "font.size": 9.0,
}
DPI = 160
WIDTH = 3.6  # inches, which a phone shows whole; figures with many columns are wider
HEIGHT = 2.7  # at most, of figures that were wider than high; those with many rows are higher


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
    "Items that the model made, whose latents are known: each line is a latent, the orange one the joint density of "
    "latents and data. Within the grey band it is calibrated; a lying S is too narrow or too wide, a bow lies too high "
    "or too low."
)
COVERED = (
    "How often intervals that promise to hold 90% of the values measured did so: what was shown on the left, what was "
    "predicted from it below. A number below 0.9 is a promise that was not kept."
)
LOSS = "Loss by epoch, lower is better; dashed, that of held-out items, where it was measured. "
RISES = "It is lowest after epoch {}, and rises from there on: stop at epoch {}."
FALLS = "It still falls where training ended: more epochs may help."
FLAT = "It no longer falls where training ended: more epochs hardly help."


def drawings(measures: Measures) -> list[Drawing]:
    """The figures of a report, in its order."""
    weighed = [subset for subset in measures.subsets if subset.khat]
    found = [Drawing("posteriors", "k-hat", KHAT, partial(khat_map, _khat(weighed)))] if weighed else []
    checked = [(subset, subset.latents) for subset in measures.subsets if subset.latents]
    for subset, latents in checked:
        check = replace(latents, what=f"latents given {subset.label}")
        section = "latents" if len(subset.given) == max(len(other.given) for other, _ in checked) else "posteriors"
        found.append(Drawing(section, check.what, LATENTS, partial(ecdf_figure, [check])))
    if scores := coverages(measures.subsets):
        found.append(Drawing("predictions", "coverage", COVERED, partial(_coverage_map, scores)))
    if history := measures.fitted.history:
        curves = partial(loss_curves, {"training": history})
        found.append(Drawing("training", "loss", LOSS + _tendency(history), curves))
    return found


def _tendency(history: Sequence[Mapping[str, Any]]) -> str:
    """What the loss does at the end of training, and what to do about it."""
    if epoch := stop_at(history):
        return RISES.format(epoch, epoch)
    return FALLS if still_falls(history) else FLAT


def picture(drawing: Drawing, stem: Path) -> Picture:
    """Draw a figure for the page, and write it as ``stem.svg``, without paper, and ``stem.png``, on white.

    Raises:
        ValueError: the figure does not say in words what it shows.
    """
    with mpl.rc_context(STYLE):
        figure = drawing.draw()
        width, height = figure.get_size_inches()
        figure.set_size_inches(max(WIDTH, width / 2), height if height > width else min(height, HEIGHT))
        light = _svg(figure)
        with replacing(stem.with_suffix(".svg")) as svg, replacing(stem.with_suffix(".png")) as png:
            svg.write_bytes(light)
            figure.savefig(png, format="png", dpi=DPI, facecolor="white")
    dark = light.replace(INKS["light"].encode(), INKS["dark"].encode())
    alt = str(figure.get_label())
    if not alt.strip():
        raise ValueError(f"the figure {drawing.name!r} has no alternative text: give it one by Figure.set_label")
    width, height = (round(96 * inches) for inches in figure.get_size_inches())
    return Picture(drawing.section, drawing.caption, alt, _address(light), _address(dark), stem.name, width, height)


def file_name(number: int, name: str) -> str:
    """A name that any file system takes, whatever modalities are called."""
    return f"{number:02d}-{re.sub('[^A-Za-z0-9]+', '-', name).strip('-')[:60]}"


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


def coverages(subsets: Sequence[Subset]) -> dict[str, dict[str, float]]:
    """How often 90 % intervals held the measured value, by what was shown and what was asked.

    Predictions from all others make one row together. Fewer than two rows tell nothing.
    """
    found: dict[str, dict[str, float]] = {}
    for subset in subsets:
        for name, check in subset.predictions.items():
            if (~np.isnan(check.values)).any(1).sum() > 1:
                found.setdefault(source(subset, name), {})[name] = check.coverage(0.9)[0]
    return found


def _coverage_map(scores: Mapping[str, Mapping[str, float]]) -> Figure:
    names = list(dict.fromkeys(name for row in scores.values() for name in row))
    table = np.array([[row.get(name, np.nan) for name in names] for row in scores.values()])
    return heat_map(table, list(scores), names, "share held by 90% intervals")
