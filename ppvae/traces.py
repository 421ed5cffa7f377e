"""Traces: programs run once on a batch, and what their sites are worth, item by item."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ppvae.batch import Batch
from ppvae.ppl import dist, handlers, items, ops

Sites = dict[str, Any]


def random_sites(program: Any, batch: Batch, latents: Mapping[str, Any] | None = None) -> Sites:
    """The random sites of a program that is run once, at the given values of its latents if there are any."""
    known: Any = handlers
    trace = known.trace(known.condition(program, data=latents or {})).get_trace(batch)
    return {name: site for name, site in trace.nodes.items() if is_random(site)}


def is_random(site: Any) -> bool:
    """Is this site of a trace a random variable? Pyro's plates leave sample sites of their own."""
    return site["type"] == "sample" and type(site["fn"]).__name__ != "_Subsample"


def is_local(site: Any) -> bool:
    """Does each item have this site of its own, in the plate of items, or do all share it?"""
    return any(frame.name == "items" for frame in site["cond_indep_stack"])


def is_enumerated(site: Any) -> bool:
    """Is this a discrete latent that its program marks ``infer={"enumerate": "parallel"}``, to be summed out?"""
    return not site["is_observed"] and bool(site["infer"].get("enumerate"))


def latents(sites: Sites) -> dict[str, Any]:
    """The values of the sites that were drawn, by name."""
    return {name: site["value"] for name, site in sites.items() if not site["is_observed"]}


def density(site: Any) -> Any:
    """The site's log density at its value, ``(..., items)`` for a local one; zero where it is masked."""
    log_prob, mask, scale = site["fn"].log_prob(site["value"]), site.get("mask"), site.get("scale")
    if mask is not None:  # Pyro keeps the mask and the scale of a handler beside the distribution
        log_prob = ops.where(ops.as_tensor(mask), log_prob, ops.zeros_like(log_prob))
    return log_prob if scale is None or (isinstance(scale, float) and scale == 1.0) else log_prob * scale


def paired(model: Any, guide: Any, batch: Batch, draws: int = 1, scored: Batch | None = None) -> tuple[Sites, Sites]:
    """The guide's sites, drawn given ``batch``, and the model's at those latents, measured by ``scored``.

    Local sites have densities ``(items,)``, or ``(draws, items)`` for more than one draw; enumerated ones have a
    dimension to the left of these for each enumerated site. Scales are relative to one item.
    """
    with items().draws(draws), items().enumerating():
        proposal = random_sites(guide, alone(batch))
        return proposal, random_sites(model, alone(scored or batch), latents(proposal))


def alone(batch: Batch) -> Batch:
    """The batch as if it were all of the data: its local sites are not scaled up."""
    return replace(batch, total=batch.size)


def joint(target: Sites, proposal: Sites) -> dict[str, Any]:
    """``log p`` of every local site of the model that was drawn by the guide or measured: ``(..., items)``.

    What only the model enumerates is summed out exactly, under the name of the first such site.
    """
    hidden = [name for name, site in target.items() if is_enumerated(site) and is_local(site)]
    kept = {name: density(s) for name, s in target.items() if is_local(s) and (s["is_observed"] or name in hidden)}
    if not hidden:
        return kept
    inner = 2 + len(enumerated(proposal))
    spread = {name: value for name, value in kept.items() if value.ndim > inner}
    total = sum(spread.values())
    total = ops.logsumexp(total.reshape(-1, *total.shape[total.ndim - inner :]), 0)
    return {**{name: value for name, value in kept.items() if name not in spread}, hidden[0]: total}


def enumerated(proposal: Sites) -> list[str]:
    """The sites that a guide enumerates."""
    return [name for name, site in proposal.items() if site["infer"].get("enumerate")]


def expected(values: Any, proposal: Sites) -> Any:
    """The mean over what the guide enumerates, and over draws: ``(items,)``."""
    names = enumerated(proposal)
    if names and values.ndim > 2:
        log_q = sum(density(proposal[name]) for name in names)
        weighed = ops.exp(log_q) * values
        values = weighed.reshape(-1, *weighed.shape[-2:]).sum(0)
    return values.mean(0) if values.ndim > 1 else values


def log_weights(target: Sites, proposal: Sites, beta: Any = 1.0) -> Any:
    """``log p(x | z) + beta (log p(z) − log q(z | x))`` over local sites, what is enumerated summed out.

    Shape ``(draws, items)``, or ``(items,)`` for a single draw.
    """
    names, total = enumerated(proposal), 0.0
    seen = measured(target, proposal)
    for name, value in joint(target, proposal).items():
        total = total + (value if name in seen else beta * value)
    for name, site in proposal.items():
        if is_local(site) and name not in names:
            total = total - beta * density(site)
    return ops.logsumexp(total.reshape(-1, *total.shape[-2:]), 0) if names else total


def measured(target: Sites, proposal: Sites) -> set[str]:
    """The model's sites that hold data, and not what the guide drew."""
    return {name for name, site in target.items() if site["is_observed"] and name not in proposal}


def divergence(q: Any, p: Any, analytic: bool = True) -> Any:
    """``log q − log p`` at the draw of a site, or ``KL(q ‖ p)`` where that is wanted and there is a formula."""
    if analytic:
        try:
            return dist.kl.kl_divergence(q["fn"], p["fn"])
        except NotImplementedError:
            pass
    return q["fn"].log_prob(q["value"]) - p["fn"].log_prob(q["value"])
