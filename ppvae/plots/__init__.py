"""Plots: every figure of ppvae, from what the other rooms measured. Calls diagnostics and below; nobody else draws."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ppvae.face import show

show(
    __name__,
    {
        "calibration": "coverage_figure ecdf_figure",
        "cross_prediction": "crossing_figure heat_map",
        "graph": "graph picture",
        "images": "image_rows",
        "khat": "khat_map",
        "losses": "loss_curves",
        "predictive_checks": "predictive_figure",
        "traversals": "traversal_figure",
    },
)

if TYPE_CHECKING:
    from ppvae.plots.calibration import coverage_figure as coverage_figure
    from ppvae.plots.calibration import ecdf_figure as ecdf_figure
    from ppvae.plots.cross_prediction import crossing_figure as crossing_figure
    from ppvae.plots.cross_prediction import heat_map as heat_map
    from ppvae.plots.graph import graph as graph
    from ppvae.plots.graph import picture as picture
    from ppvae.plots.images import image_rows as image_rows
    from ppvae.plots.khat import khat_map as khat_map
    from ppvae.plots.losses import loss_curves as loss_curves
    from ppvae.plots.predictive_checks import predictive_figure as predictive_figure
    from ppvae.plots.traversals import traversal_figure as traversal_figure
