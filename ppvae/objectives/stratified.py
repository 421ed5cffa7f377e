"""Stratified objectives: the mean over modalities m of a bound whose draws come from ``q(z | x_m)``."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial, reduce
from operator import or_
from typing import Any, Literal

from ppvae.language.batch import Batch
from ppvae.language.ppl import ops
from ppvae.language.traces import Sites, alone, enumerated, is_local, latents, log_weights, paired
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
        parts = singles(model, batch)
        drawn = [proposed(guide, part, {}, draws) for part in parts]
        still = resting(guide, batch) if gradient == "dreg" else None
        size = len(parts) if stackable(drawn) else 1  # how many strata share a run
        groups = [slice(first, first + size) for first in range(0, len(parts), size)]
        bounds = [b for g in groups for b in strata(model, guide, still, batch, parts[g], drawn[g], draws, beta)]
        return added(*(times(share, bound, batch) for share, bound in zip(shares, bounds, strict=True)))

    return objective


def strata(
    model: Any, guide: Any, still: Any, batch: Batch, parts: list[Batch], drawn: list[Sites], draws: int, beta: Any
) -> list[dict[str, Any]]:
    """For each stratum the bound at draws from the guide given its part, which count with their density given all.

    Bounds are ``(items,)``. Their gradient is doubly reparameterised where the guide that rests is given, ``still``.
    """
    sites, shape = stacked(drawn) if len(parts) > 1 else drawn[0], (len(parts), draws)
    counts = {name: own_strata(name, site, parts, draws) for name, site in sites.items() if is_private(name)}
    weigh = partial(counted_log_weights, counts=counts, beta=beta)
    plain = still is None or not all(is_local(site) for site in sites.values())
    scored = proposed(guide, batch, latents(sites), len(parts) * draws) if plain else {}
    if still is None:
        target = proposed(model, batch, latents(sites), len(parts) * draws)
        weights = weigh(target, scored).reshape(*shape, batch.size)
    else:
        target, weights = doubly_reparameterised(model, still, batch, sites, shape, weigh, counts)
    return [{BOUND: log_mean_exp(each), **global_shares(target, scored, beta)} for each in weights]


def stackable(drawn: list[Sites]) -> bool:
    """Can one run of a program stand for those at the draws of each stratum, since items have all of their own?"""
    sites = [site for each in drawn for site in each.values()]
    alike = not any(getattr(each, "rows", {}) or enumerated(each) for each in drawn)
    return alike and all(is_local(site) and not site["layout"].apart for site in sites)


def stacked(drawn: list[Sites]) -> Sites:
    """The sites of several runs as those of one, which has the draws of all, one run after the other."""

    def value(site: Any) -> Any:
        missing = site["layout"].inner + site["fn"].event_dim - site["value"].ndim
        return site["value"].reshape((1,) * missing + tuple(site["value"].shape))

    return {
        name: {**site, "value": ops.cat([value(each[name]) for each in drawn], 0)} for name, site in drawn[0].items()
    }


def own_strata(name: str, site: Any, parts: list[Batch], draws: int) -> Any:
    """Is a draw of a private latent made where its modality is seen? Booleans, in the dims of the site's plates."""
    seen = [name.removeprefix(PRIVATE) in part.arrays for part in parts]
    if len(parts) == 1:
        return seen[0]
    stratum = ops.arange(len(parts) * draws) // draws  # made where the draws are: a list would be sent to a GPU
    counts = reduce(or_, (stratum == i for i, there in enumerate(seen) if there), stratum < 0)
    return counts.reshape(-1, *(1,) * (site["layout"].inner - 1))


def counted_log_weights(target: Sites, proposal: Sites, counts: Mapping[str, Any], beta: Any) -> Any:
    """Log weights in which some latents' densities count for some draws alone."""
    model, guide = ({n: _counted(site, counts.get(n)) for n, site in sites.items()} for sites in (target, proposal))
    return log_weights(model, guide, beta)


def _counted(site: Any, count: Any) -> Any:
    mask = site.get("mask")
    return site if count is None else {**site, "mask": count if mask is None else mask & count}


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
