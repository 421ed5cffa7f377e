"""ELBO: the evidence lower bound as shares per site and item, of which the other objectives are made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ppvae.batch import Batch
from ppvae.traces import Sites, density, divergence, expected, is_local, joint, measured, paired

# (model, guide, batch, beta) -> shares by name, ``(items,)`` in nats, or a number for what all items share.
Objective = Callable[[Any, Any, Batch, Any], dict[str, Any]]


def elbo(analytic: bool = True) -> Objective:
    """``E_q[log p(x, z) − log q(z | x)]`` (Kingma & Welling 2014, equation 3), enumerated latents summed out.

    Args:
        analytic: latents whose KL divergence has a formula count with it, not with their draw.
    """

    def objective(model: Any, guide: Any, batch: Batch, beta: Any) -> dict[str, Any]:
        return bound(model, guide, batch, beta, analytic)

    return objective


def bound(
    model: Any, guide: Any, batch: Batch, beta: Any = 1.0, analytic: bool = True, scored: Batch | None = None
) -> dict[str, Any]:
    """Shares of the ELBO of what ``scored`` holds (``batch`` by default) under ``q(z | batch)``, one draw."""
    proposal, target = paired(model, guide, batch, scored=scored)
    return shares(target, proposal, beta, analytic)


def shares(target: Sites, proposal: Sites, beta: Any = 1.0, analytic: bool = True) -> dict[str, Any]:
    """Each site's share of the ELBO: the log likelihood of a measured site, minus ``beta`` KL of a latent one.

    Local shares are ``(items,)``, averaged over draws; those of global sites are numbers.
    """
    return {**fits(target, proposal), **prices(target, proposal, beta, analytic), **global_shares(target, proposal)}


def fits(target: Sites, proposal: Sites) -> dict[str, Any]:
    """The mean log likelihood of each measured local site, ``(items,)``."""
    names = measured(target, proposal)
    return {name: expected(value, proposal) for name, value in joint(target, proposal).items() if name in names}


def prices(target: Sites, proposal: Sites, beta: Any = 1.0, analytic: bool = True) -> dict[str, Any]:
    """``beta (log p − log q)`` of each local latent, or minus ``beta`` times its KL divergence: ``(items,)``."""
    names = measured(target, proposal)
    prior = {name: value for name, value in joint(target, proposal).items() if name not in names}
    found = {name: expected(value, proposal) for name, value in prior.items() if name not in proposal}
    for name, site in proposal.items():
        if is_local(site):
            ratio = -divergence(site, target[name], analytic) if name in prior else -density(site)
            found[name] = expected(ratio, proposal)
    return {name: beta * value for name, value in found.items()}


def global_shares(target: Sites, proposal: Sites) -> dict[str, Any]:
    """``log p − log q`` of each site that all items share: numbers."""
    log_p = {name: density(site).sum() for name, site in target.items() if not is_local(site) and site["is_observed"]}
    log_q = {name: density(site).sum() for name, site in proposal.items() if not is_local(site)}
    return {name: value - log_q.get(name, 0.0) for name, value in log_p.items()}


def added(*parts: Mapping[str, Any]) -> dict[str, Any]:
    """The sum of shares, name by name."""
    total: dict[str, Any] = {}
    for part in parts:
        for name, value in part.items():
            total[name] = total[name] + value if name in total else value
    return total


def times(weight: Any, part: Mapping[str, Any]) -> dict[str, Any]:
    """Shares times a weight, a number or ``(items,)``; what all items share is weighed by the weight's mean."""
    level = weight.mean() if getattr(weight, "ndim", 0) else weight
    return {name: value * (weight if getattr(value, "ndim", 0) else level) for name, value in part.items()}


def per_item(parts: Mapping[str, Any], batch: Batch) -> dict[str, Any]:
    """Shares in nats per item: the mean over the batch of ``(items,)``, the share in the data set of what is global."""
    return {
        name: value.mean() if getattr(value, "ndim", 0) else value / batch.total for name, value in parts.items()
    }
