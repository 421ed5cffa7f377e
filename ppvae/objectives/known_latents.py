"""Known latents: the guide by maximum likelihood of latents that are known, the forward divergence ``KL(p ‖ q)``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import wraps
from typing import Any

from ppvae.language.batch import Batch
from ppvae.language.pieces import pieces, whole
from ppvae.language.ppl import ops
from ppvae.language.traces import alone, density, is_local, latents, model_sites, random_sites
from ppvae.objectives.elbo import Objective
from ppvae.objectives.subsets import random_drop, uniform_drop

ASLEEP = -1  # the number of the coins that choose S, which those of no objective have


def known_latents(model: Any, guide: Any, batch: Batch, beta: Any) -> dict[str, Any]:
    """``log q(z' | x'_S)``, z' and x' drawn from the model, S of any size, all equally likely: an objective.

    The sleep phase of wake-sleep (Hinton et al. 1995), which covers the mass of the posterior where an ELBO settles in
    a part of it. The model is to rest meanwhile.
    """
    made, item = new_item(model, batch)
    return {"new items": log_q(guide, item.without(uniform_drop(model, item)), made)}


def asleep(objective: Objective, weight: float = 1.0) -> Objective:
    """An objective plus ``weight log q(z' | x'_S)``, z' and x' drawn from the model, S random: the guide's alone.

    The sleep phase of wake-sleep (Hinton et al. 1995) in every step. An ELBO counts what q holds possible and p does
    not, so that posteriors come out too narrow; this counts the reverse, on items that are the model's own. The model
    learns by the objective alone.

    Args:
        objective: what is maximised besides, the same share of it for each of the model's sites.
        weight: how often a new item counts beside one of the data.
    """

    @wraps(objective)
    def both(model: Any, guide: Any, batch: Batch, beta: Any) -> dict[str, Any]:
        made, item = new_item(model, batch)
        part = item.without(random_drop(model, item, ASLEEP))
        return {**objective(model, guide, batch, beta), "sleep": weight * log_q(guide, part, made)}

    return both


def log_q(guide: Any, batch: Batch, known: Mapping[str, Any]) -> Any:
    """The guide's log density of items' own latents, ``(items,)``."""
    sites = random_sites(guide, alone(batch), known)
    return sum(density(site) for name, site in sites.items() if is_local(site) and name in known)


def new_item(model: Any, batch: Batch) -> tuple[dict[str, Any], Batch]:
    """New latents of the model, and the batch with what it measures there; no gradient flows through either."""
    known = batch.given([name for name in model.conditions if name in batch.arrays])
    asked = tuple(name for name in batch.arrays if name not in model.conditions)
    sites = model_sites(model, replace(alone(known), ask=asked))
    arrays = {**batch.arrays, **{name: ops.detach(whole(sites, name)) for name in asked}}
    measured = {piece for name in asked for piece in pieces(sites, name)}
    made = {name: ops.detach(value) for name, value in latents(sites).items() if name not in measured}
    return made, replace(batch, arrays=arrays)
