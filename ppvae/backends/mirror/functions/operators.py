"""Operators: Python's own operators, attributes and ``math``, as networks use them."""

# ruff: noqa: D103 - what a rule computes is said by the torch function that it stands for

from __future__ import annotations

import math
import operator
from typing import Any

import jax
import torch

from ppvae.backends.mirror.functions.arguments import refuse
from ppvae.backends.mirror.functions.elementwise import floor_divide
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
