"""Plots of predictive checks: histograms of replicated statistics, with the measured value marked."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ppvae.diagnostics.predictive_checks import PredictiveCheck
from ppvae.plots.labels import drawn
from ppvae.plots.palette import BLUE, VERMILION


def predictive_figure(checks: Mapping[str, PredictiveCheck], bins: int = 20) -> Figure:
    """A row for each modality, a panel for each of its statistics, in the units that the statistic computes.

    The bars are replications, the line is the measured value, and the title holds the p-value.
    """
    columns = max(len(check.names) for check in checks.values())
    figure = Figure(figsize=(2.3 * columns, 2.0 * len(checks)), layout="constrained")
    grid = figure.subplots(len(checks), columns, squeeze=False)
    for axes, (name, check) in zip(grid, checks.items(), strict=True):
        for number, axis in enumerate(axes):
            if number < len(check.names):
                _panel(axis, name, check, number, bins)
            else:
                axis.set_axis_off()
        axes[0].set_ylabel("replications")
    figure.set_label("Posterior predictive checks. " + "; ".join(check.verdict for check in checks.values()) + ".")
    return figure


def _panel(axis: Axes, name: str, check: PredictiveCheck, number: int, bins: int) -> None:
    """The histogram of one statistic."""
    replicated, measured = check.replicated[:, number], check.measured[number]
    axis.hist(replicated, bins=bins, color=BLUE, alpha=0.6)
    axis.axvline(measured, color=VERMILION, lw=2.0)
    axis.set_title(check.p_texts[number] + (", in the tail" if check.extreme[number] else ""), fontsize="medium")
    axis.set_xlabel(f"{drawn(name)}: {check.names[number]}")
    axis.locator_params(axis="x", nbins=3)
    axis.locator_params(axis="y", nbins=4, integer=True)
