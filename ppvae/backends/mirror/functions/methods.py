"""Methods of tensors whose namesake in ``torch`` is missing or takes other arguments."""

# ruff: noqa: D103 - what a rule computes is said by the torch function that it stands for

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import torch

from ppvae.backends.mirror.functions import creation, shapes
from ppvae.backends.mirror.functions.arguments import Dims, Dtype, cast, refuse, sizes
from ppvae.backends.mirror.functions.norms import norm
from ppvae.backends.mirror.functions.special import polygamma
from ppvae.backends.mirror.running.tables import function, method

_SHAPED = {"reshape": shapes.reshape, "permute": shapes.permute, "tile": shapes.tile, "flip": shapes.flip}
_CASTS = ("float", "double", "half", "bfloat16", "short", "int", "long", "bool")


def _sized(rule: Callable[[jax.Array, Any], jax.Array]) -> Callable[..., jax.Array]:
    """Methods take sizes or dims as ``f(2, 3)`` too; their functions only as ``f((2, 3))``."""

    def sized(self: jax.Array, *size: Any, **named: Any) -> jax.Array:
        return rule(self, sizes(size), **named) if size else rule(self, *named.values())

    return sized


for _name, _rule in _SHAPED.items():
    method(_name)(_sized(_rule))


def _casting(dtype: torch.dtype) -> Callable[..., jax.Array]:
    return lambda self: cast(self, dtype)


for _name in _CASTS:
    method(_name)(_casting(getattr(torch, _name)))


method("char")(_casting(torch.int8))
method("byte")(_casting(torch.uint8))


@method("contiguous")
def contiguous(self: jax.Array, *, memory_format: Any = None) -> jax.Array:
    """Memory is JAX's own business."""
    return self


def view(self: jax.Array, shape: Any) -> jax.Array:
    refuse(not all(isinstance(n, int) for n in shape), "view(dtype) reinterprets bits; use to(dtype)")
    return self.reshape(shape)


method("view")(_sized(view))


@method("view_as", "reshape_as")
def view_as(self: jax.Array, other: jax.Array) -> jax.Array:
    return self.reshape(other.shape)


def expand(self: jax.Array, size: Any, *, implicit: bool = False) -> jax.Array:
    return shapes.broadcast_to(self, size)


method("expand")(_sized(expand))


@method("expand_as")
def expand_as(self: jax.Array, other: jax.Array) -> jax.Array:
    return jnp.broadcast_to(self, other.shape)


def repeat(self: jax.Array, repeats: Any) -> jax.Array:
    """Like ``tile``, but with a number for every dim."""
    refuse(len(repeats) < self.ndim, "repeat() needs a number for every dim")
    return jnp.tile(self, repeats)


method("repeat")(_sized(repeat))


@method("sum_to_size")
def sum_to_size(self: jax.Array, *size: Any) -> jax.Array:
    """The reverse of broadcasting."""
    shape = sizes(size)
    y = self.sum(tuple(range(self.ndim - len(shape))))
    return y.sum([d for d, n in enumerate(shape) if n == 1], keepdims=True)


@method("split")
def split(self: jax.Array, split_size: Any, dim: int = 0) -> tuple[jax.Array, ...]:
    return shapes.split(self, split_size, dim)


@method("equal", "allclose", "is_nonzero")
def compared(*_: Any, **__: Any) -> None:
    refuse(True, "control flow on the values of an array has no mirror; use torch.where")


function(torch.equal, torch.allclose, torch.is_nonzero)(compared)


@method("unfold")
def unfold(self: jax.Array, dimension: int, size: int, step: int) -> jax.Array:
    """Windows along a dim, put last."""
    starts = jnp.arange(0, self.shape[dimension] - size + 1, step)
    windows = jnp.moveaxis(self, dimension, -1)[..., starts[:, None] + jnp.arange(size)]
    return jnp.moveaxis(windows, -2, dimension % self.ndim)


@method("to")
def to(self: jax.Array, *target: Any, dtype: Dtype = None, **placement: Any) -> jax.Array:
    """``to(dtype)``, ``to(device)``, ``to(device, dtype)``, ``to(other)``; a device means nothing here."""
    for value in target:
        if hasattr(value, "dtype") and hasattr(value, "shape"):
            dtype = value.dtype
        elif _is_dtype(value):
            dtype = value
    return cast(self, dtype)


def _is_dtype(value: Any) -> bool:
    return value in (float, int, bool) or isinstance(value, (torch.dtype, jnp.dtype))


@method("type")
def type_(self: jax.Array, dtype: Dtype = None) -> jax.Array:
    """A dtype, a class such as ``torch.FloatTensor``, or its name."""
    kind = getattr(torch, dtype.removeprefix("torch."), None) if isinstance(dtype, str) else dtype
    return cast(self, getattr(kind, "dtype", kind))


@method("type_as")
def type_as(self: jax.Array, other: jax.Array) -> jax.Array:
    return self.astype(other.dtype)


@method("new_zeros", "new_empty", "new")
def new_zeros(self: jax.Array, *size: Any, dtype: Dtype = None, **placement: Any) -> jax.Array:
    return creation.zeros(*size, dtype=dtype or self.dtype)


@method("new_ones")
def new_ones(self: jax.Array, *size: Any, dtype: Dtype = None, **placement: Any) -> jax.Array:
    return creation.ones(*size, dtype=dtype or self.dtype)


@method("new_full")
def new_full(self: jax.Array, size: Any, fill_value: Any, *, dtype: Dtype = None, **placement: Any) -> jax.Array:
    return creation.full(size, fill_value, dtype=dtype or self.dtype)


@method("new_tensor")
def new_tensor(self: jax.Array, data: Any, *, dtype: Dtype = None, **placement: Any) -> jax.Array:
    return creation.tensor(data, dtype=dtype or self.dtype)


@method("where")
def where(self: jax.Array, condition: jax.Array, y: Any) -> jax.Array:
    return jnp.where(condition, self, y)


@method("polygamma")
def polygamma_(self: jax.Array, n: int) -> jax.Array:
    return polygamma(n, self)


@method("norm")
def norm_(self: jax.Array, p: Any = "fro", dim: Dims = None, keepdim: bool = False, dtype: Dtype = None) -> jax.Array:
    return norm(self, p, dim, keepdim, dtype=dtype)
