"""Objectives that make the posteriors of single modalities agree with the joint one, or with each other."""

from __future__ import annotations

from typing import Any

from ppvae.batch import Batch
from ppvae.objectives.elbo import Objective, added, fits, global_shares, prices, shares, times
from ppvae.objectives.subsets import explained, singles
from ppvae.ppl import items, ops
from ppvae.traces import Sites, alone, divergence, expected, is_local, paired, random_sites


def mvtcae(a: float = 0.9, analytic: bool = True) -> Objective:
    """``((M−a)/M) E_q log p(X|z) − β[(1−a) KL(q ‖ p) + (a/M) Σ_m KL(q ‖ q_m)]`` (Hwang et al. 2021, equation 8).

    M counts the modalities that an item has. The paper weighs KL divergences by settings' ``beta``.

    Args:
        a: share of the conditional bounds, the total correlation's alpha.
        analytic: use the formula of a KL divergence where there is one.
    """

    def objective(model: Any, guide: Any, batch: Batch, beta: Any) -> dict[str, Any]:
        proposal, target = paired(model, guide, batch)
        count = present_count(model, batch)
        return added(
            times((count - a) / count, fits(target, proposal)),
            times(1 - a, prices(target, proposal, beta, analytic)),
            times(-beta * a / count, apart(model, guide, batch, proposal, analytic)),
            global_shares(target, proposal),
        )

    return objective


def crmvae(a: float = 0.9, analytic: bool = True) -> Objective:
    """MVTCAE's terms ``+ Σ_m π E_{q_m} log p(x_m | z)``, π = 1/(M+1) (Suzuki & Matsuo 2023, equation 9)."""
    joint = mvtcae(a, analytic)

    def objective(model: Any, guide: Any, batch: Batch, beta: Any) -> dict[str, Any]:
        share = 1 / (present_count(model, batch) + 1)
        own = [fits(*reversed(paired(model, guide, part))) for part in singles(model, batch)]
        return added(joint(model, guide, batch, beta), times(share, added(*own)))

    return objective


def jmvae(a: float = 0.1, analytic: bool = True) -> Objective:
    """``ELBO(q(z|X)) − a Σ_m KL(q(z|X) ‖ q(z|x_m))`` (Suzuki et al. 2016, equation 6)."""

    def objective(model: Any, guide: Any, batch: Batch, beta: Any) -> dict[str, Any]:
        proposal, target = paired(model, guide, batch)
        gaps = apart(model, guide, batch, proposal, analytic)
        return added(shares(target, proposal, beta, analytic), times(-a, gaps))

    return objective


def mmjsd(analytic: bool = True) -> Objective:
    """``E_q log p(X|z) − β JS_π(q_1, ..., q_M, p)``, π equal, the mean geometric (Sutter et al. 2020, definition 2).

    The geometric mean of Gaussians is one: its precision is the mean precision of the M experts and the prior. The
    paper's scale is kept: the divergence is the mean over its M + 1 members.
    """

    def objective(model: Any, guide: Any, batch: Batch, beta: Any) -> dict[str, Any]:
        proposal, target = paired(model, guide, batch)
        parts = singles(model, batch)
        experts = [random_sites(guide, alone(part)) for part in parts]
        there = [batch.present(name) for name in explained(model, batch)]
        return {
            **fits(target, proposal),
            **{name: -beta * js(target[name]["fn"], [e[name]["fn"] for e in experts], there) for name in proposal},
        }

    return objective


def js(prior: Any, experts: list[Any], there: list[Any]) -> Any:
    """The Jensen-Shannon divergence of Gaussians with a geometric mean, over those that are there: ``(items,)``."""
    weights = ops.stack([ops.ones_like(there[0], dtype=items().float_dtype()), *(ops.where(t, 1.0, 0.0) for t in there)])
    weights = (weights / weights.sum(0))[..., None]
    loc = ops.stack([prior.mean + ops.zeros_like(experts[0].mean), *(e.mean for e in experts)])
    variance = ops.stack([prior.variance + ops.zeros_like(experts[0].mean), *(e.variance for e in experts)])
    precision = (weights / variance).sum(0)
    centre, spread = (weights * loc / variance).sum(0) / precision, 1 / precision
    kl = 0.5 * ((variance + (loc - centre) ** 2) / spread - 1 + ops.log(spread / variance))
    return (weights * kl).sum((0, -1))


def apart(model: Any, guide: Any, batch: Batch, proposal: Sites, analytic: bool) -> dict[str, Any]:
    """``Σ_m KL(q(z|batch) ‖ q(z|x_m))`` over the modalities that an item has, by latent: ``(items,)``."""
    total = []
    for name, part in zip(explained(model, batch), singles(model, batch), strict=True):
        alone_with_it, there = random_sites(guide, alone(part)), batch.present(name)
        gaps = {
            latent: ops.where(there, expected(divergence(site, alone_with_it[latent], analytic), proposal), 0.0)
            for latent, site in proposal.items()
            if is_local(site)
        }
        total.append(gaps)
    return added(*total)


def present_count(model: Any, batch: Batch) -> Any:
    """How many modalities an item has to be explained, at least one: ``(items,)``."""
    count = sum(ops.where(batch.present(name), 1.0, 0.0) for name in explained(model, batch))
    return ops.clamp(count, min=1.0)
