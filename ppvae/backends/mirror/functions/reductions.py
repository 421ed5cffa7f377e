"""Reductions: sums, moments, extremes, quantiles, cumulative sums and softmax."""

# ruff: noqa: D103 - what a rule computes is said by the torch function that it stands for

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import torch

from ppvae.backends.mirror.functions.arguments import Dims, Dtype, axes, cast, floating, mirrors, namesakes
from ppvae.backends.mirror.functions.norms import root


class ValuesIndices(NamedTuple):
    """What torch returns for the extremes along a dim."""

    values: jax.Array
    indices: jax.Array


def _summable(input: Any, dtype: Dtype) -> jax.Array:
    """Sums and products of integers and booleans are int64."""
    input = jnp.asarray(input)
    return cast(input, int if dtype is None and not jnp.issubdtype(input.dtype, jnp.inexact) else dtype)


@mirrors(torch.sum)
def sum_(input: jax.Array, dim: Dims = None, keepdim: bool = False, *, dtype: Dtype = None) -> jax.Array:
    return jnp.sum(_summable(input, dtype), axes(dim), keepdims=keepdim)


@mirrors(torch.nansum)
def nansum(input: jax.Array, dim: Dims = None, keepdim: bool = False, *, dtype: Dtype = None) -> jax.Array:
    return jnp.nansum(_summable(input, dtype), axes(dim), keepdims=keepdim)


@mirrors(torch.prod)
def prod(input: jax.Array, dim: int | None = None, keepdim: bool = False, *, dtype: Dtype = None) -> jax.Array:
    return jnp.prod(_summable(input, dtype), dim, keepdims=keepdim)


@mirrors(torch.mean)
def mean(input: jax.Array, dim: Dims = None, keepdim: bool = False, *, dtype: Dtype = None) -> jax.Array:
    return jnp.mean(cast(input, dtype), axes(dim), keepdims=keepdim)


@mirrors(torch.nanmean)
def nanmean(input: jax.Array, dim: Dims = None, keepdim: bool = False, *, dtype: Dtype = None) -> jax.Array:
    return jnp.nanmean(cast(input, dtype), axes(dim), keepdims=keepdim)


