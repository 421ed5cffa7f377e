"""Mixed prior: one latent per modality, each drawn towards the mixture of all of them (MMVM)."""

from __future__ import annotations

import math
from typing import Any

from ppvae.batch import Batch
from ppvae.objectives.elbo import Objective, fits
from ppvae.objectives.subsets import explained
from ppvae.ppl import ops
from ppvae.traces import paired


def mmvm() -> Objective:
    """``Σ_m E_{q_m} log p(x_m|z_m) − β Σ_m KL(q_m ‖ h)``, ``h = (1/M) Σ_n q_n`` (Sutter et al. 2024, equation 5).

    The latent of modality m is the site ``z_m``; its KL divergence from the mixture over what an item has is sampled.
    """

    def objective(model: Any, guide: Any, batch: Batch, beta: Any) -> dict[str, Any]:
        proposal, target = paired(model, guide, batch)
        names = explained(model, batch)
        there = ops.stack([batch.present(name) for name in names])
        count = ops.clamp(ops.where(there, 1.0, 0.0).sum(0), min=1.0)
        shares = fits(target, proposal)
        for number, name in enumerate(names):
            z = proposal[f"z_{name}"]["value"]
            each = ops.stack([proposal[f"z_{other}"]["fn"].log_prob(z) for other in names])
            log_h = ops.logsumexp(ops.where(there, each, -math.inf), 0) - ops.log(count)
            gap = proposal[f"z_{name}"]["fn"].log_prob(z) - log_h
            shares[f"z_{name}"] = -beta * ops.where(there[number], gap, 0.0)
        return shares

    return objective
