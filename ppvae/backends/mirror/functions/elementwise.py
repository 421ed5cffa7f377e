"""Elementwise: arithmetic, transcendental functions, comparison and logic."""

# ruff: noqa: D103 - what a rule computes is said by the torch function that it stands for

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import jax.scipy.special as special
import torch

from ppvae.backends.mirror.functions.arguments import floating, is_floating, mirrors, namesakes, promoted, refuse

Array = Any  # a JAX array, or a Python number where torch takes one

_FLOATING: dict[Callable[..., Any], str] = {
    jnp.exp: "exp",
    jnp.exp2: "exp2",
    jnp.expm1: "expm1",
    jnp.log: "log",
    jnp.log2: "log2",
    jnp.log10: "log10",
    jnp.log1p: "log1p",
    jnp.sqrt: "sqrt",
    jax.lax.rsqrt: "rsqrt",
    jnp.reciprocal: "reciprocal",
    jnp.sin: "sin",
    jnp.cos: "cos",
    jnp.tan: "tan",
    jnp.arcsin: "asin arcsin",
    jnp.arccos: "acos arccos",
    jnp.arctan: "atan arctan",
    jnp.sinh: "sinh",
    jnp.cosh: "cosh",
    jnp.tanh: "tanh",
    jnp.arcsinh: "asinh arcsinh",
    jnp.arccosh: "acosh arccosh",
    jnp.arctanh: "atanh arctanh",
    jnp.sinc: "sinc",
    jnp.deg2rad: "deg2rad",
    jnp.rad2deg: "rad2deg",
    jax.nn.sigmoid: "sigmoid expit",
    special.erf: "erf",
    special.erfc: "erfc",
    special.erfcx: "erfcx",
    special.erfinv: "erfinv",
    special.i0e: "i0e",
    special.i1: "i1",
    special.i1e: "i1e",
    special.ndtr: "ndtr",
    special.log_ndtr: "log_ndtr",
}

_SAME_DTYPE: dict[Callable[..., Any], str] = {
    jnp.negative: "neg negative",
    jnp.positive: "positive",
    jnp.floor: "floor",
    jnp.ceil: "ceil",
    jnp.trunc: "trunc fix",
    jnp.square: "square",
    jnp.isnan: "isnan",
    jnp.isfinite: "isfinite",
    jnp.isinf: "isinf",
    jnp.isposinf: "isposinf",
    jnp.isneginf: "isneginf",
    jnp.signbit: "signbit",
    jnp.logical_not: "logical_not",
    jnp.bitwise_not: "bitwise_not",
}

_BINARY: dict[Callable[..., Any], str] = {
    jnp.multiply: "mul multiply",
    jnp.true_divide: "true_divide",
    jnp.remainder: "remainder",
    jnp.fmod: "fmod",
    jnp.maximum: "maximum",
    jnp.minimum: "minimum",
    jnp.logaddexp: "logaddexp",
    jnp.logaddexp2: "logaddexp2",
    jnp.equal: "eq",
    jnp.not_equal: "ne not_equal",
    jnp.less: "lt less",
    jnp.less_equal: "le less_equal",
    jnp.greater: "gt greater",
    jnp.greater_equal: "ge greater_equal",
    jnp.logical_and: "logical_and",
    jnp.logical_or: "logical_or",
    jnp.logical_xor: "logical_xor",
    jnp.bitwise_and: "bitwise_and",
    jnp.bitwise_or: "bitwise_or",
    jnp.bitwise_xor: "bitwise_xor",
    jnp.left_shift: "bitwise_left_shift",
    jnp.right_shift: "bitwise_right_shift",
    jnp.nextafter: "nextafter",
}


def _unary(compute: Callable[[Any], Any]) -> Callable[..., Any]:
    return lambda input: compute(input)


def _floating(compute: Callable[[Any], Any]) -> Callable[..., Any]:
    return lambda input: compute(floating(input))


