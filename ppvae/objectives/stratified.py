"""Stratified objectives: the mean over modalities m of a bound whose draws come from ``q(z | x_m)``."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from typing import Any, Literal

from ppvae.language.batch import Batch
from ppvae.language.ppl import ops
from ppvae.language.traces import Sites, alone, is_local, latents, log_weights, paired
from ppvae.objectives.agreement import present_count
from ppvae.objectives.elbo import Objective, added, fits, global_shares, prices, revisiting, times
from ppvae.objectives.multisample import BOUND, doubly_reparameterised, log_mean_exp, proposed, resting
from ppvae.objectives.subsets import explained, singles
from ppvae.parts import experts

Gradient = Literal["iwae", "dreg"]
PRIVATE = "w_"


def mmvae(draws: int = 10, gradient: Gradient = "dreg") -> Objective:
    """``(1/M) Σ_m E_{z_1..z_K ~ q_m} log (1/K) Σ_k p(X, z_k) / q(z_k | X)`` (Shi et al. 2019).

    Works for any guide: ``q_m`` is the guide given x_m alone, ``q(z | X)`` its density given everything. M counts the
    modalities that an item has. With private latents it is the objective of MMVAE+ (Palumbo et al. 2023): in the
    stratum of m the guide draws ``w_n`` of every other n without seeing x_n, and neither ``p(w_n)`` nor the density
    that it was drawn from counts. That is a bound on the evidence only where the two are the same.

    Args:
        draws: K.
        gradient: ``dreg``, the paper's, or ``iwae``. With several modalities and draws ``dreg`` is an approximation
            for the experts of z: it takes each stratum's draws for draws of ``q(z | X)``.
    """

    @revisiting
    def objective(model: Any, guide: Any, batch: Batch, beta: Any) -> dict[str, Any]:
        shares, batch = stratum_shares(model, batch), alone(batch.remembering())
        drawn = [(part, proposed(guide, part, {}, draws)) for part in singles(model, batch)]
        still = resting(guide, batch) if gradient == "dreg" else None
        bounds = [stratum(model, guide, still, batch, *each, draws, beta) for each in drawn]
        return added(*(times(share, bound, batch) for share, bound in zip(shares, bounds, strict=True)))

    return objective


def stratum(
    model: Any, guide: Any, still: Any, batch: Batch, part: Batch, drawn: Sites, draws: int, beta: Any
) -> dict[str, Any]:
    """The bound at draws from the guide given ``part``, which count with its density given all: ``(items,)``.

    The gradient is doubly reparameterised where the guide that rests is given, ``still``.
    """
    foreign = {name for name in drawn if is_private(name) and name.removeprefix(PRIVATE) not in part.arrays}
    weigh = partial(log_weights_without, names=foreign, beta=beta)
    plain = still is None or not all(is_local(site) for site in drawn.values())
    scored = proposed(guide, batch, latents(drawn), draws) if plain else {}
    if still is None:
        target = proposed(model, batch, latents(drawn), draws)
        weights = weigh(target, scored).reshape(-1, batch.size)
    else:
        target, weights = doubly_reparameterised(model, still, batch, drawn, draws, weigh, foreign)
    return {BOUND: log_mean_exp(weights), **global_shares(target, scored, beta)}


def log_weights_without(target: Sites, proposal: Sites, names: Collection[str], beta: Any) -> Any:
    """Log weights that leave out the densities of some latents."""
    model, guide = ({name: site for name, site in sites.items() if name not in names} for sites in (target, proposal))
    return log_weights(model, guide, beta)


def is_private(site: str) -> bool:
    """Is this the latent of one modality, named ``w_`` and the modality, rather than a shared one?"""
    return site.startswith(PRIVATE)


def stratum_shares(model: Any, batch: Batch) -> Any:
    """Equal shares of the modalities that an item has, of all where it has none: ``(modality, items)``."""
    there = ops.stack([batch.present(name) for name in explained(model, batch)])
    return experts.evenly(there)


def dmvae(weight: float = 1.0, analytic: bool = True) -> Objective:
    """The joint bound and those of crossed latents: z from one x_n, private latents from all (Lee & Pavlovic 2021).

    ``Σ_s Σ_m [λ E log p(x_m | z, w_m) − β KL(q_s(z) ‖ p) − β KL(q(w_m) ‖ p)]``, the sources s of z being all
    modalities together and each that the item has alone. As published, every reconstruction pays for z: the bound of
    a source is its ELBO minus M − 1 times the KL divergence of z, M counting the modalities that an item has.

    Args:
        weight: λ, of every modality's log likelihood.
        analytic: use the formula of a KL divergence where there is one.
    """

    def objective(model: Any, guide: Any, batch: Batch, beta: Any) -> dict[str, Any]:
        batch = batch.remembering()
        proposal, _ = paired(model, guide, batch)
        total = reconstructions(model, batch, proposal, weight, beta, analytic)
        for name, part in zip(explained(model, batch), singles(model, batch), strict=True):
            crossed = reconstructions(model, batch, {**proposal, **shared(guide, part)}, weight, beta, analytic)
            total = added(total, times(ops.where(batch.present(name), 1.0, 0.0), crossed, batch))
        return total

    return objective


def shared(guide: Any, part: Batch) -> Sites:
    """The latents of each item's own, and of no single modality's, drawn from the guide given ``part``."""
    sites = proposed(guide, part, {}, 1)
    return {name: site for name, site in sites.items() if is_local(site) and not is_private(name)}


def reconstructions(
    model: Any, batch: Batch, proposal: Sites, weight: float, beta: Any, analytic: bool
) -> dict[str, Any]:
    """The weighted fit of everything under a proposal, minus its prices: shared latents' once for each modality."""
    target, count = proposed(model, batch, latents(proposal), 1), present_count(model, batch)
    priced = prices(target, proposal, beta, analytic)
    return {
        **times(weight, fits(target, proposal)),
        **{name: value if is_private(name) else count * value for name, value in priced.items()},
        **global_shares(target, proposal, beta),
    }
