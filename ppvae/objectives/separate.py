"""Mixed prior: one latent per modality, each drawn towards the mixture of all of them (MMVM)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ppvae.language.batch import Batch
from ppvae.language.ppl import ops
from ppvae.language.traces import Sites, density, paired
from ppvae.objectives.elbo import Objective, fits, times
from ppvae.objectives.subsets import explained


def mmvm() -> Objective:
    """``Σ_m E_{q_m} log p(x_m|z_m) − β Σ_m KL(q_m ‖ h)``, ``h = (1/M) Σ_n q_n`` (Sutter et al. 2024).

    The latent of modality m is the site ``z_m``, drawn by the guide from ``q_m`` where x_m is present; M counts the
    modalities that an item has. The divergence from the mixture is estimated at the draw, and Σ_m of them is M times
    the Jensen-Shannon divergence of the experts.
    """

    def objective(model: Any, guide: Any, batch: Batch, beta: Any) -> dict[str, Any]:
        proposal, target = paired(model, guide, batch)
        there = {name: batch.present(name) for name in explained(model, batch)}
        return {**fits(target, proposal), **times(-beta, apart_from_mixture(proposal, there))}

    return objective


def apart_from_mixture(proposal: Sites, there: Mapping[str, Any]) -> dict[str, Any]:
    """``log q_m − log h`` at the draw of each latent, zero where an item lacks its modality: ``(..., items)``."""
    sites = [proposal[f"z_{name}"] for name in there]
    drawn, present = ops.stack([site["value"] for site in sites]), ops.stack(list(there.values()))
    each = ops.stack([density({**site, "value": drawn}) for site in sites])
    # Where an item lacks a modality the guide's distribution of its latent is no expert. An item that has none keeps
    # all, because the gradient of an empty sum's logarithm is not a number.
    kept = present | ~ops.any(present, 0)
    kept = ops.reshape(kept, (len(sites), *[1] * (each.ndim - 2), -1))
    log_h = ops.logsumexp(ops.where(kept, each, -math.inf), 0) - ops.log(ops.where(kept, 1.0, 0.0).sum(0))
    return {site["name"]: ops.where(present[m], each[m, m] - log_h[m], 0.0) for m, site in enumerate(sites)}