def _binary(compute: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    return lambda input, other: compute(*promoted(input, other))


_KINDS: tuple[tuple[Callable[..., Any], dict[Callable[..., Any], str]], ...] = (
    (_floating, _FLOATING),
    (_unary, _SAME_DTYPE),
    (_binary, _BINARY),
)
for _kind, _table in _KINDS:
    for _compute, _names in _table.items():
        mirrors(*namesakes(*_names.split()))(_kind(_compute))


@mirrors(torch.add)
def add(input: Array, other: Array, *, alpha: float = 1) -> jax.Array:
    input, other = promoted(input, other)
    return jnp.add(input, other if alpha == 1 else alpha * other)


@mirrors(torch.sub, torch.subtract)
def sub(input: Array, other: Array, *, alpha: float = 1) -> jax.Array:
    refuse(
        any(jnp.result_type(x) == jnp.bool_ for x in (input, other)),
        "it does not subtract booleans; use logical_not or logical_xor",
    )
    input, other = promoted(input, other)
    return jnp.subtract(input, other if alpha == 1 else alpha * other)


@mirrors(torch.rsub)
def rsub(input: Array, other: Array, *, alpha: float = 1) -> jax.Array:
    return sub(other, input, alpha=alpha)


@mirrors(torch.div, torch.divide)
def div(input: Array, other: Array, *, rounding_mode: str | None = None) -> jax.Array:
    input, other = promoted(input, other)
    if rounding_mode is None:
        return jnp.true_divide(input, other)
    if rounding_mode == "floor":
        return floor_divide(input, other)
    quotient = jnp.trunc(jnp.true_divide(input, other))
    return quotient if is_floating(jnp.result_type(input, other)) else jax.lax.div(*_promoted(input, other))


@mirrors(torch.floor_divide)
def floor_divide(input: Array, other: Array) -> jax.Array:
    """Piecewise constant, with no gradient: jnp's own gives NaN gradients, or NaN, at a zero divisor."""
    quotient = jnp.floor_divide(input, other)
    if is_floating(quotient):
        quotient = jnp.where(jnp.equal(other, 0), jnp.true_divide(input, other), quotient)
    return jax.lax.stop_gradient(quotient)


def _promoted(*arrays: Array) -> list[jax.Array]:
    dtype = jnp.result_type(*arrays)
    return list(jnp.broadcast_arrays(*(jnp.asarray(array, dtype) for array in arrays)))


@mirrors(torch.sign, torch.sgn)
def sign(input: Array) -> jax.Array:
    """The sign of NaN is 0 in torch."""
    return jnp.where(jnp.isnan(input), jnp.zeros_like(input), jnp.sign(input))


@mirrors(torch.abs, torch.absolute, operator.abs)
def magnitude(input: Array) -> jax.Array:
    """No gradient at zero, where that of ``jnp.abs`` is one."""
    size = jnp.abs(input)
    return jnp.where(input == 0, 0, size).astype(size.dtype)


@mirrors(torch.copysign)
def copysign(input: Array, other: Array) -> jax.Array:
    x, sign = floating(input), jnp.copysign(1, other)
    return jnp.where(x == 0, jax.lax.stop_gradient(jnp.copysign(x, sign)), magnitude(x) * sign)


@mirrors(torch.frac)
def frac(input: Array) -> jax.Array:
    refuse(not is_floating(input), "it takes floats")
    return input - jnp.trunc(input)


@mirrors(*namesakes("round"))
def round_(input: Array, *, decimals: int = 0) -> jax.Array:
    return jnp.round(input, decimals)


@mirrors(torch.atan2, torch.arctan2)
def atan2(input: Array, other: Array) -> jax.Array:
    """No gradient at the origin, where jnp's is NaN."""
    origin = (input == 0) & (other == 0)
    return jnp.where(origin, jax.lax.stop_gradient(jnp.arctan2(input, other)), _away(jnp.arctan2, origin, input, other))


@mirrors(torch.hypot)
def hypot(input: Array, other: Array) -> jax.Array:
    """At the origin the gradient is finite, where torch's is NaN."""
    return jnp.hypot(input, other)


def _away(compute: Callable[..., Any], where: jax.Array, *arrays: Array) -> jax.Array:
    """``compute`` with ones in the places that are not going to be used, so that no gradient there is NaN."""
    return compute(*(jnp.where(where, 1, array) for array in arrays))


@mirrors(torch.fmax)
def fmax(input: Array, other: Array) -> jax.Array:
    return jnp.where((input >= other) | jnp.isnan(other), input, other)


@mirrors(torch.fmin)
def fmin(input: Array, other: Array) -> jax.Array:
    return jnp.where((input <= other) | jnp.isnan(other), input, other)


@mirrors(torch.heaviside)
def heaviside(input: Array, values: Array) -> jax.Array:
    return jnp.where(input == 0, values, input > 0).astype(input.dtype)


@mirrors(torch.ldexp)
def ldexp(input: Array, other: Array) -> jax.Array:
    return input * jnp.exp2(floating(other))


@mirrors(torch.lerp)
def lerp(input: Array, end: Array, weight: Array) -> jax.Array:
    return input + weight * (end - input)


@mirrors(torch.addcmul)
def addcmul(input: Array, tensor1: Array, tensor2: Array, *, value: float = 1) -> jax.Array:
    return input + value * tensor1 * tensor2


@mirrors(torch.addcdiv)
def addcdiv(input: Array, tensor1: Array, tensor2: Array, *, value: float = 1) -> jax.Array:
    return input + value * tensor1 / tensor2


@mirrors(torch.clamp, torch.clip)
def clamp(input: Array, min: Array | None = None, max: Array | None = None) -> jax.Array:
    """The gradient passes at the bounds, where that of ``jnp.clip`` is halved."""
    if min is not None:
        input = jnp.where((input < min) | jnp.isnan(min), min, input)
    if max is not None:
        input = jnp.where((input > max) | jnp.isnan(max), max, input)
    return input


@mirrors(torch.clamp_min)
def clamp_min(input: Array, min: Array) -> jax.Array:
    return clamp(input, min)


@mirrors(torch.clamp_max)
def clamp_max(input: Array, max: Array) -> jax.Array:
    return clamp(input, max=max)


@mirrors(torch.nan_to_num)
def nan_to_num(
    input: Array, nan: float | None = None, posinf: float | None = None, neginf: float | None = None
) -> jax.Array:
    return jnp.nan_to_num(input, nan=nan or 0.0, posinf=posinf, neginf=neginf)


@mirrors(torch.isclose)
def isclose(input: Array, other: Array, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False) -> jax.Array:
    return jnp.isclose(input, other, rtol, atol, equal_nan)


@mirrors(torch.where)
def where(condition: jax.Array, input: Array = None, other: Array = None) -> jax.Array:
    refuse(input is None or other is None, "where(condition) has an output of unknown shape; give it both branches")
    return jnp.where(condition, input, other)
