"""Operators: Python's own operators, powers, attributes and ``math``, as networks use them."""

# ruff: noqa: D103 - what a rule computes is said by the torch function that it stands for

from __future__ import annotations

import math
import operator
from typing import Any

import jax
import jax.numpy as jnp
import torch

from ppvae.backends.mirror.functions.arguments import cast, is_floating, mirrors, refuse
from ppvae.backends.mirror.functions.elementwise import Array, floor_divide
from ppvae.backends.mirror.running.tables import function

_ATTRIBUTES = frozenset(
    {"shape", "ndim", "dtype", "device", "T", "mT", "H", "mH", "real", "imag", "itemsize", "nbytes"}
)

for _name in (
    *("add", "sub", "mul", "truediv", "mod", "matmul", "neg", "pos"),
    *("eq", "ne", "lt", "le", "gt", "ge", "and_", "or_", "xor", "invert", "lshift", "rshift"),
):
    function(getattr(operator, _name))(getattr(operator, _name))


@function(operator.floordiv)
def floordiv(x: Any, y: Any) -> Any:
    """Of plain numbers, such as sizes, too: they must stay numbers."""
    return floor_divide(x, y) if isinstance(x, jax.Array) or isinstance(y, jax.Array) else x // y


@mirrors(torch.pow, operator.pow)
def power(input: Array, exponent: Array) -> Array:
    """No gradient at 0 to the power 0, where JAX's is NaN; whole numbers to negative powers are cut to whole ones."""
    if not is_floating(jnp.result_type(input, exponent)) and isinstance(input, jax.Array):
        return _whole_power(input, exponent)
    if isinstance(exponent, (int, float)):
        whole = isinstance(exponent, float) and exponent.is_integer() and is_floating(input)
        return operator.pow(input, int(exponent) if whole else exponent)
    one = (input == 0) & (exponent == 0)
    return jnp.where(one, 1, operator.pow(jnp.where(one, 1, input), exponent))


def _whole_power(input: jax.Array, exponent: Array) -> jax.Array:
    refuse(isinstance(exponent, int) and exponent < 0, "it takes no whole numbers to a negative power")
    odd = jnp.where(jnp.asarray(exponent) % 2 == 0, 1, input)
    inverse = jnp.where(jnp.abs(input) == 1, odd, 0)
    return jnp.where(jnp.asarray(exponent) < 0, inverse, operator.pow(input, jnp.maximum(exponent, 0)))


@mirrors(torch.float_power)
def float_power(input: Array, exponent: Array) -> jax.Array:
    return power(cast(input, float), float(exponent) if isinstance(exponent, (int, float)) else cast(exponent, float))


# Plain numbers, such as sizes, on both sides.
for _function in vars(math).values():
    if callable(_function):
        function(_function)(_function)


@function(getattr)
def attribute(x: Any, name: str, *default: Any) -> Any:
    refuse(
        isinstance(x, jax.Array) and name not in _ATTRIBUTES,
        f"the attribute {name!r} of a tensor has no mirror; there are {', '.join(sorted(_ATTRIBUTES))}",
    )
    if name in ("H", "mH"):
        return x.conj().mT if x.ndim else x
    return getattr(x, name, *default)


@function(torch._assert)
def _assert(condition: object, message: str) -> None:
    """The values of an array are unknown while it is compiled, so nothing can be asserted of them."""
