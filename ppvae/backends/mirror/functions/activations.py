"""Activation functions of ``torch.nn.functional``, with torch's gradients at their kinks."""

# ruff: noqa: D103 - what a rule computes is said by the torch function that it stands for

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import torch.nn.functional as F

from ppvae.backends.mirror.functions import reductions
from ppvae.backends.mirror.functions.arguments import Dtype, floating, mirrors, namesakes, refuse
from ppvae.backends.mirror.functions.elementwise import magnitude


def _fresh(inplace: bool) -> None:
    refuse(inplace, "inplace=True changes an array that JAX cannot change; leave it out, the value is the same")


@mirrors(*namesakes("relu"))
def relu(input: jax.Array, inplace: bool = False) -> jax.Array:
    return threshold(input, 0, 0, inplace)


@mirrors(*namesakes("threshold"))
def threshold(input: jax.Array, threshold: float, value: float, inplace: bool = False) -> jax.Array:
    _fresh(inplace)
    return jnp.where(input <= threshold, value, input).astype(input.dtype)


@mirrors(F.hardtanh)
def hardtanh(input: jax.Array, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> jax.Array:
    """Unlike that of clamp, its gradient is zero at the bounds themselves."""
    _fresh(inplace)
    return jnp.where(input <= min_val, min_val, jnp.where(input >= max_val, max_val, input))


@mirrors(F.relu6)
def relu6(input: jax.Array, inplace: bool = False) -> jax.Array:
    return hardtanh(input, 0.0, 6.0, inplace)


@mirrors(F.leaky_relu)
def leaky_relu(input: jax.Array, negative_slope: float = 0.01, inplace: bool = False) -> jax.Array:
    _fresh(inplace)
    return jnp.where(input > 0, input, input * negative_slope)


@mirrors(*namesakes("prelu"))
def prelu(input: jax.Array, weight: jax.Array) -> jax.Array:
    """One slope, or one for each channel (dim 1)."""
    if weight.size > 1:
        weight = weight.reshape([-1 if d == 1 else 1 for d in range(input.ndim)])
    return jnp.where(input > 0, input, input * weight)


@mirrors(F.elu)
def elu(input: jax.Array, alpha: float = 1.0, inplace: bool = False) -> jax.Array:
    _fresh(inplace)
    return jnp.where(input > 0, input, alpha * jnp.expm1(jnp.where(input > 0, 0, input)))


@mirrors(*namesakes("celu"))
def celu(input: jax.Array, alpha: float = 1.0, inplace: bool = False) -> jax.Array:
    return alpha * elu(input / alpha, 1.0, inplace)


@mirrors(*namesakes("selu"))
def selu(input: jax.Array, inplace: bool = False) -> jax.Array:
    return 1.0507009873554804934193349852946 * elu(input, 1.6732632423543772848170429916717, inplace)


@mirrors(F.gelu)
def gelu(input: jax.Array, approximate: str = "none") -> jax.Array:
    """Exact by default, unlike JAX's."""
    return jax.nn.gelu(input, approximate=approximate == "tanh")


@mirrors(F.silu)
def silu(input: jax.Array, inplace: bool = False) -> jax.Array:
    _fresh(inplace)
    return jax.nn.silu(input)


@mirrors(F.mish)
def mish(input: jax.Array, inplace: bool = False) -> jax.Array:
    _fresh(inplace)
    return input * jnp.tanh(softplus(input))


@mirrors(F.softplus)
def softplus(input: jax.Array, beta: float = 1, threshold: float = 20) -> jax.Array:
    """The identity above ``threshold``, as in torch."""
    scaled = input * beta
    return jnp.where(scaled > threshold, input, jax.nn.softplus(scaled) / beta)


@mirrors(F.logsigmoid)
def logsigmoid(input: jax.Array) -> jax.Array:
    return jax.nn.log_sigmoid(input)


@mirrors(F.sigmoid)
def sigmoid(input: jax.Array) -> jax.Array:
    return jax.nn.sigmoid(floating(input))


@mirrors(F.tanh)
def tanh(input: jax.Array) -> jax.Array:
    return jnp.tanh(floating(input))


@mirrors(F.hardsigmoid)
def hardsigmoid(input: jax.Array, inplace: bool = False) -> jax.Array:
    return relu6(input + 3, inplace) / 6


@mirrors(F.hardswish)
def hardswish(input: jax.Array, inplace: bool = False) -> jax.Array:
    _fresh(inplace)
    return jnp.where(input <= -3, 0, jnp.where(input < 3, input * (input + 3) / 6, input))


@mirrors(F.softsign)
def softsign(input: jax.Array) -> jax.Array:
    return input / (1 + magnitude(input))


@mirrors(F.tanhshrink)
def tanhshrink(input: jax.Array) -> jax.Array:
    return input - jnp.tanh(input)


@mirrors(F.softshrink)
def softshrink(input: jax.Array, lambd: float = 0.5) -> jax.Array:
    return jnp.where(input > lambd, input - lambd, jnp.where(input < -lambd, input + lambd, input * 0))


@mirrors(*namesakes("hardshrink"))
def hardshrink(input: jax.Array, lambd: float = 0.5) -> jax.Array:
    return jnp.where(jnp.abs(input) <= lambd, 0, input)


@mirrors(F.glu)
def glu(input: jax.Array, dim: int = -1) -> jax.Array:
    left, right = jnp.split(input, 2, dim)
    return left * jax.nn.sigmoid(right)


@mirrors(F.softmax)
def softmax(input: jax.Array, dim: int | None = None, _stacklevel: int = 3, dtype: Dtype = None) -> jax.Array:
    return reductions.softmax(input, _explicit(dim), dtype)


@mirrors(F.log_softmax)
def log_softmax(input: jax.Array, dim: int | None = None, _stacklevel: int = 3, dtype: Dtype = None) -> jax.Array:
    return reductions.log_softmax(input, _explicit(dim), dtype)


@mirrors(F.softmin)
def softmin(input: jax.Array, dim: int | None = None, _stacklevel: int = 3, dtype: Dtype = None) -> jax.Array:
    return reductions.softmax(-input, _explicit(dim), dtype)


def _explicit(dim: Any) -> int:
    refuse(dim is None, "a softmax needs its dim: torch guesses it, and has deprecated doing so")
    return int(dim)
