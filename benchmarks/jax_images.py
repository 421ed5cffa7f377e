"""JAX images: losses of the VAE of one binary image as a practised user of JAX would write them."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax_bounds import doubly_reparameterised, log_normal
from jax_networks import Arrays, mlp


def vae(params: Any, batch: Arrays, key: jax.Array) -> jax.Array:
    """The negative ELBO in nats per item of a VAE for one binary image, at one draw."""
    x = batch["image"]
    loc, log_scale = jnp.split(mlp(params["encoder"], x), 2, -1)
    noise = jax.random.normal(key, loc.shape)
    z = loc + jnp.exp(log_scale) * noise
    divergence = 0.5 * (z**2 - noise**2).sum() - log_scale.sum()
    return (divergence + optax.sigmoid_binary_cross_entropy(mlp(params["decoder"], z), x).sum()) / len(x)


def iwae(params: Any, batch: Arrays, key: jax.Array, draws: int) -> jax.Array:
    """The same by the bound of several draws."""
    x = batch["image"]
    loc, log_scale = jnp.split(mlp(params["encoder"], x), 2, -1)
    noise = jax.random.normal(key, (draws, *loc.shape))
    z = loc + jnp.exp(log_scale) * noise
    price = (0.5 * (z**2 - noise**2) - log_scale).sum(-1)
    return math.log(draws) - jax.nn.logsumexp(fit(params, x, z) - price, 0).mean()


def dreg(params: Any, batch: Arrays, key: jax.Array, draws: int) -> jax.Array:
    """The same, the guide's gradient doubly reparameterised."""
    x = batch["image"]
    loc, log_scale = jnp.split(mlp(params["encoder"], x), 2, -1)
    z = loc + jnp.exp(log_scale) * jax.random.normal(key, (draws, *loc.shape))
    fixed = jax.lax.stop_gradient((x, loc, log_scale))
    return -doubly_reparameterised(image_weights, (params, *fixed), z).mean()


def image_weights(given: Any, z: jax.Array) -> jax.Array:
    """Log weights ``(draws, items)`` of draws ``(draws, items, latent)``."""
    params, x, loc, log_scale = given
    return fit(params, x, z) + log_normal(z, 0.0, 0.0) - log_normal(z, loc, log_scale)


def fit(params: Any, x: jax.Array, z: jax.Array) -> jax.Array:
    """The log likelihood of a binary image, ``(draws, items)``."""
    return -optax.sigmoid_binary_cross_entropy(mlp(params["decoder"], z), x).sum(-1)
