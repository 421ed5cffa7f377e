"""JAX bounds: what losses of several draws are made of."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

HALF_LOG_TAU = 0.5 * math.log(2 * math.pi)


def log_normal(z: jax.Array, loc: Any, log_scale: Any) -> jax.Array:
    """The log density of a diagonal normal, summed over the last axis."""
    return -(0.5 * ((z - loc) * jnp.exp(-log_scale)) ** 2 + log_scale + HALF_LOG_TAU).sum(-1)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def doubly_reparameterised(weigh: Callable[..., jax.Array], given: Any, z: jax.Array) -> jax.Array:
    """The bound ``(..., items)`` of log weights ``weigh(given, z)``, ``(..., draws, items)``."""
    return mean_weight(weigh(given, z))


def mean_weight(weights: jax.Array) -> jax.Array:
    """Its log, over draws."""
    return jax.nn.logsumexp(weights, -2) - math.log(weights.shape[-2])


def forward(weigh: Callable[..., jax.Array], given: Any, z: jax.Array) -> tuple[jax.Array, Any]:
    """The bound, and what its gradient needs."""
    weights, back = jax.vjp(weigh, given, z)
    return mean_weight(weights), (back, jax.nn.softmax(weights, -2))


def backward(weigh: Callable[..., jax.Array], kept: Any, slope: jax.Array) -> tuple[Any, jax.Array]:
    """The gradient, weighed by each draw's share, and once more on its way to the guide."""
    back, share = kept
    given, z = back(slope[..., None, :] * share)
    return given, share[..., None] * z


doubly_reparameterised.defvjp(forward, backward)
