"""Draws: random tensors in torch's own words, from the program's key."""

# ruff: noqa: D103 - what a rule computes is said by the torch function that it stands for

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import torch
import torch.nn.functional as F

from ppvae.backends.devices.keys import plain
from ppvae.backends.mirror.functions.arguments import Dtype, cast, default_dtype, refuse, sizes, to_dtype
from ppvae.backends.mirror.functions.creation import placed
from ppvae.backends.mirror.running.tables import Key, random_function

NORMAL_FROM = 1e6  # JAX's Poisson draws are integers of 32 bits: too few for larger rates

Draw = Callable[[jax.Array, tuple[int, ...], Any], jax.Array]


def _new(draw: Draw) -> Callable[..., jax.Array]:
    def rule(key: Key, *size: Any, dtype: Dtype = None) -> jax.Array:
        return draw(key(), sizes(size), to_dtype(dtype) or default_dtype())

    return placed(rule)


def _like(draw: Draw) -> Callable[..., jax.Array]:
    def rule(key: Key, input: jax.Array, *, dtype: Dtype = None) -> jax.Array:
        return draw(key(), input.shape, to_dtype(dtype) or input.dtype)

    return placed(rule)


random_function(torch.rand)(_new(jax.random.uniform))
random_function(torch.randn)(_new(jax.random.normal))
random_function(torch.rand_like)(_like(jax.random.uniform))
random_function(torch.randn_like)(_like(jax.random.normal))


@random_function(torch.randint)
@placed
def randint(key: Key, *given: Any, low: int = 0, high: Any = None, size: Any = None, dtype: Dtype = int) -> jax.Array:
    """``randint(high, size)`` or ``randint(low, high, size)``, by position or by name."""
    numbers = [n for n in given if isinstance(n, int)]
    shape = next((n for n in given if not isinstance(n, int)), size)
    low, high = numbers if len(numbers) == 2 else (low, *numbers) if numbers else (low, high)
    return cast(jax.random.randint(key(), tuple(shape), low, high), dtype)


@random_function(torch.randint_like)
@placed
def randint_like(key: Key, input: jax.Array, *bounds: Any, dtype: Dtype = None, **named: Any) -> jax.Array:
    return randint(key, *bounds, input.shape, dtype=dtype or input.dtype, **named)


@random_function(torch.randperm)
@placed
def randperm(key: Key, n: int, *, dtype: Dtype = int) -> jax.Array:
    return cast(jax.random.permutation(key(), n), dtype)


@random_function(torch.normal)
@placed
def normal(key: Key, mean: Any, std: Any = 1.0, size: Any = None, *, dtype: Dtype = None) -> jax.Array:
    """Numbers take a size; arrays have one."""
    kind = to_dtype(dtype) or next((x.dtype for x in (mean, std) if isinstance(x, jax.Array)), default_dtype())
    shape = jnp.broadcast_shapes(jnp.shape(mean), jnp.shape(std)) if size is None else tuple(size)
    return jax.lax.stop_gradient(mean + std * jax.random.normal(key(), shape, kind)).astype(kind)


@random_function(torch.bernoulli, torch.Tensor.bernoulli)
def bernoulli(key: Key, input: jax.Array, p: float | None = None) -> jax.Array:
    return jax.random.bernoulli(key(), input if p is None else p, input.shape).astype(input.dtype)


@random_function(torch.Tensor.bernoulli_)
def bernoulli_(key: Key, self: jax.Array, p: Any = 0.5) -> jax.Array:
    return jax.random.bernoulli(key(), p, self.shape).astype(self.dtype)


@random_function(torch.poisson)
def poisson(key: Key, input: jax.Array) -> jax.Array:
    """Floats; from a million on a draw is normal, which is then right to a thousandth of its deviation."""
    first, second = jax.random.split(plain(key()))
    rate = jax.lax.stop_gradient(input)
    small = jax.random.poisson(first, jnp.minimum(rate, NORMAL_FROM))
    large = jnp.round(rate + jnp.sqrt(rate) * jax.random.normal(second, rate.shape, rate.dtype))
    return jnp.where(rate < NORMAL_FROM, small.astype(rate.dtype), large)


