"""Plots of calibration: distribution functions with their bands, and coverage of predictive intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from ppvae.diagnostics import uniformity
from ppvae.diagnostics.calibration import Uniform
from ppvae.plots.labels import drawn
from ppvae.plots.palette import BLUE, COLOURS, GREY, VERMILION

TITLE = 44  # characters above a panel
JOINT: dict[str, Any] = {"color": VERMILION, "lw": 1.8, "label": "log joint density"}


def ecdf_figure(checks: Sequence[Uniform], level: float = 0.95) -> Figure:
    """One panel a check: each quantity's distribution function minus the uniform one, and the simultaneous band.

    A line that leaves the band is evidence against calibration; the band is that of one quantity. The log joint density
    has a colour and a label of its own.
    """
    figure = Figure(figsize=(4.2 * len(checks), 3.2), layout="constrained")
    for axis, check in zip(figure.subplots(1, len(checks), squeeze=False)[0], checks, strict=True):
        items = int((~np.isnan(check.values)).sum(0).max())
        lower, upper = uniformity.band(items, level)
        places = uniformity.EDGES
        axis.fill_between(places, lower - places, upper - places, color=GREY, alpha=0.3, lw=0, step="mid")
        for name, line in zip(check.names, uniformity.distribution(check.values), strict=True):
            style = JOINT if name == "log joint" else {"color": BLUE, "lw": 0.9, "alpha": 0.7}
            axis.plot(places, line - places, **style)
        if "log joint" in check.names:
            axis.legend(frameon=False, fontsize="small")
        axis.set(xlabel="position among the draws", ylabel="ECDF − uniform", title=drawn(check.what, TITLE))
        axis.title.set_fontsize("medium")
    figure.set_label(f"Calibration: {'; '.join(check.verdict for check in checks)}.")
    return figure


def coverage_figure(checks: Mapping[str, Uniform], levels: Sequence[float] = (0.5, 0.9)) -> Figure:
    """The coverage of central predictive intervals, with two standard errors: one mark for each check and level."""
    figure = Figure(figsize=(1.5 + 0.8 * len(checks), 3.2), layout="constrained")
    axis = figure.subplots()
    words = []
    for number, level in enumerate(levels):
        rates, errors = zip(*(check.coverage(level) for check in checks.values()), strict=True)
        colour = COLOURS[number % len(COLOURS)]
        axis.axhline(level, color=colour, lw=0.8, ls=":")
        places = np.arange(len(checks)) + 0.15 * (number - (len(levels) - 1) / 2)
        axis.errorbar(places, rates, 2 * np.array(errors), fmt="o", color=colour, label=f"{level:.0%}")
        words.append(f"{level:.0%}: {', '.join(f'{n} {rate:.0%}' for n, rate in zip(checks, rates, strict=True))}")
    axis.set_xticks(range(len(checks)), [drawn(name) for name in checks], rotation=30, ha="right")
    axis.set(ylabel="coverage", ylim=(0, 1.02))
    axis.legend(frameon=False, title="interval")
    figure.set_label(f"Coverage of central predictive intervals of {'; '.join(words)}.")
    return figure
