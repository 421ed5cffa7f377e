"""Multi-sample objectives, written once over the log weights ``(draws, items)`` of each item's own latents.

Global latents are drawn once for all items and draws, and count with their ELBO: only over an item's own latents may
weights be averaged inside the logarithm. ``beta`` tempers the weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

from ppvae.batch import Batch
from ppvae.objectives.elbo import Objective, global_shares
from ppvae.ppl import items, ops
from ppvae.traces import Sites, alone, is_local, latents, log_weights, paired, random_sites

BOUND = "bound"  # the share that is no single site's


def iwae(draws: int = 10) -> Objective:
    """``E log (1/K) Σ_k p(x, z_k) / q(z_k | x)`` over ``draws`` = K (Burda et al. 2016, equation 8)."""
    return renyi(0.0, draws)


def renyi(alpha: float = 0.5, draws: int = 10) -> Objective:
    """``E 1/(1 − α) log (1/K) Σ_k w_k^(1 − α)`` (Li & Turner 2016, equation 13): the IWAE at 0, the ELBO at 1."""

    def objective(model: Any, guide: Any, batch: Batch, beta: Any) -> dict[str, Any]:
        proposal, target = paired(model, guide, batch, draws)
        weights = log_weights(target, proposal, beta)
        bound = over_draws(weights) if alpha == 1 else log_mean_exp((1 - alpha) * weights) / (1 - alpha)
        return {BOUND: bound, **global_shares(target, proposal)}

    return objective


def stl(draws: int = 1) -> Objective:
    """The ELBO, its gradient without the guide's score term (Roeder et al. 2017, equation 8): sticking the landing."""

    def objective(model: Any, guide: Any, batch: Batch, beta: Any) -> dict[str, Any]:
        proposal, target = paired(model, guide, batch, draws)
        still = proposed(items().frozen(guide), batch, latents(proposal), draws)
        return {BOUND: over_draws(log_weights(target, still, beta)), **global_shares(target, proposal)}

    return objective


def dreg(draws: int = 10) -> Objective:
    """The IWAE bound, the guide's gradient doubly reparameterised (Tucker et al. 2019, equation 8)."""

    def objective(model: Any, guide: Any, batch: Batch, beta: Any) -> dict[str, Any]:
        proposal, target = paired(model, guide, batch, draws)
        weights = log_weights(target, proposal, beta).reshape(-1, batch.size)
        share, weigh = ops.softmax(ops.detach(weights), 0), partial(log_weights, beta=beta)
        found = doubly_reparameterised(model, guide, batch, proposal, share, weigh)
        return {BOUND: in_place_of(log_mean_exp(weights), found), **global_shares(target, proposal)}

    return objective


def doubly_reparameterised(
    model: Any, guide: Any, batch: Batch, drawn: Sites, share: Any, weigh: Callable[[Sites, Sites], Any]
) -> Any:
    """What has the DReG gradient, ``(items,)``, given each draw's share of the total weight ``(draws, items)``.

    The guide's gradient comes through the draws alone and is weighed by the squares of the shares, the model's by the
    shares themselves. ``weigh`` makes log weights of the model's sites and those of the guide given ``batch``.
    """
    values = {name: lit(s["value"], share) if is_local(s) else s["value"] for name, s in drawn.items()}
    still = proposed(items().frozen(guide), batch, values, len(share))
    target = proposed(model, batch, values, len(share))
    return (share * weigh(target, still)).sum(0)


def proposed(program: Any, batch: Batch, drawn: Any, draws: int) -> Sites:
    """The sites of a program at latents that were drawn before, marked as the guide's where they are latent."""
    with items().draws(draws), items().enumerating():
        return random_sites(program, alone(batch), drawn)


def lit(value: Any, share: Any) -> Any:
    """The same value, its gradient times the share: ``(draws, items, *event)`` and ``(draws, items)``."""
    still = ops.detach(value)
    return still + share.reshape(*share.shape, *(1,) * (value.ndim - share.ndim)) * (value - still)


def in_place_of(value: Any, gradient: Any) -> Any:
    """A number with the value of one expression and the gradient of another."""
    return ops.detach(value) + gradient - ops.detach(gradient)


def log_mean_exp(weights: Any) -> Any:
    """The log of the mean over draws of ``exp(weights)``: ``(items,)``."""
    return ops.logsumexp(weights, 0) - math.log(len(weights)) if weights.ndim > 1 else weights


def over_draws(weights: Any) -> Any:
    """The mean over draws, ``(items,)``."""
    return weights.mean(0) if weights.ndim > 1 else weights
