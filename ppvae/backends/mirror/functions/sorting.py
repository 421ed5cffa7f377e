"""Sorting: order, ranks, and extremes with their places."""

# ruff: noqa: D103 - what a rule computes is said by the torch function that it stands for

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import torch

from ppvae.backends.mirror.functions.arguments import cast, mirrors, refuse
from ppvae.backends.mirror.functions.reductions import ValuesIndices, chosen


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
    side = side or ("right" if right else "left")
    if sorted_sequence.ndim > 1:
        rows = [x.reshape(-1, x.shape[-1]) for x in (sorted_sequence, input)]
        found = jax.vmap(lambda row, x: jnp.searchsorted(row, x, side=side))(*rows).reshape(input.shape)
    else:
        found = jnp.searchsorted(sorted_sequence, input, side=side)
    return cast(found, torch.int32 if out_int32 else torch.int64)


@mirrors(torch.bucketize)
def bucketize(input: Any, boundaries: jax.Array, *, out_int32: bool = False, right: bool = False) -> jax.Array:
    return searchsorted(boundaries, input, out_int32=out_int32, right=right)


@mirrors(torch.mode)
def mode(input: jax.Array, dim: int = -1, keepdim: bool = False) -> ValuesIndices:
    """The smallest of the most frequent values, and the last of the places where it stands."""
    lines = jnp.moveaxis(jnp.atleast_1d(input), dim, -1)
    same = lines[..., :, None] == lines[..., None, :]
    count = same.sum(-1)
    frequent = jnp.where(count == count.max(-1, keepdims=True), lines, _highest(lines.dtype))
    value = frequent.min(-1, keepdims=True)
    place = lines.shape[-1] - 1 - jnp.argmax((lines == value)[..., ::-1], -1, keepdims=True)
    return chosen(input, cast(jnp.moveaxis(place, -1, dim), int), dim, keepdim)


def _highest(dtype: Any) -> Any:
    return jnp.inf if jnp.issubdtype(dtype, jnp.floating) else jnp.iinfo(dtype).max


def _running(better: Callable[[Any, Any], Any]) -> Callable[..., ValuesIndices]:
    """The extremes so far, and the last place of each."""

    def keep(left: Any, right: Any) -> Any:
        (x, i), (y, j) = left, right
        later = better(y, x) | jnp.isnan(y)
        return jnp.where(later, y, x), jnp.where(later, j, i)

    def rule(input: jax.Array, dim: int) -> ValuesIndices:
        places = jax.lax.broadcasted_iota(jnp.dtype(int), input.shape, dim % input.ndim)
        _, order = jax.lax.associative_scan(keep, (jax.lax.stop_gradient(input), places), axis=dim % input.ndim)
        return chosen(input, order, dim, True)

    return rule


mirrors(torch.cummax)(_running(jnp.greater_equal))
mirrors(torch.cummin)(_running(jnp.less_equal))


@mirrors(torch.isin)
def isin(elements: Any, test_elements: Any, *, assume_unique: bool = False, invert: bool = False) -> jax.Array:
    return jnp.isin(elements, test_elements, assume_unique, invert)
