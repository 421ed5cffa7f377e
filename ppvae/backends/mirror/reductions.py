"""Reductions: sums, moments, extremes, norms, cumulative sums and softmax."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import torch
import torch.nn.functional as F

from ppvae.backends.mirror.arguments import Dims, Dtype, axes, cast, floating, mirrors, namesakes
from ppvae.backends.mirror.elementwise import sign


class ValuesIndices(NamedTuple):
    """What torch returns for the extremes along a dim."""

    values: jax.Array
    indices: jax.Array


def _summable(input: Any, dtype: Dtype) -> jax.Array:
    """Sums and products of integers and booleans are int64."""
    input = jnp.asarray(input)
    return cast(input, int if dtype is None and not jnp.issubdtype(input.dtype, jnp.inexact) else dtype)


@mirrors(torch.sum)
def sum(input: jax.Array, dim: Dims = None, keepdim: bool = False, *, dtype: Dtype = None) -> jax.Array:
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


def root(x: jax.Array) -> jax.Array:
    """The square root of a sum of squares, whose gradient torch sets to zero where the sum is zero."""
    return jnp.where(x == 0, 0, jnp.sqrt(jnp.where(x == 0, 1, x)))


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
def max(input: jax.Array, dim: Any = None, keepdim: bool = False, *, other: Any = None) -> Any:
    """The maximum of all, the pair (values, indices) along a dim, or the larger of two arrays."""
    if isinstance(dim, int):
        return chosen(input, argmax(input, dim, True), dim, keepdim)
    other = dim if other is None else other
    return amax(input) if other is None else jnp.maximum(input, other)


@mirrors(torch.min)
def min(input: jax.Array, dim: Any = None, keepdim: bool = False, *, other: Any = None) -> Any:
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
def any(input: jax.Array, dim: Dims = None, keepdim: bool = False) -> jax.Array:
    return jnp.any(input, axes(dim), keepdims=keepdim)


@mirrors(torch.all)
def all(input: jax.Array, dim: Dims = None, keepdim: bool = False) -> jax.Array:
    return jnp.all(input, axes(dim), keepdims=keepdim)


@mirrors(torch.count_nonzero)
def count_nonzero(input: jax.Array, dim: Dims = None) -> jax.Array:
    return cast(jnp.count_nonzero(input, axes(dim)), int)


@mirrors(*namesakes("logsumexp"))
def logsumexp(input: jax.Array, dim: Dims, keepdim: bool = False) -> jax.Array:
    return jax.nn.logsumexp(floating(input), axes(dim), keepdims=keepdim)


@mirrors(torch.softmax, torch.special.softmax)
def softmax(input: jax.Array, dim: int, dtype: Dtype = None) -> jax.Array:
    return jax.nn.softmax(cast(input, dtype), dim)


@mirrors(torch.log_softmax, torch.special.log_softmax)
def log_softmax(input: jax.Array, dim: int, dtype: Dtype = None) -> jax.Array:
    return jax.nn.log_softmax(cast(input, dtype), dim)


@mirrors(torch.cumsum)
def cumsum(input: jax.Array, dim: int, *, dtype: Dtype = None) -> jax.Array:
    return jnp.cumsum(_summable(input, dtype), dim)


@mirrors(torch.cumprod)
def cumprod(input: jax.Array, dim: int, *, dtype: Dtype = None) -> jax.Array:
    return jnp.cumprod(_summable(input, dtype), dim)


@mirrors(torch.logcumsumexp)
def logcumsumexp(input: jax.Array, dim: int) -> jax.Array:
    return jax.lax.cumlogsumexp(input, dim % input.ndim)


@mirrors(torch.linalg.vector_norm)
def vector_norm(
    x: jax.Array, ord: Any = 2, dim: Dims = None, keepdim: bool = False, *, dtype: Dtype = None
) -> jax.Array:
    """``(sum |x|^ord)^(1/ord)``, with gradient zero where the norm is zero."""
    x, ord = cast(x, dtype), float(ord)
    axis, size = axes(dim), abs(x)
    if ord in (float("inf"), float("-inf")):
        return (jnp.max if ord > 0 else jnp.min)(size, axis, keepdims=keepdim)
    if ord == 0:
        return jnp.sum(x != 0, axis, keepdims=keepdim, dtype=x.dtype)
    if ord == 1:
        return jnp.sum(x * jax.lax.stop_gradient(sign(x)), axis, keepdims=keepdim)
    if ord == 2:
        return root(jnp.sum(x * x, axis, keepdims=keepdim))
    powers = jnp.where(size == 0, 0 if ord > 0 else jnp.inf, jnp.where(size == 0, 1, size) ** ord)
    total = jnp.sum(powers, axis, keepdims=keepdim)
    degenerate = (total == 0) | jnp.isinf(total)
    return jnp.where(degenerate, total ** jnp.sign(ord), jnp.where(degenerate, 1, total) ** (1 / ord))


@mirrors(torch.linalg.matrix_norm)
def matrix_norm(
    A: jax.Array, ord: Any = "fro", dim: Any = (-2, -1), keepdim: bool = False, *, dtype: Dtype = None
) -> jax.Array:
    if ord == "fro":
        return vector_norm(A, 2, dim, keepdim, dtype=dtype)
    return jnp.linalg.norm(cast(A, dtype), ord, tuple(dim), keepdims=keepdim)


@mirrors(torch.linalg.norm)
def linalg_norm(
    A: jax.Array, ord: Any = None, dim: Dims = None, keepdim: bool = False, *, dtype: Dtype = None
) -> jax.Array:
    """Without ``ord`` a vector norm over everything; with it a matrix norm wherever two dims are meant."""
    if ord is None:
        return vector_norm(A, 2, dim, keepdim, dtype=dtype)
    pair = tuple(range(A.ndim)) if dim is None else dim
    if isinstance(pair, int) or len(pair) != 2:
        return vector_norm(A, ord, pair, keepdim, dtype=dtype)
    return matrix_norm(A, ord, pair, keepdim, dtype=dtype)


@mirrors(torch.norm)
def norm(
    input: jax.Array, p: Any = "fro", dim: Dims = None, keepdim: bool = False, out: None = None, dtype: Dtype = None
) -> jax.Array:
    """Always a norm of vectors, whatever the number of dims (but for the nuclear one)."""
    if p == "nuc":
        return matrix_norm(input, "nuc", (-2, -1) if dim is None else dim, keepdim, dtype=dtype)
    return vector_norm(input, 2 if p in ("fro", None) else p, dim, keepdim, dtype=dtype)


@mirrors(torch.dist)
def dist(input: jax.Array, other: jax.Array, p: float = 2) -> jax.Array:
    return vector_norm(input - other, p)


@mirrors(F.cosine_similarity)
def cosine_similarity(x1: jax.Array, x2: jax.Array, dim: int = 1, eps: float = 1e-08) -> jax.Array:
    """Each norm is kept above ``eps`` by itself, without a gradient through the bound."""
    x1, x2 = jnp.broadcast_arrays(x1, x2)
    scaled = [x / jnp.maximum(vector_norm(x, 2, dim, True), eps) for x in (x1, x2)]
    return jnp.sum(scaled[0] * scaled[1], dim)


@mirrors(F.pairwise_distance)
def pairwise_distance(
    x1: jax.Array, x2: jax.Array, p: float = 2.0, eps: float = 1e-06, keepdim: bool = False
) -> jax.Array:
    return vector_norm(x1 - x2 + eps, p, -1, keepdim)


@mirrors(torch.cdist)
def cdist(x1: jax.Array, x2: jax.Array, p: float = 2.0, compute_mode: str | None = None) -> jax.Array:
    return vector_norm(x1[..., :, None, :] - x2[..., None, :, :], p, -1)


@mirrors(torch.quantile)
def quantile(
    input: jax.Array, q: Any, dim: int | None = None, keepdim: bool = False, *, interpolation: str = "linear"
) -> jax.Array:
    return jnp.quantile(input, jnp.asarray(q, input.dtype), dim, keepdims=keepdim, method=interpolation)


@mirrors(torch.diff)
def diff(
    input: jax.Array, n: int = 1, dim: int = -1, prepend: Any = None, append: Any = None
) -> jax.Array:
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


