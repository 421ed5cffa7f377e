"""Multi-sample objectives, written once over the log weights ``(draws, items)`` of each item's own latents.

Global latents are drawn once for all items and draws, and count with their ELBO: only over an item's own latents may
weights be averaged inside the logarithm. ``beta`` tempers the weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from functools import partial
from typing import Any

from ppvae.language.batch import Batch
from ppvae.language.ppl import items, ops
from ppvae.language.traces import Sites, alone, enumerated, is_local, latents, log_weights, paired, random_sites
from ppvae.objectives.elbo import Objective, global_shares, revisiting, shares

BOUND = "the bound"  # the share that is no single site's, under a name that no site is likely to have


def iwae(draws: int = 10) -> Objective:
    """``E log (1/K) Σ_k p(x, z_k) / q(z_k | x)`` over ``draws`` = K (Burda et al. 2016)."""
    return renyi(0.0, draws)


def renyi(alpha: float = 0.5, draws: int = 10) -> Objective:
    """``E 1/(1 − α) log (1/K) Σ_k w_k^(1 − α)`` (Li & Turner 2016): the IWAE at 0, the ELBO at 1.

    Labels that the guide enumerates are summed out of the weights, so their q has no part in it below α = 1.
    """

    def objective(model: Any, guide: Any, batch: Batch, beta: Any) -> dict[str, Any]:
        proposal, target = paired(model, guide, batch, draws)
        if alpha == 1:
            return shares(target, proposal, beta, analytic=False)
        weights = (1 - alpha) * log_weights(target, proposal, beta)
        return {BOUND: log_mean_exp(weights) / (1 - alpha), **global_shares(target, proposal, beta)}

    return objective


def stl(draws: int = 1) -> Objective:
    """The ELBO, its gradient without the guide's score term (Roeder et al. 2017): sticking the landing."""

    @revisiting
    def objective(model: Any, guide: Any, batch: Batch, beta: Any) -> dict[str, Any]:
        proposal, target = paired(model, guide, batch, draws)
        still = proposed(items().frozen(guide), batch, latents(proposal), draws)
        labels = {name: proposal[name] for name in enumerated(proposal)}  # their chances weigh the others, and learn
        return shares(target, {**still, **labels}, beta, analytic=False)

    return objective


def dreg(draws: int = 10) -> Objective:
    """The IWAE bound, the guide's gradient doubly reparameterised (Tucker et al. 2019).

    Where the guide enumerates labels the gradient is the plain one.
    """

    @revisiting
    def objective(model: Any, guide: Any, batch: Batch, beta: Any) -> dict[str, Any]:
        proposal, target = paired(model, guide, batch, draws)
        weights = log_weights(target, proposal, beta).reshape(-1, batch.size)
        bound = log_mean_exp(weights)
        if not enumerated(proposal):
            share, weigh = ops.softmax(ops.detach(weights), 0), partial(log_weights, beta=beta)
            bound = in_place_of(bound, doubly_reparameterised(model, guide, batch, proposal, share, weigh))
        return {BOUND: bound, **global_shares(target, proposal, beta)}

    return objective


def doubly_reparameterised(
    model: Any,
    guide: Any,
    batch: Batch,
    drawn: Sites,
    share: Any,
    weigh: Callable[[Sites, Sites], Any],
    unweighed: Collection[str] = (),
) -> Any:
    """What has the DReG gradient, ``(items,)``, given each draw's share of the total weight ``(draws, items)``.

    The guide's gradient comes through the draws alone and is weighed by the squares of the shares, the model's by the
    shares themselves; a latent that all items share is a parameter to both. ``weigh`` makes log weights of the model's
    sites and those of the guide given ``batch``; the gradient of latents whose density it leaves out, the ``unweighed``
    ones, is weighed by the shares.
    """
    own = {name: s["value"] if name in unweighed else lit(s, share) for name, s in drawn.items() if is_local(s)}
    common = {name: site["value"] for name, site in drawn.items() if not is_local(site)}
    fixed = {name: ops.detach(value) for name, value in common.items()}
    still = proposed(items().frozen(guide), batch, {**own, **fixed}, len(share))
    return (share * weigh(proposed(model, batch, {**own, **common}, len(share)), still)).sum(0)


def proposed(program: Any, batch: Batch, drawn: Any, draws: int) -> Sites:
    """The sites of a program at latents that were drawn before, marked as the guide's where they are latent."""
    with items().draws(draws), items().enumerating():
        return random_sites(program, alone(batch), drawn)


def lit(site: Any, share: Any) -> Any:
    """A local site's value, its gradient times the share ``(draws, items)`` of each draw."""
    value, event = site["value"], site["fn"].event_dim
    own = [dim - event for dim in site["layout"].own]
    shape = [1 if dim >= -event or dim in own else value.shape[dim] for dim in range(-value.ndim, 0)]
    return items().lit(value, share.reshape(shape))


def in_place_of(value: Any, gradient: Any) -> Any:
    """A number with the value of one expression and the gradient of another."""
    return ops.detach(value) + gradient - ops.detach(gradient)


def log_mean_exp(weights: Any) -> Any:
    """The log of the mean over draws of ``exp(weights)``: ``(items,)``."""
    return ops.logsumexp(weights, 0) - math.log(len(weights)) if weights.ndim > 1 else weights
