"""Losses: training curves of one run or of several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ppvae.plots.palette import COLOURS

SPIKE = 10  # times what nine in ten losses span above the lowest, beyond which losses leave the figure


def loss_curves(histories: Mapping[str, Sequence[Mapping[str, Any]]], title: str = "") -> Figure:
    """Training loss in nats per item against the epoch: one line for each ``label -> history``.

    The loss of held-out items, where it was measured, is a dashed line of the same colour. The first of several is
    drawn wide and pale, so that a second one on top of it does not hide it. Spikes, which would make all else a flat
    line, leave the figure, whose axis says how high they are.
    """
    figure = Figure(figsize=(6.0, 3.4), layout="constrained")
    axis = figure.subplots()
    for number, (label, history) in enumerate(histories.items()):
        width, alpha = (5.0, 0.35) if number == 0 and len(histories) > 1 else (1.2, 1.0)
        style: dict[str, Any] = {"color": COLOURS[number % len(COLOURS)], "lw": width, "alpha": alpha}
        axis.plot([h["epoch"] for h in history], [h["loss"] for h in history], label=label, **style)
        if watched := [h for h in history if h.get("validation_loss") is not None]:
            held_out = [[h[key] for h in watched] for key in ("epoch", "validation_loss")]
            axis.plot(*held_out, label=f"{label}, held out", ls="--", **style)
    axis.set(xlabel="epoch", ylabel="loss, nats per item", title=title)
    _cut_spikes(axis)
    axis.locator_params(axis="x", integer=True)
    axis.grid(alpha=0.3)
    axis.legend(frameon=False)
    drawn = [(line.get_label(), np.asarray(line.get_ydata())) for line in axis.lines]
    ends = [f"{label} from {losses[0]:.1f} to {losses[-1]:.1f}" for label, losses in drawn if len(losses)]
    figure.set_label(f"{title or 'Training loss'}, nats per item by epoch: {', '.join(ends)}.")
    return figure


def _cut_spikes(axis: Axes) -> None:
    """End the axis where nearly all losses do, if the others are far above."""
    losses = np.concatenate([np.asarray(line.get_ydata(), float) for line in axis.lines] or [np.empty(0)])
    losses = losses[np.isfinite(losses)]
    if not losses.size:
        return
    low, most, top = np.quantile(losses, [0.0, 0.9, 1.0])
    end = low + SPIKE * (most - low)
    if low < end < top:
        shown = losses[losses <= end].max()
        axis.set_ylim(low - 0.05 * (shown - low), shown + 0.05 * (shown - low))
        axis.set_ylabel(f"{axis.get_ylabel()}\n(up to {top:.3g} above)")
