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
from ppvae.backends.mirror.running.tables import method

_SHAPED = {"reshape": shapes.reshape, "permute": shapes.permute, "tile": shapes.tile, "flip": shapes.flip}
_CASTS = ("float", "double", "half", "bfloat16", "short", "int", "long", "bool")


def _sized(rule: Callable[[jax.Array, Any], jax.Array]) -> Callable[..., jax.Array]:
    """Methods take sizes or dims as ``f(2, 3)`` too; their functions only as ``f((2, 3))``."""
    return lambda self, *size: rule(self, sizes(size))


for _name, _rule in _SHAPED.items():
    method(_name)(_sized(_rule))


def _casting(dtype: torch.dtype) -> Callable[..., jax.Array]:
    return lambda self: cast(self, dtype)


for _name in _CASTS:
    method(_name)(_casting(getattr(torch, _name)))


@method("size")
def size(self: jax.Array, dim: int | None = None) -> Any:
    return self.shape if dim is None else self.shape[dim]


@method("dim", "ndimension")
def dim(self: jax.Array) -> int:
    return self.ndim


@method("nelement")
def nelement(self: jax.Array) -> int:
    return self.size


@method("contiguous", "cpu")
def contiguous(self: jax.Array, *, memory_format: Any = None) -> jax.Array:
    """Memory is JAX's own business."""
    return self


@method("view")
def view(self: jax.Array, *shape: Any) -> jax.Array:
    given = sizes(shape)
    refuse(not all(isinstance(n, int) for n in given), "view(dtype) reinterprets bits; use to(dtype)")
    return self.reshape(given)


@method("view_as", "reshape_as")
def view_as(self: jax.Array, other: jax.Array) -> jax.Array:
    return self.reshape(other.shape)


@method("expand")
def expand(self: jax.Array, *size: Any) -> jax.Array:
    return shapes.broadcast_to(self, sizes(size))


@method("expand_as")
def expand_as(self: jax.Array, other: jax.Array) -> jax.Array:
    return jnp.broadcast_to(self, other.shape)


@method("repeat")
def repeat(self: jax.Array, *repeats: Any) -> jax.Array:
    """Like ``tile``, but with a number for every dim."""
    refuse(len(sizes(repeats)) < self.ndim, "repeat() needs a number for every dim")
    return jnp.tile(self, sizes(repeats))


@method("sum_to_size")
def sum_to_size(self: jax.Array, *size: Any) -> jax.Array:
    """The reverse of broadcasting."""
    shape = sizes(size)
    y = self.sum(tuple(range(self.ndim - len(shape))))
    return y.sum([d for d, n in enumerate(shape) if n == 1], keepdims=True)


@method("split")
def split(self: jax.Array, split_size: Any, dim: int = 0) -> tuple[jax.Array, ...]:
    return shapes.split(self, split_size, dim)


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
    refuse(not _is_dtype(dtype), "type() is mirrored for dtypes, as in x.type(torch.float32)")
    return cast(self, dtype)


@method("type_as")
def type_as(self: jax.Array, other: jax.Array) -> jax.Array:
    return self.astype(other.dtype)


@method("new_zeros", "new_empty", "new")
def new_zeros(self: jax.Array, *size: Any, dtype: Dtype = None, **placement: Any) -> jax.Array:
    return creation.zeros(*size, dtype=dtype or self.dtype)


@method("zero")
def zero(self: jax.Array) -> jax.Array:
    """Serves ``zero_``."""
    return jnp.zeros_like(self)


@method("fill")
def fill(self: jax.Array, value: Any) -> jax.Array:
    """Serves ``fill_``."""
    return jnp.full_like(self, value)


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
