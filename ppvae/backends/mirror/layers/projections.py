"""Projections: orthogonal columns as a product of reflections, and the inverse of what is not square."""

# ruff: noqa: D103 - what a rule computes is said by the torch function that it stands for

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import torch

from ppvae.backends.mirror.functions.arguments import mirrors, refuse


@mirrors(torch.linalg.householder_product)
def householder_product(input: jax.Array, tau: jax.Array) -> jax.Array:
    """The first columns of a product of reflections, applied to those of the identity from the last to the first."""
    rows, columns = input.shape[-2:]
    vectors = jnp.tril(input, -1) + jnp.eye(rows, columns, dtype=input.dtype)

    def reflected(product: jax.Array, each: Any) -> tuple[jax.Array, None]:
        vector, weight = each
        along = jnp.einsum("...i,...ij->...j", vector, product)
        return product - weight[..., None, None] * vector[..., None] * along[..., None, :], None

    start = jnp.broadcast_to(jnp.eye(rows, columns, dtype=input.dtype), input.shape)
    each = jnp.moveaxis(vectors[..., : tau.shape[-1]], -1, 0), jnp.moveaxis(tau, -1, 0)
    return jax.lax.scan(reflected, start, each, reverse=True)[0]


@mirrors(torch.linalg.pinv)
def pinv(A: jax.Array, rcond: Any = None, hermitian: bool = False, atol: Any = None, rtol: Any = None) -> jax.Array:
    refuse(atol is not None, "pinv() has a mirror without atol alone")
    least = rcond if rtol is None else rtol
    return jnp.linalg.pinv(A, max(A.shape[-2:]) * jnp.finfo(A.dtype).eps if least is None else least, hermitian)