@random_function(torch.binomial)
def binomial(key: Key, count: jax.Array, prob: jax.Array) -> jax.Array:
    count, prob = jax.lax.stop_gradient((count, prob))
    return jax.random.binomial(key(), count, prob).astype(prob.dtype)


@random_function(torch._standard_gamma)
def standard_gamma(key: Key, input: jax.Array) -> jax.Array:
    """Never zero, as in torch; with the gradient of its parameter."""
    return jnp.maximum(jax.random.gamma(plain(key()), input), jnp.finfo(input.dtype).tiny)


@random_function(torch._sample_dirichlet)
def sample_dirichlet(key: Key, input: jax.Array) -> jax.Array:
    """Kept off the edges of the simplex, as in torch; with the gradient of its parameter."""
    kind = jnp.finfo(input.dtype)
    return jnp.clip(jax.random.dirichlet(plain(key()), input), kind.tiny, 1 - kind.epsneg)


@random_function(torch.multinomial)
def multinomial(key: Key, input: jax.Array, num_samples: int, replacement: bool = False) -> jax.Array:
    """With replacement where a uniform number falls among the sums of weights, as in torch.

    Without, the places of the largest perturbed logarithms are a draw (Gumbel's trick).
    """
    input = jax.lax.stop_gradient(input)
    if replacement:
        sums = jnp.cumsum(input, -1)[..., None, :]
        place = jax.random.uniform(key(), (*input.shape[:-1], num_samples, 1), input.dtype) * sums[..., -1:]
        return cast((sums <= place).sum(-1), int)
    logits = jnp.log(input)
    refuse(num_samples > input.shape[-1], f"it cannot take {num_samples} of {input.shape[-1]} without replacement")
    perturbed = logits + jax.random.gumbel(key(), input.shape, input.dtype)
    return cast(jax.lax.top_k(perturbed, num_samples)[1], int)


random_function(torch.Tensor.normal_)(lambda key, self, mean=0.0, std=1.0: mean + std * _standard(key, self))
random_function(torch.Tensor.log_normal_)(
    lambda key, self, mean=1.0, std=2.0: jnp.exp(mean + std * _standard(key, self))
)


def _standard(key: Key, self: jax.Array) -> jax.Array:
    return jax.random.normal(key(), self.shape, self.dtype)


@random_function(torch.Tensor.uniform_)
def uniform_(key: Key, self: jax.Array, *bounds: float, to: float = 1.0, **named: float) -> jax.Array:
    """Between ``from`` (a word of Python's, so it comes among the others) and ``to``."""
    low, high = (*bounds, *(named.get("from", 0.0), to)[len(bounds) :])
    return jax.random.uniform(key(), self.shape, self.dtype, low, high)


@random_function(torch.Tensor.exponential_)
def exponential_(key: Key, self: jax.Array, lambd: float = 1.0) -> jax.Array:
    """Never zero, as in torch."""
    return jnp.maximum(jax.random.exponential(key(), self.shape, self.dtype), jnp.finfo(self.dtype).tiny) / lambd


@random_function(torch.Tensor.cauchy_)
def cauchy_(key: Key, self: jax.Array, median: float = 0.0, sigma: float = 1.0) -> jax.Array:
    return median + sigma * jax.random.cauchy(key(), self.shape, self.dtype)


@random_function(F.gumbel_softmax)
def gumbel_softmax(
    key: Key, logits: jax.Array, tau: float = 1, hard: bool = False, eps: float = 1e-10, dim: int = -1
) -> jax.Array:
    """``hard`` is one-hot, with the gradients of the soft one."""
    noise = jax.random.gumbel(key(), logits.shape, logits.dtype)
    soft = jax.nn.softmax((logits + noise) / tau, dim)
    if not hard:
        return soft
    sharp = jax.nn.one_hot(jnp.argmax(soft, dim), logits.shape[dim], axis=dim, dtype=soft.dtype)
    return sharp + soft - jax.lax.stop_gradient(soft)
