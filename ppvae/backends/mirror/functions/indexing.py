"""Indexing: subscripts, gathering, scattering, masks and sorting."""

# ruff: noqa: D103 - what a rule computes is said by the torch function that it stands for

from __future__ import annotations

import builtins
import operator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
import torch.nn.functional as F

from ppvae.backends.mirror.functions.arguments import cast, mirrors, refuse
from ppvae.backends.mirror.functions.reductions import ValuesIndices, chosen
from ppvae.backends.mirror.running.tables import MirrorError


@mirrors(operator.getitem)
def getitem(x: Any, index: Any) -> Any:
    """Subscripts of arrays, tuples and dicts; a list inside the subscript is an array of indices."""
    if not isinstance(x, jax.Array):
        return x[index]
    parts = _parts(x, index)
    if any(isinstance(part, jax.core.Tracer) and part.dtype == jnp.bool_ for part in parts):
        return Picked(x, index)
    return x[parts]


class Picked:
    """``x[mask]``, of which nobody knows how many elements it has: it can be assigned to another array's ``[mask]``."""

    def __init__(self, whole: jax.Array, mask: Any) -> None:
        self.whole, self.mask = whole, mask

    def __getattr__(self, name: str) -> Any:
        raise MirrorError("a boolean array picks elements by their values, so that their number is unknown")


@mirrors(operator.setitem)
def setitem(x: jax.Array, index: Any, value: Any) -> jax.Array:
    """``x`` with other elements at a subscript, which may be a boolean array alone."""
    if isinstance(value, Picked):
        refuse(value.mask is not index, "elements picked by one boolean array are assigned by another")
        return jnp.where(index.reshape(index.shape + (1,) * (x.ndim - index.ndim)), value.whole, x)
    parts, value = _parts(x, index), jnp.asarray(value, x.dtype)
    parts = tuple(_known(part) for part in parts)
    while parts and isinstance(parts[-1], slice) and parts[-1] == slice(None):
        parts = parts[:-1]
    if not any(isinstance(part, jax.Array) and part.dtype == jnp.bool_ for part in parts):
        return x.at[parts].set(value)
    rest = x.ndim - parts[0].ndim if len(parts) == 1 else -1
    refuse(value.ndim > rest, "a boolean array picks elements together with others, or for values of their own")
    return jnp.where(parts[0].reshape(parts[0].shape + (1,) * rest), value, x)


def _known(part: Any) -> Any:
    """A boolean array whose values are known, as numpy's, which picks elements by itself."""
    known = isinstance(part, jax.Array) and part.dtype == jnp.bool_ and not isinstance(part, jax.core.Tracer)
    return np.asarray(part) if known else part


def _parts(x: jax.Array, index: Any) -> tuple[Any, ...]:
    """A subscript as a tuple, its lists as arrays, its plain numbers within bounds."""
    parts = tuple(
        jnp.asarray(p) if isinstance(p, list) else p for p in (index if isinstance(index, tuple) else (index,))
    )
    _check_bounds(x.shape, parts)
    return parts


def _check_bounds(shape: tuple[int, ...], parts: tuple[Any, ...]) -> None:
    """JAX fills in NaN, or the last element, where torch raises; plain numbers can be checked."""
    taken = [part for part in parts if part is not None and part is not Ellipsis]
    used = builtins.sum(_dims_used(part) for part in taken)
    dim = 0
    for part in parts:
        if part is Ellipsis:
            dim += len(shape) - used
        elif isinstance(part, int) and not isinstance(part, bool) and dim < len(shape):
            if not -shape[dim] <= part < shape[dim]:
                raise IndexError(f"index {part} is out of bounds for dim {dim} of size {shape[dim]}")
            dim += 1
        elif part is not None:
            dim += _dims_used(part)


def _dims_used(part: Any) -> int:
    boolean = isinstance(part, bool) or getattr(part, "dtype", None) == jnp.bool_
    return getattr(part, "ndim", 0) if boolean else 1


@mirrors(torch.gather)
def gather(input: jax.Array, dim: int, index: jax.Array, *, sparse_grad: bool = False) -> jax.Array:
    """An index may be shorter than the input along the other dims, and never broadcasts."""
    return jnp.take_along_axis(_corner(input, dim, index), index, dim)


def _corner(input: jax.Array, dim: int, index: jax.Array) -> jax.Array:
    dim %= input.ndim
    return input[tuple(slice(None) if d == dim else slice(n) for d, n in enumerate(index.shape))]


@mirrors(torch.take_along_dim)
def take_along_dim(input: jax.Array, indices: jax.Array, dim: int | None = None) -> jax.Array:
    return (
        jnp.take_along_axis(input.ravel(), indices.ravel(), 0)
        if dim is None
        else jnp.take_along_axis(input, indices, dim)
    )


@mirrors(torch.take)
def take(input: jax.Array, index: jax.Array) -> jax.Array:
    return jnp.take(input, index)


@mirrors(torch.index_select)
def index_select(input: jax.Array, dim: int, index: jax.Array) -> jax.Array:
    return jnp.take(input, index.reshape(-1), dim)


@mirrors(torch.narrow)
def narrow(input: jax.Array, dim: int, start: Any, length: int) -> jax.Array:
    if isinstance(start, int):
        start += input.shape[dim] if start < 0 else 0
        refuse(
            start + length > input.shape[dim], f"narrow() from {start} by {length} leaves dim {dim} of {input.shape}"
        )
    return jax.lax.dynamic_slice_in_dim(input, start, length, dim)


