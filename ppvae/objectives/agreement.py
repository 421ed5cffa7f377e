"""Objectives that make the posteriors of single modalities agree with the joint one, or with each other."""

from __future__ import annotations

from typing import Any

from ppvae.language.batch import Batch
from ppvae.language.elimination import multiplied
from ppvae.language.plates import beside
from ppvae.language.ppl import items, ops
from ppvae.language.traces import Sites, alone, divergence, expected, guided, is_local, paired, random_sites
from ppvae.objectives.elbo import Objective, added, fits, global_shares, prices, shares, times
from ppvae.objectives.subsets import explained, singles


def mvtcae(a: float = 0.9, analytic: bool = True) -> Objective:
    """``((M−a)/M) E_q log p(X|z) − β[(1−a) KL(q ‖ p) + (a/M) Σ_m KL(q ‖ q_m)]`` (Hwang et al. 2021).

    M counts the modalities that an item has; β is the setting ``beta``.

    Args:
        a: share of the conditional bounds, the paper's alpha, between 0 (the ELBO) and 1.
        analytic: use the formula of a KL divergence where there is one.
    """

    def objective(model: Any, guide: Any, batch: Batch, beta: Any) -> dict[str, Any]:
        return correlated(model, guide, batch.remembering(), beta, a, analytic)

    return objective


def correlated(model: Any, guide: Any, batch: Batch, beta: Any, a: Any, analytic: bool) -> dict[str, Any]:
    """MVTCAE's shares, where ``a`` is a number or ``(items,)``."""
    proposal, target = paired(model, guide, batch)
    share = a / present_count(model, batch)
    return added(
        times(1 - share, fits(target, proposal)),
        times(1 - a, prices(target, proposal, beta, analytic)),
        times(-beta * share, apart(model, guide, batch, proposal, analytic)),
        global_shares(target, proposal, beta),
    )


def crmvae(analytic: bool = True) -> Objective:
    """``Σ_m [(1−π) E_q + π E_{q_m}] log p(x_m|z) − βπ [KL(q ‖ p) + Σ_m KL(q ‖ q_m)]`` (Suzuki & Matsuo 2023).

    π = 1/(M+1): MVTCAE's terms at ``a = M/(M+1)``, and reconstructions of each modality from itself alone.
    """

    def objective(model: Any, guide: Any, batch: Batch, beta: Any) -> dict[str, Any]:
        batch = batch.remembering()
        share = 1 / (present_count(model, batch) + 1)
        own = [fits(*reversed(paired(model, guide, part))) for part in singles(model, batch)]
        return added(correlated(model, guide, batch, beta, 1 - share, analytic), times(share, added(*own)))

    return objective


def jmvae(a: float = 0.1, analytic: bool = True) -> Objective:
    """``ELBO(q(z|X)) − a Σ_m KL(q(z|X) ‖ q(z|x_m))`` (Suzuki et al. 2016)."""

    def objective(model: Any, guide: Any, batch: Batch, beta: Any) -> dict[str, Any]:
        batch = batch.remembering()
        proposal, target = paired(model, guide, batch)
        gaps = apart(model, guide, batch, proposal, analytic)
        return added(shares(target, proposal, beta, analytic), times(-a, gaps))

    return objective


def mmjsd(analytic: bool = True) -> Objective:
    """``E_q log p(X|z) − β JS_π(q_1, ..., q_M, p)``, π equal, the mean geometric (Sutter et al. 2020).

    ``JS_π = Σ_k π_k KL(q_k ‖ m)`` over the prior and the M experts that an item has. The geometric mean m of Gaussians
    is one, of their mean precision; other members count by their means and variances.
    """

    def objective(model: Any, guide: Any, batch: Batch, beta: Any) -> dict[str, Any]:
        batch = batch.remembering()
        proposal, target = paired(model, guide, batch)
        experts = [random_sites(guide, alone(part)) for part in singles(model, batch)]
        there = [batch.present(name) for name in explained(model, batch)]
        apart = {name: js(target[name], [e[name]["fn"] for e in experts], there) for name in guided(target, proposal)}
        return {**fits(target, proposal), **times(-beta, apart), **global_shares(target, proposal, beta)}

    return objective


def js(prior: Any, experts: list[Any], there: list[Any]) -> Any:
    """The Jensen-Shannon divergence of Gaussians with a geometric mean, over those that are there: ``(items,)``.

    The prior's is a site of the model.
    """
    present = [beside(prior, t, prior["layout"]) for t in there]
    weights = ops.stack(
        [ops.ones_like(present[0], dtype=items().float_dtype()), *(ops.where(t, 1.0, 0.0) for t in present)]
    )
    weights = (weights / weights.sum(0)).reshape(*weights.shape, *(1,) * prior["fn"].event_dim)
    moments = [_moments(member) for member in (prior["fn"], *experts)]
    loc, variance = (
        ops.stack([x + ops.zeros_like(experts[0].mean) for x in part]) for part in zip(*moments, strict=True)
    )
    precision = (weights / variance).sum(0)
    centre, spread = (weights * loc / variance).sum(0) / precision, 1 / precision
    kl = 0.5 * ((variance + (loc - centre) ** 2) / spread - 1 + ops.log(spread / variance))
    return multiplied((weights * kl).sum((0, -1) if prior["fn"].event_dim else 0), prior["layout"].own)


def _moments(member: Any) -> tuple[Any, Any]:
    try:
        return member.mean, member.variance
    except NotImplementedError:
        raise ValueError(
            "mmjsd compares the prior and the experts by their means and variances, and one of them knows none: choose "
            "the prior standard, diagonal or mixture"
        ) from None


def apart(model: Any, guide: Any, batch: Batch, proposal: Sites, analytic: bool) -> dict[str, Any]:
    """``Σ_m KL(q(z|batch) ‖ q(z|x_m))`` over the modalities that an item has, by latent: ``(items,)``."""
    total = []
    for name, part in zip(explained(model, batch), singles(model, batch), strict=True):
        given, there = random_sites(guide, alone(part)), batch.present(name)
        gaps = {
            latent: expected(divergence(site, given[latent], analytic), proposal)
            for latent, site in proposal.items()
            if is_local(site)
        }
        total.append({latent: ops.where(there, gap, 0.0) for latent, gap in gaps.items()})
    return added(*total)


def present_count(model: Any, batch: Batch) -> Any:
    """How many modalities an item has to be explained, at least one: ``(items,)``."""
    count: Any = sum(ops.where(batch.present(name), 1.0, 0.0) for name in explained(model, batch))
    return ops.clamp(count, min=1.0)
