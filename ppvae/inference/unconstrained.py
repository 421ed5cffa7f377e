"""Unconstrained: an item's continuous latents as one vector without bounds, and log densities there, on NumPyro."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
from jax.flatten_util import ravel_pytree
from numpyro.distributions import biject_to

from ppvae.inference.conditioned_items import ConditionedItems
from ppvae.inference.questions import Question, Unanswerable, guide_sites
from ppvae.inference.subset_questions import AT, shown
from ppvae.language.batch import Batch
from ppvae.language.plates import items_first
from ppvae.language.ppl import items
from ppvae.language.traces import Sites, is_enumerated, is_local, joint, latents, random_sites

FIXED = 0  # the seed under which nothing that matters is drawn


@dataclass(frozen=True, eq=False)
class Unconstrained:
    """One item's densities over an unconstrained vector ``(size,)``, Jacobian included, in nats.

    Discrete latents that their program enumerates are summed out.

    Attributes:
        model, guide: the pair.
        batch: the item, with masks of what is shown of it.
        shared: values of the latents that all items share.
        sites: the continuous local latents, of a draw of the guide's.
        transforms: how each one's part becomes its value.
        unravel: a vector to its parts.
    """

    model: Any
    guide: Any
    batch: Batch
    shared: Mapping[str, Any]
    sites: Mapping[str, Any]
    transforms: Mapping[str, Any]
    unravel: Callable[[Any], dict[str, Any]]

    def joint(self, vector: Any) -> Any:
        """``log p(x_S, z)``, a scalar."""
        return self._density(partial(random_sites, self.model), vector)

    def proposal(self, vector: Any) -> Any:
        """``log q(z | x_S)``, a scalar."""
        return self._density(partial(guide_sites, self.guide), vector)

    def prior(self, vector: Any) -> Any:
        """``log p(z)``, a scalar."""
        return self._density(partial(random_sites, self.model), vector, self.transforms)

    def _density(self, traced: Callable[..., Sites], vector: Any, names: Iterable[str] | None = None) -> Any:
        values, jacobian = self.values(vector)
        with numpyro.handlers.seed(rng_seed=FIXED), items().enumerating():
            sites = traced(shown(self.batch), {**self.shared, **values})
        own = {name: sites[name] for name in self.transforms if name in sites}
        return sum(value.sum() for value in joint(sites, own, names).values()) + jacobian

    def propose(self, key: Any) -> Any:
        """A draw from q(z | x_S), as a vector."""
        with numpyro.handlers.seed(rng_seed=key):
            return self.vector(latents(guide_sites(self.guide, shown(self.batch), self.shared)))

    def from_prior(self, key: Any) -> Any:
        """A draw from p(z), as a vector."""
        with numpyro.handlers.seed(rng_seed=key):
            return self.vector(latents(random_sites(self.model, shown(self.batch), self.shared)))

    def vector(self, values: Mapping[str, Any]) -> Any:
        """The values of the latents as a vector."""
        return ravel_pytree({name: t.inv(values[name]) for name, t in self.transforms.items()})[0]

    def values(self, vector: Any) -> tuple[dict[str, Any], Any]:
        """A vector as the values of the latents, and the log Jacobian."""
        parts = self.unravel(vector)
        found = {name: transform(parts[name]) for name, transform in self.transforms.items()}
        jacobian = [t.log_abs_det_jacobian(parts[name], found[name]).sum() for name, t in self.transforms.items()]
        return found, sum(jacobian)

    def draws(self, key: Any, count: int) -> Any:
        """Draws from the guide, ``(count, size)``."""
        return jax.vmap(self.propose)(jax.random.split(key, count))

    def spread(self, key: Any, draws: int = 64) -> tuple[Any, Any]:
        """Mean and standard deviation of the guide's draws, ``(size,)``."""
        drawn = self.draws(key, draws)
        return drawn.mean(0), jnp.maximum(drawn.std(0), 1e-6)


def unconstrained(model: Any, guide: Any, batch: Batch) -> Unconstrained:
    """The view of one item, within a question on NumPyro.

    Raises:
        Unanswerable: a latent is discrete and not enumerated, or the item has no continuous latent of its own.
    """
    sites = guide_sites(guide, shown(batch))
    own = {name: site for name, site in sites.items() if is_local(site) and not is_enumerated(site)}
    for name, site in own.items():
        _check(name, site["fn"].support)
    if not own:
        raise Unanswerable("no item has a continuous latent of its own: sample one within batch.plate()")
    shared = {name: site["value"] for name, site in sites.items() if not is_local(site)}
    transforms = {name: biject_to(site["fn"].support) for name, site in sorted(own.items())}
    _, unravel = ravel_pytree({name: transform.inv(own[name]["value"]) for name, transform in transforms.items()})
    return Unconstrained(model, guide, batch, shared, own, transforms, unravel)


def _check(name: str, support: Any) -> None:
    """Raise Unanswerable where no real numbers stand for what a latent can be."""
    if support.is_discrete:
        raise Unanswerable(f"the latent {name!r} is discrete: mark it infer={{'enumerate': 'parallel'}}")
    try:
        biject_to(support)
    except NotImplementedError:
        raise Unanswerable(
            f"the latent {name!r} has the support {support}, which nothing maps to all real numbers, and correction, "
            "NUTS and annealing move a latent about there: use posterior='guide', or draw it as a function of a normal "
            "latent"
        ) from None


def located(about: ConditionedItems, vectors: np.ndarray) -> dict[str, np.ndarray]:
    """The latents of each item at its vectors ``(items, n, size)``: name to ``(n, items, *event)``, NaN for NaN."""
    values = about.ask(Question(_located), {"vectors": vectors})
    there = np.isfinite(vectors).all(-1).T
    return {
        name: np.where(there.reshape(there.shape + (1,) * (value.ndim - 2)), value, np.nan)
        for name, value in values.items()
    }


def _located(model: Any, guide: Any, batch: Batch, draws: int) -> dict[str, Any]:
    view = unconstrained(model, guide, batch)

    def values(vector: Any) -> dict[str, Any]:
        return {name: items_first(view.sites[name], value) for name, value in view.values(vector)[0].items()}

    return jax.vmap(values)(batch.arrays[AT + "vectors"][0])
