"""ELBO: the evidence lower bound as shares per site and item, of which the other objectives are made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ppvae.language.batch import Batch
from ppvae.language.pieces import pooled
from ppvae.language.traces import (
    Sites,
    density,
    divergence,
    expected,
    guided,
    is_auxiliary,
    is_local,
    joint,
    measured,
    mixtures,
    paired,
)

# (model, guide, batch, beta) -> shares by name, ``(items,)`` in nats, or a number for what all items share.
Objective = Callable[[Any, Any, Batch, Any], dict[str, Any]]


def revisiting(objective: Objective) -> Objective:
    """Marks an objective that runs the guide again at latents drawn before: it needs the same density each time."""
    objective.revisits = True  # type: ignore[attr-defined]
    return objective


def elbo(analytic: bool = True) -> Objective:
    """``E_q[log p(x, z) − log q(z | x)]`` (Kingma & Welling 2014), enumerated latents summed out.

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
    own = {**fits(target, proposal), **prices(target, proposal, beta, analytic)}
    return {**own, **global_shares(target, proposal, beta)}


def fits(target: Sites, proposal: Sites) -> dict[str, Any]:
    """The mean log likelihood of each measured local site, ``(items,)``."""
    found = joint(target, proposal, measured(target, proposal))
    return {name: expected(value, proposal) for name, value in found.items()}


def prices(target: Sites, proposal: Sites, beta: Any = 1.0, analytic: bool = True) -> dict[str, Any]:
    """``beta (log p − log q)`` of each local latent, or minus ``beta`` times its KL divergence: ``(items,)``."""
    names = guided(target, proposal)
    mixed = joint(target, proposal, [name for name in names if name in mixtures(target, proposal)])
    ratios = {
        name: mixed[name] - density(proposal[name])
        if name in mixed
        else -divergence(proposal[name], target[name], analytic)
        for name in names
    }
    ratios |= _own(proposal, local=True)
    return {name: beta * expected(ratio, proposal) for name, ratio in ratios.items()}


def global_shares(target: Sites, proposal: Sites, beta: Any = 1.0) -> dict[str, Any]:
    """Of sites that all items share: ``beta (log p − log q)`` of a latent, the log likelihood of data; numbers."""
    log_p = {name: density(site).sum() for name, site in target.items() if not is_local(site) and site["is_observed"]}
    own = {name: beta * value.sum() for name, value in _own(proposal, local=False).items()}
    return own | {
        name: beta * (value - density(proposal[name]).sum()) if name in proposal else value
        for name, value in log_p.items()
    }


def _own(proposal: Sites, local: bool) -> dict[str, Any]:
    """``−log q`` of what a guide draws for itself, of items' own sites or of shared ones."""
    return {name: -density(s) for name, s in proposal.items() if is_auxiliary(s) and is_local(s) == local}


def added(*parts: Mapping[str, Any]) -> dict[str, Any]:
    """The sum of shares, name by name."""
    total: dict[str, Any] = {}
    for part in parts:
        for name, value in part.items():
            total[name] = total[name] + value if name in total else value
    return total


def times(weight: Any, part: Mapping[str, Any], batch: Batch | None = None) -> dict[str, Any]:
    """Shares times a weight, a number or ``(items,)``; what all items share is weighed by the weight's mean.

    Where something may be shared by all, the batch tells how much each item counts in that mean.
    """
    level = item_mean(weight, batch) if getattr(weight, "ndim", 0) else weight
    return {name: value * (weight if getattr(value, "ndim", 0) else level) for name, value in part.items()}


def per_item(parts: Mapping[str, Any], batch: Batch) -> dict[str, Any]:
    """Shares in nats per item: the mean over the batch of ``(items,)``, the share in the data set of what is global."""
    local = {name for name, value in parts.items() if getattr(value, "ndim", 0)}
    shares = {n: item_mean(value, batch) if n in local else value / batch.total for n, value in parts.items()}
    return pooled(shares, batch.arrays)


def item_mean(values: Any, batch: Batch | None) -> Any:
    """The mean of ``(items,)``, each item counting as much as the batch says."""
    return (values if batch is None or batch.weights is None else values * batch.weights).mean()
