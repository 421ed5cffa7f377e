"""Target: log p(x_S, z) of one item over an unconstrained vector, in JAX, whatever backend trained the pair."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
from numpyro.distributions import biject_to

from ppvae.backends import mirror
from ppvae.backends.numpyro import environment, programs, put
from ppvae.batch import Batch
from ppvae.chunks import ROWS
from ppvae.data.dataset import Dataset
from ppvae.posterior import Fitted
from ppvae.ppl import items
from ppvae.traces import is_enumerated, is_local, joint, latents, random_sites

SHARED = 0  # the seed of the one draw of latents that all items share


class Latent(NamedTuple):
    """A site that each item has of its own, and how an unconstrained array becomes its value."""

    transform: Any
    shape: tuple[int, ...]


class Item(NamedTuple):
    """What one item has of x_S and its key, without an items axis; or all items, with one."""

    arrays: dict[str, jax.Array]
    observed: dict[str, jax.Array]
    key: jax.Array


class Target:
    """Each item's log joint density at its own continuous latents, laid end to end in one vector ``(size,)``.

    Discrete latents are summed out; latents that all items share are held at one draw from the guide. ``data`` holds
    all items, ready for :func:`jax.vmap`.

    Raises:
        ValueError: a latent is discrete and not enumerated, or an item has no latent of its own.
    """

    def __init__(self, fitted: Fitted, data: Dataset, given: Sequence[str] | None = None) -> None:
        self.settings = fitted.to("numpyro").settings
        self.pair = fitted.vae.pair
        self._programs: dict[Any, Callable[..., Any]] = {}
        batch = data.batch(given=list(data.arrays) if given is None else given)
        with self.environment():
            self.weights, self._names = mirror.arrays(self.pair), mirror.aliases(self.pair)
            self.data = Item(put(batch.arrays), put(batch.observed or {}), jnp.asarray(data.keys))
            self.latents = self._latents(jax.tree.map(lambda array: array[0], self.data))

    def environment(self) -> Any:
        """Where everything about the target must run: words on NumPyro, the run's dtype and device."""
        return environment(self.settings)

    @cached_property
    def size(self) -> int:
        """The length of an item's vector."""
        return sum(int(np.prod(latent.shape)) for latent in self.latents.values())

    def take(self, rows: np.ndarray) -> Item:
        """The data of some items."""
        return jax.tree.map(lambda array: array[rows], self.data)

    def each(self, function: Callable[..., Any], draws: int, data: Item, *others: Any) -> Any:
        """``function(weights, item, *others)`` of every item, as numpy arrays, items first.

        One compiled program, kept for the next call with the same function, takes as many items at once as ``draws``
        vectors of each allow in memory.
        """

        def all_items(weights: Any, inputs: tuple[Any, ...]) -> Any:
            one = lambda each: function(weights, *each)  # noqa: E731
            block = max(1, ROWS // draws)
            whole = len(inputs[0].key) <= block
            return jax.vmap(one)(inputs) if whole else jax.lax.map(one, inputs, batch_size=block)

        with self.environment():
            program = self._programs.setdefault((function, draws), jax.jit(all_items))
            return jax.tree.map(np.asarray, program(self.weights, (data, *others)))

    def log_density(self, vector: jax.Array, weights: Any, item: Item) -> jax.Array:
        """``log p(x_S, z)`` plus the log Jacobian, in nats: a scalar, at a vector ``(size,)``."""
        return self._log_prob("model", vector, weights, item)

    def log_guide(self, vector: jax.Array, weights: Any, item: Item) -> jax.Array:
        """``log q(z | x_S)`` plus the log Jacobian, in nats: a scalar, at a vector ``(size,)``."""
        return self._log_prob("guide", vector, weights, item)

    def _log_prob(self, role: str, vector: jax.Array, weights: Any, item: Item) -> jax.Array:
        pair = dict(zip(("model", "guide"), programs(self.pair, weights, self._names), strict=True))
        jacobian, values, parts = jnp.zeros(()), {}, self._parts(vector)
        for name, latent in self.latents.items():
            value = latent.transform(parts[name])
            jacobian += latent.transform.log_abs_det_jacobian(parts[name], value).sum()
            values[name] = value[None]
        with numpyro.handlers.seed(rng_seed=SHARED), items().enumerating():
            shared = self._shared(pair["guide"], item)
            sites = random_sites(pair[role], _batch(item), {**shared, **values})
        return sum(value.sum() for value in joint(sites, {}).values()) + jacobian

    def propose(self, key: jax.Array, draws: int, weights: Any, item: Item) -> jax.Array:
        """Draws from the guide, as vectors ``(draws, size)``."""
        _, guide = programs(self.pair, weights, self._names)
        with numpyro.handlers.seed(rng_seed=key), numpyro.plate("draws", draws, dim=-2):
            sites = random_sites(guide, _batch(item))
        parts = [latent.transform.inv(sites[name]["value"]) for name, latent in self.latents.items()]
        return jnp.concatenate([part.reshape(draws, -1) for part in parts], -1)

    def values(self, vectors: Any) -> dict[str, np.ndarray]:
        """Vectors ``(..., size)`` as values of the sites: name to ``(..., *event)``."""
        with self.environment():
            parts = self._parts(jnp.asarray(vectors))
            return {name: np.asarray(latent.transform(parts[name])) for name, latent in self.latents.items()}

    def _parts(self, vector: jax.Array) -> dict[str, jax.Array]:
        sizes = [int(np.prod(latent.shape)) for latent in self.latents.values()]
        pieces = jnp.split(vector, np.cumsum(sizes)[:-1], -1)
        shapes = [(*vector.shape[:-1], *latent.shape) for latent in self.latents.values()]
        return {n: p.reshape(shape) for n, p, shape in zip(self.latents, pieces, shapes, strict=True)}

    def _latents(self, item: Item) -> dict[str, Latent]:
        _, guide = programs(self.pair, self.weights, self._names)
        with numpyro.handlers.seed(rng_seed=SHARED):
            sites = random_sites(guide, _batch(item))
        self.shares = any(not is_local(site) for site in sites.values())
        own = {name: site for name, site in sites.items() if is_local(site) and not is_enumerated(site)}
        for name, site in own.items():
            if site["fn"].support.is_discrete:
                raise ValueError(f"the latent {name!r} is discrete: mark it infer={{'enumerate': 'parallel'}}")
        if not own:
            raise ValueError("no item has a continuous latent of its own")
        return {name: _latent(site["fn"]) for name, site in own.items()}

    def _shared(self, guide: Any, item: Item) -> dict[str, Any]:
        sites = random_sites(guide, _batch(item)) if self.shares else {}
        return latents({name: site for name, site in sites.items() if not is_local(site)})


def _latent(fn: Any) -> Latent:
    transform = biject_to(fn.support)
    return Latent(transform, tuple(transform.inverse_shape(fn.event_shape)))


def _batch(item: Item) -> Batch:
    arrays, observed = ({name: array[None] for name, array in group.items()} for group in item[:2])
    return Batch(arrays, observed, 1, 1)