@mirrors(torch.select)
def select(input: jax.Array, dim: int, index: Any) -> jax.Array:
    return getitem(jnp.moveaxis(input, dim, 0), index)


def _grid(dim: int, index: jax.Array) -> tuple[jax.Array, ...]:
    """Subscripts that put element ``i`` of ``index`` at ``i`` in every dim but ``dim``."""
    places = list(jnp.indices(index.shape, sparse=True))
    places[dim] = index
    return tuple(places)


@mirrors(torch.scatter)
def scatter(input: jax.Array, dim: int, index: jax.Array, src: Any = None, *, value: Any = None) -> jax.Array:
    src = value if src is None else src
    return input.at[_grid(dim, index)].set(_corner(src, dim, index)[_all_of(dim, index)] if jnp.ndim(src) else src)


@mirrors(torch.scatter_add)
def scatter_add(input: jax.Array, dim: int, index: jax.Array, src: jax.Array) -> jax.Array:
    return input.at[_grid(dim, index)].add(_corner(src, dim, index)[_all_of(dim, index)])


def _all_of(dim: int, index: jax.Array) -> tuple[slice, ...]:
    """A source may be longer than the index along ``dim`` too."""
    return tuple(slice(n) for n in index.shape)


def _lines(input: jax.Array, dim: int, index: jax.Array) -> Any:
    return input.at[(slice(None),) * (dim % input.ndim) + (index,)]


@mirrors(torch.index_add)
def index_add(input: jax.Array, dim: int, index: jax.Array, source: jax.Array, *, alpha: float = 1) -> jax.Array:
    return _lines(input, dim, index).add(alpha * source)


@mirrors(torch.index_copy)
def index_copy(input: jax.Array, dim: int, index: jax.Array, source: jax.Array) -> jax.Array:
    return _lines(input, dim, index).set(source)


@mirrors(torch.index_fill)
def index_fill(input: jax.Array, dim: int, index: jax.Array, value: Any) -> jax.Array:
    return _lines(input, dim, index).set(value)


@mirrors(torch.masked_fill)
def masked_fill(input: jax.Array, mask: jax.Array, value: Any) -> jax.Array:
    return jnp.where(mask, jnp.asarray(value, input.dtype), input)


@mirrors(F.one_hot)
def one_hot(input: jax.Array, num_classes: int = -1) -> jax.Array:
    """Integers, unlike JAX's."""
    refuse(num_classes < 0, "one_hot() needs num_classes: it cannot be read off the values of a JAX array")
    return cast(input[..., None] == jnp.arange(num_classes), int)


@mirrors(torch.sort)
def sort(input: jax.Array, dim: int = -1, descending: bool = False, *, stable: bool = False) -> ValuesIndices:
    return chosen(input, argsort(input, dim, descending), dim, True)


@mirrors(torch.argsort)
def argsort(input: jax.Array, dim: int = -1, descending: bool = False, *, stable: bool = False) -> jax.Array:
    return cast(jnp.argsort(input, dim, descending=descending), int)


@mirrors(torch.msort)
def msort(input: jax.Array) -> jax.Array:
    return sort(input, 0).values


@mirrors(torch.topk)
def topk(input: jax.Array, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> ValuesIndices:
    refuse(k > input.shape[dim], f"topk() cannot take {k} of the {input.shape[dim]} of dim {dim}")
    order = argsort(input, dim, largest)
    return chosen(input, jax.lax.slice_in_dim(order, 0, k, axis=dim), dim, True)


@mirrors(torch.kthvalue)
def kthvalue(input: jax.Array, k: int, dim: int = -1, keepdim: bool = False) -> ValuesIndices:
    return chosen(input, jax.lax.slice_in_dim(argsort(input, dim), k - 1, k, axis=dim), dim, keepdim)


@mirrors(torch.median)
def median(input: jax.Array, dim: int | None = None, keepdim: bool = False) -> Any:
    """The lower of two middles, and NaN if there is one; the full median spreads its gradient over ties."""
    if dim is not None:
        size = input.shape[dim]
        last_is_nan = jnp.isnan(input).any(dim, keepdims=True)
        order = argsort(input, dim)
        middle, last = (jax.lax.slice_in_dim(order, i, i + 1, axis=dim) for i in ((size - 1) // 2, size - 1))
        return chosen(input, jnp.where(last_is_nan, last, middle), dim, keepdim)
    value = jax.lax.stop_gradient(median(input.ravel(), 0).values)
    ties = (input == value) | jnp.isnan(input) & jnp.isnan(value)
    spread = jnp.sum(jnp.where(ties, input - jax.lax.stop_gradient(input), 0)) / ties.sum()
    return value + spread


@mirrors(torch.searchsorted)
def searchsorted(
    sorted_sequence: jax.Array,
    input: Any,
    *,
    out_int32: bool = False,
    right: bool = False,
    side: str | None = None,
) -> jax.Array:
    refuse(sorted_sequence.ndim > 1, "searchsorted() is mirrored for one sorted sequence, not for a batch of them")
    found = jnp.searchsorted(sorted_sequence, input, side=side or ("right" if right else "left"))
    return cast(found, torch.int32 if out_int32 else torch.int64)


@mirrors(torch.bucketize)
def bucketize(input: Any, boundaries: jax.Array, *, out_int32: bool = False, right: bool = False) -> jax.Array:
    return searchsorted(boundaries, input, out_int32=out_int32, right=right)
