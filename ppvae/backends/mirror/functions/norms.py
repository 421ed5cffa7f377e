"""Norms: of vectors and matrices, and the distances built on them; their gradient is zero where they are zero."""

# ruff: noqa: D103 - what a rule computes is said by the torch function that it stands for

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import torch
import torch.nn.functional as F

from ppvae.backends.mirror.functions.arguments import Dims, Dtype, axes, cast, mirrors
from ppvae.backends.mirror.functions.elementwise import magnitude


def root(x: jax.Array) -> jax.Array:
    """The square root of a sum of squares, whose gradient torch sets to zero where the sum is zero."""
    return jnp.where(x == 0, 0, jnp.sqrt(jnp.where(x == 0, 1, x)))


@mirrors(torch.linalg.vector_norm)
def vector_norm(
    x: jax.Array, ord: Any = 2, dim: Dims = None, keepdim: bool = False, *, dtype: Dtype = None
) -> jax.Array:
    """``(sum |x|^ord)^(1/ord)``, with gradient zero where the norm is zero."""
    x, ord = cast(x, dtype), float(ord)
    axis, size = axes(dim), magnitude(x)
    if ord in (float("inf"), float("-inf")):
        return (jnp.max if ord > 0 else jnp.min)(size, axis, keepdims=keepdim)
    if ord == 0:
        return jnp.sum(x != 0, axis, keepdims=keepdim, dtype=x.dtype)
    if ord == 1:
        return jnp.sum(size, axis, keepdims=keepdim)
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
def cdist(
    x1: jax.Array, x2: jax.Array, p: float = 2.0, compute_mode: str = "use_mm_for_euclid_dist_if_necessary"
) -> jax.Array:
    return vector_norm(x1[..., :, None, :] - x2[..., None, :, :], p, -1)


@mirrors(torch.norm_except_dim)
def norm_except_dim(v: jax.Array, pow: int = 2, dim: int = 0) -> jax.Array:
    """The norm of each slice along ``dim``, of everything for -1."""
    rest = tuple(axis for axis in range(v.ndim + 1) if axis != dim)  # of a vector none would be left, but for the last
    return vector_norm(v, pow) if dim == -1 else vector_norm(v[..., None], pow, rest, True)[..., 0]


@mirrors(torch._weight_norm)
def weight_norm(v: jax.Array, g: jax.Array, dim: int = 0) -> jax.Array:
    return v * (g / norm_except_dim(v, 2, dim))
