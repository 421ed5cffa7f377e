"""Stratified objectives: the mean over modalities m of a bound whose draws come from ``q(z | x_m)``."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Literal

from ppvae.batch import Batch
from ppvae.objectives.agreement import present_count
from ppvae.objectives.elbo import Objective, added, fits, prices, times
from ppvae.objectives.multisample import BOUND, doubly_reparameterised, in_place_of, log_mean_exp, proposed
from ppvae.objectives.subsets import explained, singles
from ppvae.ppl import ops
from ppvae.traces import Sites, alone, latents, log_weights, paired, random_sites

Gradient = Literal["iwae", "dreg"]
PRIVATE = "w_"


def mmvae(draws: int = 10, gradient: Gradient = "dreg") -> Objective:
    """``(1/M) Σ_m E_{z_1..z_K ~ q_m} log (1/K) Σ_k p(X, z_k) / q(z_k | X)`` (Shi et al. 2019, equation 5).

    Works for any guide: ``q_m`` is the guide given x_m alone, ``q(z | X)`` its density given everything. M counts the
    modalities that an item has. A private latent ``w_n`` (MMVAE+: Palumbo et al. 2023, equation 6) counts in the
    stratum of n alone: in the others the guide draws it from an auxiliary prior, whose density takes no part.

    Args:
        draws: K.
        gradient: ``dreg``, the paper's, or ``iwae``.
    """

    def objective(model: Any, guide: Any, batch: Batch, beta: Any) -> dict[str, Any]:
        bounds = []
        for part in singles(model, batch):
            weigh = partial(own_weights, part=part, beta=beta)
            bounds.append(stratum(model, guide, batch, part, draws, gradient, weigh))
        return {BOUND: present_mean(model, batch, bounds)}

    return objective


def stratum(
    model: Any, guide: Any, batch: Batch, part: Batch, draws: int, gradient: Gradient, weigh: Callable[..., Any]
) -> Any:
    """The bound whose draws come from the guide given ``part``, and count with its density given all: ``(items,)``."""
    drawn = proposed(guide, part, {}, draws)
    scored = proposed(guide, batch, latents(drawn), draws)
    weights = weigh(proposed(model, batch, latents(drawn), draws), scored).reshape(-1, batch.size)
    if gradient == "iwae":
        return log_mean_exp(weights)
    share = ops.softmax(ops.detach(weights), 0)
    return in_place_of(log_mean_exp(weights), doubly_reparameterised(model, guide, batch, drawn, share, weigh))


def own_weights(target: Sites, proposal: Sites, part: Batch, beta: Any) -> Any:
    """Log weights without the private latents of modalities that are not in ``part``."""
    foreign = {name for name in proposal if is_private(name) and name.removeprefix(PRIVATE) not in part.arrays}
    kept = ({name: site for name, site in sites.items() if name not in foreign} for sites in (target, proposal))
    return log_weights(*kept, beta=beta)


def is_private(site: str) -> bool:
    """Is this the latent of one modality, named ``w_`` and the modality, rather than a shared one?"""
    return site.startswith(PRIVATE)


def present_mean(model: Any, batch: Batch, bounds: list[Any]) -> Any:
    """The mean of one bound for each modality over those that an item has; over all where it has none: ``(items,)``."""
    there = ops.stack([batch.present(name) for name in explained(model, batch)])
    there = ops.where(ops.any(there, 0), there, ops.ones_like(there))
    return ops.where(there, ops.stack(bounds), 0.0).sum(0) / ops.where(there, 1.0, 0.0).sum(0)


def dmvae(weight: float = 1.0, analytic: bool = True) -> Objective:
    """The joint ELBO and those of crossed latents: z from x_n, private latents from all (Lee & Pavlovic 2021, eq. 8).

    ``Σ_m λ E log p(x_m | z, w_m) − KL(q(z) ‖ p) − Σ_m KL(q(w_m) ‖ p)``, once with z from all modalities and once with
    z from each alone, averaged over those.

    Args:
        weight: λ, of every modality's log likelihood.
        analytic: use the formula of a KL divergence where there is one.
    """

    def objective(model: Any, guide: Any, batch: Batch, beta: Any) -> dict[str, Any]:
        proposal, target = paired(model, guide, batch)
        total = {**times(weight, fits(target, proposal)), **prices(target, proposal, beta, analytic)}
        for name, part in zip(explained(model, batch), singles(model, batch), strict=True):
            share = ops.where(batch.present(name), 1.0, 0.0) / present_count(model, batch)
            crossed = cross(model, guide, batch, part, proposal, weight, beta, analytic)
            total = added(total, times(share, crossed))
        return total

    return objective


def cross(
    model: Any, guide: Any, batch: Batch, part: Batch, proposal: Sites, weight: float, beta: Any, analytic: bool
) -> dict[str, Any]:
    """The ELBO's shares with shared latents from the guide given ``part``, private ones from the joint proposal."""
    shared = {name: site for name, site in random_sites(guide, alone(part)).items() if not is_private(name)}
    mixed = {**proposal, **shared}
    target = random_sites(model, alone(batch), latents(mixed))
    return {**times(weight, fits(target, mixed)), **prices(target, mixed, beta, analytic)}
