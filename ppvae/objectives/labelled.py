"""Objectives for a label that is measured for some items: the classifier learns from those too."""

from __future__ import annotations

from typing import Any

from ppvae.language.batch import Batch
from ppvae.language.ppl import ops
from ppvae.language.traces import alone, density, random_sites
from ppvae.objectives.elbo import Objective, bound, item_mean


def m2(alpha: float = 0.1, analytic: bool = True) -> Objective:
    """``ELBO + α (N/N_l) Σ_labelled log q(y | x)`` (M2: Kingma et al. 2014, there with α = 0.1 N).

    ``q(y | x)`` is the site ``y`` of the guide given all but the label, which the model names ``label``. The mean
    over labelled items is estimated by that over the labelled items of a batch.

    Args:
        alpha: weight of the mean classification term against the mean ELBO of an item.
        analytic: use the formula of a KL divergence where there is one.
    """

    def objective(model: Any, guide: Any, batch: Batch, beta: Any) -> dict[str, Any]:
        found = bound(model, guide, batch, beta, analytic)
        if model.label not in batch.arrays:
            return found
        labelled, y = batch.present(model.label), batch.get(model.label)[..., 0]
        rest = batch.given([name for name in batch.arrays if name != model.label])
        log_q = ops.where(labelled, density(random_sites(guide, alone(rest), {"y": y})["y"]), 0.0)
        share = item_mean(ops.where(labelled, 1.0, 0.0), batch)
        return {**found, "the classifier": alpha * log_q / ops.where(share > 0, share, 1.0)}

    return objective
