"""JAX: the loops that a practised user of JAX would write by hand, and ppvae's on NumPyro beside them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from cases import LEARNING_RATE, Case
from jax_losses import LOSSES
from jax_networks import Arrays

from ppvae.backends import numpyro as engine
from ppvae.runs.plan import Pace
from ppvae.training.epochs import order
from ppvae.training.fit import init


def hand_epoch(loss: Callable[..., jax.Array], optimizer: optax.GradientTransformation) -> Callable[..., Any]:
    """``epoch(params, memory, arrays, rows, keys)``, compiled; returns the first two and the losses."""

    def epoch(params: Any, memory: Any, arrays: Arrays, rows: jax.Array, keys: jax.Array) -> tuple[Any, Any, jax.Array]:
        def step(carry: tuple[Any, Any], now: tuple[jax.Array, jax.Array]) -> tuple[tuple[Any, Any], jax.Array]:
            (params, memory), (index, key) = carry, now
            batch = {name: array[index] for name, array in arrays.items()}
            value, gradient = jax.value_and_grad(loss)(params, batch, key)
            updates, memory = optimizer.update(gradient, memory)
            return (optax.apply_updates(params, updates), memory), value

        (params, memory), losses = jax.lax.scan(step, (params, memory), (rows, keys))
        return params, memory, losses

    return jax.jit(epoch, donate_argnums=(0, 1))


class Loops:
    """Both loops over the same rows, from the same weights."""

    def __init__(self, name: str, case: Case, clock: Callable[[], float], device: str) -> None:
        self.state = init(case.vae, case.data, **case.options("numpyro", device))
        self.settings = self.state.plan.settings
        self.rows = order(self.settings, len(case.data), 0)
        self.arrays = engine.put(case.data.arrays)
        loss, self.params = LOSSES[name](case)
        self.keys = KEYS.get(name, drawn_by_guide)
        self.key_shape = jax.eval_shape(self.keys, jax.random.key(0)).shape
        optimizer = optax.adam(LEARNING_RATE)
        self.memory = optimizer.init(self.params)
        self.epoch = hand_epoch(loss, optimizer)
        self.first_step_seconds = self._first_step(clock)

    def _first_step(self, clock: Callable[[], float]) -> float:
        """Seconds that the first step takes beyond any other: tracing and compiling ppvae's epoch."""
        begin = clock()
        engine.compile_epoch(self.state, self.arrays, {}, self.rows, self.rows, self._pace())
        return clock() - begin

    def _pace(self) -> Pace:
        ones = np.ones(len(self.rows), np.float32)
        return Pace(ones, ones)

    def hand(self, keys: jax.Array | None = None) -> np.ndarray:
        """The hand-written loop, for an epoch."""
        if keys is None:
            keys = jax.random.split(jax.random.key(0), (len(self.rows), *self.key_shape))
        rows = jnp.asarray(self.rows)
        self.params, self.memory, losses = self.epoch(self.params, self.memory, self.arrays, rows, keys)
        return np.asarray(losses)

    def ours(self) -> np.ndarray:
        """ppvae's loop, for an epoch."""
        self.state, info = engine.epoch(self.state, self.arrays, {}, self.rows, self.rows, self._pace())
        return -np.sum(list(info.shares.values()), axis=0)

    def check(self, steps: int = 3) -> float:
        """The largest relative difference of the losses of the first steps, at the same noise."""
        root = jax.random.key(self.settings.seed)
        keys = jax.vmap(lambda i: self.keys(jax.random.fold_in(root, i)))(jnp.arange(len(self.rows)))
        hand, ours = self.hand(keys), self.ours()
        return float(np.max(np.abs(hand - ours)[:steps] / np.abs(hand)[:steps]))


def drawn_by_guide(key: jax.Array) -> jax.Array:
    """The key of the noise of the guide's only site, given that of the estimator."""
    return last(in_guide(key))


def in_guide(key: jax.Array) -> jax.Array:
    """The key of the guide's first site: NumPyro's estimators split one for the guide, and its handler one a site."""
    return last(last(key))


def in_objective(key: jax.Array) -> jax.Array:
    """The key of the noise of the guide's only site, given that of a step of an objective of ppvae's own."""
    return last(last(jax.random.split(key, 1)[0]))


def by_stratum(key: jax.Array) -> jax.Array:
    """The key of each view's noise, given that of a step: before it one of the experts that are there is picked."""

    def stratum(key: jax.Array, _: None) -> tuple[jax.Array, jax.Array]:
        key, site = jax.random.split(key)
        return key, last(jax.random.split(site)[0])

    return jax.lax.scan(stratum, jax.random.split(key, 1)[0], length=6)[1]


def last(key: jax.Array) -> jax.Array:
    """The second of the two keys that a key is split into."""
    return jax.random.split(key)[1]


KEYS = {"mopoe": in_guide, "iwae": in_objective, "dreg": in_objective, "mmvae": by_stratum}
