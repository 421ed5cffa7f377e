"""Multi-sample objectives, written once over the log weights ``(draws, items)`` of each item's own latents.

Global latents are drawn once for all items and draws, and count with their ELBO: only over an item's own latents may
weights be averaged inside the logarithm. ``beta`` tempers the weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
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
        batch = batch.remembering()
        with items().draws(draws), items().enumerating():
            proposal = random_sites(guide, alone(batch))
            target = random_sites(model, alone(batch), latents(proposal)) if enumerated(proposal) else {}
        weigh = partial(log_weights, beta=beta)
        if target:
            weights = weigh(target, proposal).reshape(-1, batch.size)
        else:
            still, shape = resting(guide, batch), (1, draws)
            target, (weights,) = doubly_reparameterised(model, still, batch, proposal, shape, weigh)
        return {BOUND: log_mean_exp(weights), **global_shares(target, proposal, beta)}

    return objective


def doubly_reparameterised(
    model: Any,
    still: Callable[[Any, int], Sites],
    batch: Batch,
    drawn: Sites,
    shape: tuple[int, int],
    weigh: Callable[[Sites, Sites], Any],
    counts: Mapping[str, Any] = MappingProxyType({}),
) -> tuple[Sites, Any]:
    """The model's sites at what was drawn, and log weights ``(*shape, items)`` whose log mean has the DReG gradient.

    That weighs each draw by its share of the total weight of its stratum; ``shape`` is ``(strata, draws)``. The guide's
    gradient comes through the draws alone, and is weighed once more on its way to them; a latent that all items share
    is a parameter to both. ``still`` is the guide that rests, ``weigh`` makes log weights of the model's sites and its.
    Where that leaves out the density of a latent, as ``counts`` tells, its gradient is weighed once.
    """
    values, common = latents(drawn), {name for name, site in drawn.items() if not is_local(site)}
    own = {name: site for name, site in drawn.items() if name in values.keys() - common}
    known = {name: value for name, value in values.items() if name not in own}
    fixed = {name: ops.detach(value) if name in common else value for name, value in known.items()}
    draws = math.prod(shape)

    def run(lit: Any) -> tuple[Sites, Any]:
        target = proposed(model, batch, {**known, **lit}, draws)
        return target, weigh(target, still({**fixed, **lit}, draws)).reshape(*shape, batch.size)

    def shares(found: tuple[Sites, Any]) -> dict[str, Any]:
        share = ops.softmax(ops.detach(found[1]), 1).reshape(draws, batch.size)
        return {name: beside_draws(share, site, counts.get(name, True)) for name, site in own.items()}

    return items().lit(run, {name: values[name] for name in own}, shares)


def resting(guide: Any, batch: Batch) -> Callable[[Any, int], Sites]:
    """The guide that rests, at latents and so many draws of them, once its networks have read what they will read."""
    return partial(proposed, items().frozen(guide), batch.resting())


def proposed(program: Any, batch: Batch, drawn: Any, draws: int) -> Sites:
    """The sites of a program at latents that were drawn before, marked as the guide's where they are latent."""
    with items().draws(draws), items().enumerating():
        return random_sites(program, alone(batch), drawn)


def beside_draws(share: Any, site: Any, counts: Any = True) -> Any:
    """A share ``(draws, items)`` of each draw that counts, otherwise 1, in the dims of a local site's value."""
    value, event = site["value"], site["fn"].event_dim
    own = [dim - event for dim in site["layout"].own]
    share = share.reshape([1 if dim >= -event or dim in own else value.shape[dim] for dim in range(-value.ndim, 0)])
    if isinstance(counts, bool):
        return share if counts else ops.ones_like(share)
    return ops.where(counts.reshape(*counts.shape, *(1,) * event), share, 1.0)


def log_mean_exp(weights: Any) -> Any:
    """The log of the mean over draws of ``exp(weights)``: ``(items,)``."""
    return ops.logsumexp(weights, 0) - math.log(len(weights)) if weights.ndim > 1 else weights