@mirrors(torch.var_mean)
def var_mean(
    input: jax.Array,
    dim: Dims | bool = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> tuple[jax.Array, jax.Array]:
    if isinstance(dim, bool):  # torch's other signature: var(input, unbiased)
        dim, unbiased = None, dim
    correction = float(unbiased is not False) if correction is None else correction
    centre = jnp.mean(input, axes(dim), keepdims=True)
    squares = jnp.sum((input - centre) ** 2, axes(dim), keepdims=keepdim)
    freedom = jnp.maximum(input.size // max(centre.size, 1) - correction, 0).astype(squares.dtype)
    return squares / freedom, centre.reshape(squares.shape)


@mirrors(torch.var)
def var(
    input: jax.Array,
    dim: Dims | bool = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> jax.Array:
    return var_mean(input, dim, unbiased, keepdim, correction=correction)[0]


@mirrors(torch.std)
def std(
    input: jax.Array,
    dim: Dims | bool = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> jax.Array:
    return root(var(input, dim, unbiased, keepdim, correction=correction))


@mirrors(torch.std_mean)
def std_mean(
    input: jax.Array,
    dim: Dims | bool = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> tuple[jax.Array, jax.Array]:
    variance, centre = var_mean(input, dim, unbiased, keepdim, correction=correction)
    return root(variance), centre


@mirrors(torch.amax)
def amax(input: jax.Array, dim: Dims = (), keepdim: bool = False) -> jax.Array:
    return jnp.max(input, axes(dim), keepdims=keepdim)


@mirrors(torch.amin)
def amin(input: jax.Array, dim: Dims = (), keepdim: bool = False) -> jax.Array:
    return jnp.min(input, axes(dim), keepdims=keepdim)


@mirrors(torch.aminmax)
def aminmax(input: jax.Array, *, dim: int | None = None, keepdim: bool = False) -> tuple[jax.Array, jax.Array]:
    return _MinMax(amin(input, dim, keepdim), amax(input, dim, keepdim))


class _MinMax(NamedTuple):
    min: jax.Array
    max: jax.Array


@mirrors(torch.argmax)
def argmax(input: jax.Array, dim: int | None = None, keepdim: bool = False) -> jax.Array:
    return cast(jnp.argmax(input, dim, keepdims=keepdim), int)


@mirrors(torch.argmin)
def argmin(input: jax.Array, dim: int | None = None, keepdim: bool = False) -> jax.Array:
    return cast(jnp.argmin(input, dim, keepdims=keepdim), int)


@mirrors(torch.max)
def max_(input: jax.Array, dim: Any = None, keepdim: bool = False, *, other: Any = None) -> Any:
    """The maximum of all, the pair (values, indices) along a dim, or the larger of two arrays."""
    if isinstance(dim, int):
        return chosen(input, argmax(input, dim, True), dim, keepdim)
    other = dim if other is None else other
    return amax(input) if other is None else jnp.maximum(input, other)


@mirrors(torch.min)
def min_(input: jax.Array, dim: Any = None, keepdim: bool = False, *, other: Any = None) -> Any:
    """The minimum of all, the pair (values, indices) along a dim, or the smaller of two arrays."""
    if isinstance(dim, int):
        return chosen(input, argmin(input, dim, True), dim, keepdim)
    other = dim if other is None else other
    return amin(input) if other is None else jnp.minimum(input, other)


def chosen(input: jax.Array, indices: jax.Array, dim: int, keepdim: bool) -> ValuesIndices:
    """The elements at ``indices`` (one per line): the whole gradient goes to them, ties or not."""
    values = jnp.take_along_axis(input, indices, dim)
    pair = (values, indices) if keepdim else (values.squeeze(dim), indices.squeeze(dim))
    return ValuesIndices(*pair)


@mirrors(torch.any)
def any_(input: jax.Array, dim: Dims = None, keepdim: bool = False) -> jax.Array:
    return jnp.any(input, axes(dim), keepdims=keepdim)


@mirrors(torch.all)
def all_(input: jax.Array, dim: Dims = None, keepdim: bool = False) -> jax.Array:
    return jnp.all(input, axes(dim), keepdims=keepdim)


@mirrors(torch.count_nonzero)
def count_nonzero(input: jax.Array, dim: Dims = None) -> jax.Array:
    return cast(jnp.count_nonzero(input, axes(dim)), int)


@mirrors(*namesakes("logsumexp"))
def logsumexp(input: jax.Array, dim: Dims, keepdim: bool = False) -> jax.Array:
    whole = jnp.ndim(input) == 0
    return jax.nn.logsumexp(floating(input), None if whole else axes(dim), keepdims=keepdim)


@mirrors(torch.softmax, torch.special.softmax)
def softmax(input: jax.Array, dim: int, dtype: Dtype = None) -> jax.Array:
    x = cast(input, dtype)
    return jax.nn.softmax(jnp.atleast_1d(x), dim).reshape(x.shape)


@mirrors(torch.log_softmax, torch.special.log_softmax)
def log_softmax(input: jax.Array, dim: int, dtype: Dtype = None) -> jax.Array:
    x = cast(input, dtype)
    return jax.nn.log_softmax(jnp.atleast_1d(x), dim).reshape(x.shape)


@mirrors(torch.cumsum)
def cumsum(input: jax.Array, dim: int, *, dtype: Dtype = None) -> jax.Array:
    return jnp.cumsum(_summable(input, dtype), dim)


@mirrors(torch.cumprod)
def cumprod(input: jax.Array, dim: int, *, dtype: Dtype = None) -> jax.Array:
    return jnp.cumprod(_summable(input, dtype), dim)


@mirrors(torch.logcumsumexp)
def logcumsumexp(input: jax.Array, dim: int) -> jax.Array:
    return jax.lax.cumlogsumexp(input, dim % input.ndim)


@mirrors(torch.quantile)
def quantile(
    input: jax.Array, q: Any, dim: int | None = None, keepdim: bool = False, *, interpolation: str = "linear"
) -> jax.Array:
    """Halves go to the even neighbour for "nearest", and to the lower one in JAX."""
    lines = input.reshape(-1) if dim is None else jnp.moveaxis(input, dim, -1)
    rank = jnp.asarray(q, input.dtype) * (lines.shape[-1] - 1)
    low, high = jnp.floor(rank), jnp.ceil(rank)
    if interpolation in _NEIGHBOURS:
        low = high = _NEIGHBOURS[interpolation](rank)
    weight = 0.5 if interpolation == "midpoint" else rank - low
    ordered = jnp.sort(lines, -1)
    below, above = (jnp.take(ordered, place.astype(int), -1) for place in (low, high))
    value = jnp.where(
        jnp.isnan(ordered[..., -1:]).reshape(lines.shape[:-1] + (1,) * rank.ndim),
        jnp.nan,
        below + weight * (above - below),
    )
    value = jnp.moveaxis(value, -1, 0) if rank.ndim else value
    if not keepdim:
        return value
    places = tuple(range(rank.ndim, rank.ndim + input.ndim)) if dim is None else rank.ndim + dim % input.ndim
    return jnp.expand_dims(value, places)


_NEIGHBOURS = {"lower": jnp.floor, "higher": jnp.ceil, "nearest": jnp.round}


@mirrors(torch.diff)
def diff(input: jax.Array, n: int = 1, dim: int = -1, prepend: Any = None, append: Any = None) -> jax.Array:
    return jnp.diff(input, n, dim, prepend, append)


@mirrors(torch.trapezoid, torch.trapz)
def trapezoid(y: jax.Array, x: Any = None, *, dx: float = 1, dim: int = -1) -> jax.Array:
    return jnp.trapezoid(y, x, dx, dim)


@mirrors(torch.cov)
def cov(input: jax.Array, *, correction: int = 1, fweights: Any = None, aweights: Any = None) -> jax.Array:
    return jnp.cov(input, ddof=correction, fweights=fweights, aweights=aweights)


@mirrors(torch.corrcoef)
def corrcoef(input: jax.Array) -> jax.Array:
    return jnp.corrcoef(input)
