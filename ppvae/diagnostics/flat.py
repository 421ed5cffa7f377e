"""Flat: an item's continuous latents as one unconstrained vector, and log densities there, in a NumPyro question."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpyro
from jax.flatten_util import ravel_pytree
from numpyro.distributions import biject_to

from ppvae.batch import Batch
from ppvae.diagnostics.questions import shown, total
from ppvae.traces import Sites, density, is_enumerated, is_local, latents, random_sites

FIXED = 0  # the seed under which nothing that matters is drawn


@dataclass(frozen=True, eq=False)
class Flat:
    """One item's densities over an unconstrained vector ``(size,)``, Jacobian included, in nats.

    Attributes:
        model, guide: the pair.
        batch: the item, with masks of what is shown of it.
        shared: values of the latents that all items share.
        transforms: how each local latent's part becomes its value.
        unravel: a vector to its parts.
    """

    model: Any
    guide: Any
    batch: Batch
    shared: Mapping[str, Any]
    transforms: Mapping[str, Any]
    unravel: Callable[[Any], dict[str, Any]]

    def joint(self, vector: Any) -> Any:
        """``log p(x_S, z)``."""
        values, jacobian = self.values(vector)
        with numpyro.handlers.seed(rng_seed=FIXED):
            sites = random_sites(self.model, shown(self.batch), {**self.shared, **values})
        local = [density(site) for site in sites.values() if is_local(site) and site["is_observed"]]
        return sum(local)[0] + jacobian

    def proposal(self, vector: Any) -> Any:
        """``log q(z | x_S)``."""
        values, jacobian = self.values(vector)
        with numpyro.handlers.seed(rng_seed=FIXED):
            sites = random_sites(self.guide, shown(self.batch), {**self.shared, **values})
        return total(sites, self.transforms)[0] + jacobian

    def prior(self, vector: Any) -> Any:
        """``log p(z)``."""
        values, jacobian = self.values(vector)
        with numpyro.handlers.seed(rng_seed=FIXED):
            sites = random_sites(self.model, shown(self.batch), {**self.shared, **values})
        return total(sites, self.transforms)[0] + jacobian

    def propose(self, key: Any) -> Any:
        """A draw from q(z | x_S), as a vector."""
        with numpyro.handlers.seed(rng_seed=key):
            return self.vector(latents(random_sites(self.guide, shown(self.batch), self.shared)))

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

    def spread(self, key: Any, draws: int = 64) -> tuple[Any, Any]:
        """Mean and standard deviation of the guide's draws, ``(size,)``."""
        drawn = jax.vmap(self.propose)(jax.random.split(key, draws))
        return drawn.mean(0), jnp.maximum(drawn.std(0), 1e-6)


def flat(model: Any, guide: Any, batch: Batch) -> Flat:
    """The view of one item, within a question on NumPyro.

    Raises:
        ValueError: a latent is discrete; a path of densities and its gradients ask for continuous ones.
    """
    sites = random_sites(guide, shown(batch))
    local = {name: site for name, site in sites.items() if is_local(site)}
    for name, site in local.items():
        if is_enumerated(site) or site["fn"].support.is_discrete:
            raise ValueError(f"the latent {name!r} is discrete; annealing and refitting take continuous latents only")
    shared = {name: site["value"] for name, site in sites.items() if name not in local}
    transforms = {name: biject_to(site["fn"].support) for name, site in local.items()}
    _, unravel = ravel_pytree({name: transforms[name].inv(site["value"]) for name, site in _sorted(local)})
    return Flat(model, guide, batch, shared, transforms, unravel)


def _sorted(sites: Sites) -> list[tuple[str, Any]]:
    return sorted(sites.items())
