"""Questions about each of the vectors that stand beside an item: its latents, predictions, and log likelihoods."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import wraps
from typing import Any

import jax
import numpyro

from ppvae.inference.arviz_groups import scored
from ppvae.inference.questions import Unanswerable, guide_sites
from ppvae.inference.subset_questions import AT, measurements, shown
from ppvae.inference.unconstrained import Unconstrained, unconstrained
from ppvae.language.batch import Batch
from ppvae.language.elimination import axes, eliminated
from ppvae.language.pieces import whole
from ppvae.language.plates import items_first
from ppvae.language.ppl import items
from ppvae.language.traces import Sites, density, is_enumerated, is_local, model_sites, random_sites

Values = Mapping[str, Any]
Function = Callable[[Unconstrained, Values, tuple[str, ...]], dict[str, Any]]


def _at_vectors(function: Function) -> Callable[..., dict[str, Any]]:
    """The question of what a function finds at each vector, given the values of continuous and of shared latents."""

    @wraps(function)
    def asked(model: Any, guide: Any, batch: Batch, draws: int, ask: tuple[str, ...] = ()) -> dict[str, Any]:
        item, vectors = unconstrained(model, guide, batch), batch.arrays[AT + "vectors"][0]

        def at(key: Any, vector: Any) -> dict[str, Any]:
            with numpyro.handlers.seed(rng_seed=key):
                return function(item, {**item.shared, **item.values(vector)[0]}, ask)

        return jax.vmap(at)(jax.random.split(numpyro.prng_key(), len(vectors)), vectors)

    return asked


@_at_vectors
def latents(item: Unconstrained, values: Values, ask: tuple[str, ...]) -> dict[str, Any]:
    """The item's own latents, those that the guide has: ``(draws, items, *event)``."""
    known = {**values, **_hidden(item, values)}
    own = guide_sites(item.guide, shown(item.batch), item.shared)
    return {name: items_first(site, known[name]) for name, site in own.items() if is_local(site) and name in known}


@_at_vectors
def predictions(item: Unconstrained, values: Values, ask: tuple[str, ...]) -> dict[str, Any]:
    """Draws of the asked modalities: ``(draws, items, *shape)``."""
    conditions = [name for name in item.model.conditions if name in item.batch.arrays]
    known = replace(measurements(item.batch).given(conditions), ask=ask)
    sites = model_sites(item.model, known, {**values, **_hidden(item, values)})
    return {name: whole(sites, name) for name in ask}


@_at_vectors
def likelihoods(item: Unconstrained, values: Values, ask: tuple[str, ...]) -> dict[str, Any]:
    """``log p(x_m | z)`` of the asked modalities, ``(draws, items)``, in nats; what is enumerated is summed out."""
    with items().enumerating():
        return scored(random_sites(item.model, measurements(item.batch), values), values, ask)


def _hidden(item: Unconstrained, values: Values) -> dict[str, Any]:
    """The latents that the model enumerates, drawn one after the other given all else and what is shown.

    Raises:
        Unanswerable: there are some, and the model has plates of its own beside the items'.
    """
    drawn: dict[str, Any] = {}
    while True:
        with items().enumerating():
            sites = random_sites(item.model, shown(item.batch), {**values, **drawn})
        waiting = [name for name, site in sites.items() if is_enumerated(site) and is_local(site)]
        if not waiting:
            return drawn
        if item.model.plate_layout.own:
            raise Unanswerable(
                f"{waiting[0]!r} is summed out beside plates within the items', where no draw of it given the rest is "
                "known: use posterior='guide', or ask for log_evidence"
            )
        drawn[waiting[0]] = _picked(sites, sites[waiting[0]])


def _picked(sites: Sites, site: Any) -> Any:
    """A draw of an enumerated latent, ``(1, *event)``, given all that is not; the others are summed out."""
    event = site["fn"].event_shape
    axis = len(event) - site["value"].ndim
    factors = [density(each) for each in sites.values() if is_local(each)]
    level = sum(eliminated(factors, axes(factors, 2) - {axis}, 2))
    number = jax.random.categorical(numpyro.prng_key(), level.reshape(-1))
    return site["value"].reshape(-1, 1, *event)[number]
