"""Draws: what torch and its distributions take from random generators, by NumPyro's keys."""

# ruff: noqa: D103 - what a rule computes is said by the torch function that it stands for

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import torch

from ppvae.backends.mirror.functions.arguments import Dtype, default_dtype, refuse, sizes, to_dtype
from ppvae.backends.mirror.functions.creation import placed
from ppvae.backends.mirror.running.tables import Key, random_function

NORMAL_FROM = 1e6  # JAX's Poisson draws are integers of 32 bits: too few for larger rates


@random_function(torch.rand)
@placed
def rand(key: Key, *size: Any, dtype: Dtype = None) -> jax.Array:
    return jax.random.uniform(key(), sizes(size), to_dtype(dtype) or default_dtype())


@random_function(torch.randn)
@placed
def randn(key: Key, *size: Any, dtype: Dtype = None) -> jax.Array:
    return jax.random.normal(key(), sizes(size), to_dtype(dtype) or default_dtype())


@random_function(torch.rand_like)
@placed
def rand_like(key: Key, input: jax.Array, *, dtype: Dtype = None) -> jax.Array:
    return jax.random.uniform(key(), input.shape, to_dtype(dtype) or input.dtype)


@random_function(torch.randn_like)
@placed
def randn_like(key: Key, input: jax.Array, *, dtype: Dtype = None) -> jax.Array:
    return jax.random.normal(key(), input.shape, to_dtype(dtype) or input.dtype)


@random_function(torch.randint)
@placed
def randint(key: Key, low: Any, high: Any, size: Any = None, *, dtype: Dtype = None) -> jax.Array:
    low, high, size = (0, low, high) if size is None else (low, high, size)
    return jax.random.randint(key(), tuple(size), low, high, to_dtype(dtype or int))


@random_function(torch.randperm)
@placed
def randperm(key: Key, n: int, *, dtype: Dtype = None) -> jax.Array:
    return jax.random.permutation(key(), n).astype(to_dtype(dtype or int))


@random_function(torch.normal)
@placed
def normal(key: Key, mean: Any, std: Any = 1.0, size: Any = None, *, dtype: Dtype = None) -> jax.Array:
    """Without a gradient to its parameters, as in torch."""
    shape = jnp.broadcast_shapes(jnp.shape(mean), jnp.shape(std)) if size is None else tuple(size)
    kind = to_dtype(dtype) or (jnp.result_type(mean, std) if size is None else default_dtype())
    return jax.lax.stop_gradient(mean + std * jax.random.normal(key(), shape, kind))


@random_function(torch.Tensor.normal_)
def normal_(key: Key, self: jax.Array, mean: float = 0.0, std: float = 1.0) -> jax.Array:
    return mean + std * jax.random.normal(key(), self.shape, self.dtype)


@random_function(torch.Tensor.uniform_)
def uniform_(key: Key, self: jax.Array, low: float = 0.0, high: float = 1.0) -> jax.Array:
    return jax.random.uniform(key(), self.shape, self.dtype, low, high)


@random_function(torch.Tensor.exponential_)
def exponential_(key: Key, self: jax.Array, lambd: float = 1.0) -> jax.Array:
    """Never zero, as in torch."""
    drawn = jax.random.exponential(key(), self.shape, self.dtype)
    return jnp.maximum(drawn, jnp.finfo(self.dtype).tiny) / lambd


@random_function(torch.Tensor.cauchy_)
def cauchy_(key: Key, self: jax.Array, median: float = 0.0, sigma: float = 1.0) -> jax.Array:
    return median + sigma * jax.random.cauchy(key(), self.shape, self.dtype)


@random_function(torch.Tensor.bernoulli_)
def bernoulli_(key: Key, self: jax.Array, p: Any = 0.5) -> jax.Array:
    return jax.random.bernoulli(key(), p, self.shape).astype(self.dtype)


@random_function(torch.poisson)
def poisson(key: Key, input: jax.Array) -> jax.Array:
    """Floats; from a million on a draw is normal, which is then right to a thousandth of its deviation."""
    first, second = jax.random.split(key())
    small = jax.random.poisson(first, jnp.minimum(input, NORMAL_FROM))
    large = jnp.round(input + jnp.sqrt(input) * jax.random.normal(second, input.shape, input.dtype))
    return jnp.where(input < NORMAL_FROM, small.astype(input.dtype), large)


@random_function(torch.binomial)
def binomial(key: Key, count: jax.Array, prob: jax.Array) -> jax.Array:
    return jax.random.binomial(key(), count, prob).astype(prob.dtype)


@random_function(torch.multinomial)
def multinomial(key: Key, input: jax.Array, num_samples: int, replacement: bool = False) -> jax.Array:
    refuse(num_samples > 1 and not replacement, "torch.multinomial without replacement has no mirror")
    weights = jnp.log(input)[..., None, :]
    return jax.random.categorical(key(), weights, shape=(*input.shape[:-1], num_samples)).astype(to_dtype(int))


@random_function(torch._standard_gamma)
def standard_gamma(key: Key, input: jax.Array) -> jax.Array:
    """Never zero, as in torch."""
    return jnp.maximum(jax.random.gamma(key(), input), jnp.finfo(input.dtype).tiny)


@random_function(torch._sample_dirichlet)
def sample_dirichlet(key: Key, input: jax.Array) -> jax.Array:
    """Kept off the edges of the simplex, as in torch."""
    tiny = jnp.finfo(input.dtype).tiny
    return jnp.clip(jax.random.dirichlet(key(), input), tiny, 1 - jnp.finfo(input.dtype).epsneg)
