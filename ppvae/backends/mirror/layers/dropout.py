"""Dropout and its relatives: random under training, the identity otherwise."""

# ruff: noqa: D103 - what a rule computes is said by the torch function that it stands for

from __future__ import annotations

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import torch.nn.functional as F

from ppvae.backends.mirror.functions.activations import leaky_relu
from ppvae.backends.mirror.functions.arguments import namesakes
from ppvae.backends.mirror.running.tables import Key, random_function

_SELU_FLOOR = -1.7580993408473766  # where SELU goes for large negative inputs


def _kept(key: Key, shape: tuple[int, ...], p: float) -> jax.Array:
    if not 0 <= p <= 1:
        raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")
    return jax.random.bernoulli(key(), 1 - p, shape)


def _scaled(key: Key, x: jax.Array, shape: tuple[int, ...], p: float) -> jax.Array:
    """Zeros with probability ``p``, the same for every element along dims of size 1; the mean stays."""
    return jnp.where(_kept(key, shape, p), x / (1 - p if p < 1 else 1), 0)


@random_function(*namesakes("dropout"))
def dropout(key: Key, input: jax.Array, p: float = 0.5, training: bool = True, inplace: bool = False) -> jax.Array:
    return _scaled(key, input, input.shape, p) if training and p > 0 else input


def _channels(x: jax.Array, kept: int) -> tuple[int, ...]:
    """One element for every channel, whose dims are the first ``kept``."""
    return (*x.shape[:kept], *(1,) * (x.ndim - kept))


def _channelwise(dims: int) -> Callable[..., jax.Array]:
    def rule(key: Key, input: jax.Array, p: float = 0.5, training: bool = True, inplace: bool = False) -> jax.Array:
        # three dims are items, channels and one of space for dropout2d too, as torch has it
        kept = 2 if dims == 2 else input.ndim - dims
        return _scaled(key, input, _channels(input, kept), p) if training and p > 0 else input

    return rule


random_function(F.dropout1d)(_channelwise(1))
random_function(F.dropout2d)(_channelwise(2))
random_function(F.dropout3d)(_channelwise(3))


def _alpha(key: Key, x: jax.Array, shape: tuple[int, ...], p: float) -> jax.Array:
    """Dropped to SELU's floor, then scaled and shifted so that mean and variance stay."""
    if p == 1:
        return jnp.zeros_like(x)
    scale = 1 / math.sqrt((1 - p) * (1 + p * _SELU_FLOOR**2))
    return scale * (jnp.where(_kept(key, shape, p), x, _SELU_FLOOR) - p * _SELU_FLOOR)


@random_function(*namesakes("alpha_dropout"))
def alpha_dropout(
    key: Key, input: jax.Array, p: float = 0.5, training: bool = False, inplace: bool = False
) -> jax.Array:
    return _alpha(key, input, input.shape, p) if training and p > 0 else input


@random_function(*namesakes("feature_alpha_dropout"))
def feature_alpha_dropout(
    key: Key, input: jax.Array, p: float = 0.5, training: bool = False, inplace: bool = False
) -> jax.Array:
    return _alpha(key, input, _channels(input, 2), p) if training and p > 0 else input


@random_function(*namesakes("rrelu"))
def rrelu(
    key: Key,
    input: jax.Array,
    lower: float = 1.0 / 8,
    upper: float = 1.0 / 3,
    training: bool = False,
    inplace: bool = False,
) -> jax.Array:
    """Leaky ReLU with a slope of its own for each element; their mean where nothing trains."""
    if not training:
        return leaky_relu(input, (lower + upper) / 2)
    slope = jax.random.uniform(key(), input.shape, input.dtype, lower, upper)
    return jnp.where(input >= 0, input, input * slope)
