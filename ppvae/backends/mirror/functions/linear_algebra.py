"""Linear algebra: products of matrices, solutions, decompositions and determinants."""

# ruff: noqa: D103 - what a rule computes is said by the torch function that it stands for

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import jax.scipy.linalg as scipy
import torch

from ppvae.backends.mirror.functions.arguments import alike, mirrors, refuse


class SignLogdet(NamedTuple):
    """What torch returns for the logarithm of a determinant."""

    sign: jax.Array
    logabsdet: jax.Array


class Eigen(NamedTuple):
    """What torch returns for a symmetric eigenproblem."""

    eigenvalues: jax.Array
    eigenvectors: jax.Array


class Svd(NamedTuple):
    """What torch returns for a singular value decomposition."""

    U: jax.Array
    S: jax.Array
    Vh: jax.Array


class Qr(NamedTuple):
    """What torch returns for a QR decomposition."""

    Q: jax.Array
    R: jax.Array


def _product(name: str, ndims: tuple[int, int]) -> Callable[[Any, Any], jax.Array]:
    def rule(input: jax.Array, mat2: jax.Array) -> jax.Array:
        _check_dims(name, (input, mat2), ndims)
        return jnp.matmul(input, mat2)

    return rule


def _check_dims(name: str, arrays: Sequence[jax.Array], ndims: tuple[int, ...]) -> None:
    """torch's narrow products refuse what ``jnp.matmul`` would broadcast."""
    got = tuple(array.ndim for array in arrays)
    refuse(got != ndims, f"{name}() takes arrays of {ndims} dims, got {got}; use matmul")
    alike(*arrays)


mirrors(torch.mm)(_product("mm", (2, 2)))
mirrors(torch.bmm)(_product("bmm", (3, 3)))


@mirrors(torch.matmul, torch.linalg.matmul)
def matmul(input: jax.Array, other: jax.Array) -> jax.Array:
    alike(input, other)
    return jnp.matmul(input, other)


@mirrors(torch.mv)
def mv(input: jax.Array, vec: jax.Array) -> jax.Array:
    _check_dims("mv", (input, vec), (2, 1))
    return jnp.matmul(input, vec)


@mirrors(torch.dot)
def dot(input: jax.Array, tensor: jax.Array) -> jax.Array:
    _check_dims("dot", (input, tensor), (1, 1))
    return jnp.dot(input, tensor)


@mirrors(torch.vdot)
def vdot(input: jax.Array, other: jax.Array) -> jax.Array:
    _check_dims("vdot", (input, other), (1, 1))
    return jnp.vdot(input, other)


@mirrors(torch.inner)
def inner(input: jax.Array, other: jax.Array) -> jax.Array:
    return jnp.inner(input, other)


@mirrors(torch.outer, torch.ger)
def outer(input: jax.Array, vec2: jax.Array) -> jax.Array:
    _check_dims("outer", (input, vec2), (1, 1))
    return jnp.outer(input, vec2)


@mirrors(torch.linalg.vecdot)
def vecdot(x: jax.Array, y: jax.Array, *, dim: int = -1) -> jax.Array:
    return jnp.vecdot(x, y, axis=dim)


@mirrors(torch.kron)
def kron(input: jax.Array, other: jax.Array) -> jax.Array:
    return jnp.kron(input, other)


@mirrors(torch.cross)
def cross(input: jax.Array, other: jax.Array, dim: int | None = None) -> jax.Array:
    """Along the first dim of size 3."""
    return linalg_cross(input, other, dim=input.shape.index(3) if dim is None else dim)


@mirrors(torch.linalg.cross)
def linalg_cross(input: jax.Array, other: jax.Array, *, dim: int = -1) -> jax.Array:
    return jnp.cross(input, other, axis=dim)


@mirrors(torch.tensordot)
def tensordot(a: jax.Array, b: jax.Array, dims: Any = 2) -> jax.Array:
    alike(a, b)
    return jnp.tensordot(a, b, dims if isinstance(dims, int) else tuple(map(tuple, dims)))


@mirrors(torch.einsum)
def einsum(equation: str, *operands: Any) -> jax.Array:
    listed = len(operands) == 1 and isinstance(operands[0], Sequence)
    arrays = operands[0] if listed else operands
    alike(*arrays)
    return jnp.einsum(equation, *arrays)


@mirrors(torch.addmm)
def addmm(input: Any, mat1: Any, mat2: Any, *, beta: float = 1, alpha: float = 1) -> jax.Array:
    return _added(input, matmul(mat1, mat2), beta, alpha)


@mirrors(torch.addmv)
def addmv(input: Any, mat: Any, vec: Any, *, beta: float = 1, alpha: float = 1) -> jax.Array:
    return _added(input, matmul(mat, vec), beta, alpha)


@mirrors(torch.addr)
def addr(input: Any, vec1: Any, vec2: Any, *, beta: float = 1, alpha: float = 1) -> jax.Array:
    return _added(input, jnp.outer(vec1, vec2), beta, alpha)


@mirrors(torch.baddbmm)
def baddbmm(input: Any, batch1: Any, batch2: Any, *, beta: float = 1, alpha: float = 1) -> jax.Array:
    return _added(input, matmul(batch1, batch2), beta, alpha)


@mirrors(torch.addbmm)
def addbmm(input: Any, batch1: Any, batch2: Any, *, beta: float = 1, alpha: float = 1) -> jax.Array:
    return _added(input, matmul(batch1, batch2).sum(0), beta, alpha)


def _added(input: Any, product: jax.Array, beta: float, alpha: float) -> jax.Array:
    """With ``beta=0`` torch does not look at ``input``, not even at its NaN."""
    alike(input, product)
    return alpha * product if isinstance(beta, (int, float)) and beta == 0 else beta * input + alpha * product


@mirrors(torch.trace)
def trace(input: jax.Array) -> jax.Array:
    return jnp.trace(input)


@mirrors(torch.inverse)
def inverse(input: jax.Array) -> jax.Array:
    return jnp.linalg.inv(input)


@mirrors(torch.linalg.inv)
def inv(A: jax.Array) -> jax.Array:
    return jnp.linalg.inv(A)


@mirrors(torch.pinverse)
def pinverse(input: jax.Array, rcond: float = 1e-15) -> jax.Array:
    return jnp.linalg.pinv(input, rtol=rcond)


@mirrors(torch.det)
def det(input: jax.Array) -> jax.Array:
    return jnp.linalg.det(input)


@mirrors(torch.linalg.det)
def linalg_det(A: jax.Array) -> jax.Array:
    return jnp.linalg.det(A)


@mirrors(torch.logdet)
def logdet(input: jax.Array) -> jax.Array:
    """NaN where the determinant is negative."""
    sign, value = jnp.linalg.slogdet(input)
    return jnp.where(sign < 0, jnp.nan, value)


@mirrors(torch.slogdet)
def slogdet(input: jax.Array) -> SignLogdet:
    return SignLogdet(*jnp.linalg.slogdet(input))


@mirrors(torch.linalg.slogdet)
def linalg_slogdet(A: jax.Array) -> SignLogdet:
    return SignLogdet(*jnp.linalg.slogdet(A))


@mirrors(torch.cholesky)
def cholesky(input: jax.Array, upper: bool = False) -> jax.Array:
    return jnp.linalg.cholesky(input, upper=upper)


@mirrors(torch.linalg.cholesky)
def linalg_cholesky(A: jax.Array, *, upper: bool = False) -> jax.Array:
    return jnp.linalg.cholesky(A, upper=upper)


@mirrors(torch.cholesky_solve)
def cholesky_solve(B: jax.Array, L: jax.Array, upper: bool = False) -> jax.Array:
    half = solve_triangular(L.mT if upper else L, B, upper=False)
    return solve_triangular(L if upper else L.mT, half, upper=True)


@mirrors(torch.cholesky_inverse)
def cholesky_inverse(L: jax.Array, upper: bool = False) -> jax.Array:
    return cholesky_solve(jnp.eye(L.shape[-1], dtype=L.dtype), L, upper)


@mirrors(torch.linalg.solve)
def solve(A: jax.Array, B: jax.Array, *, left: bool = True) -> jax.Array:
    """``B`` is a batch of vectors where its shape is that of ``A`` less the last dim."""
    if B.ndim == 1 or B.shape == A.shape[:-1]:
        refuse(not left, "solve(left=False) needs a matrix on the right-hand side")
        return jnp.linalg.solve(A, B[..., None])[..., 0]
    return jnp.linalg.solve(A, B) if left else jnp.linalg.solve(A.mT, B.mT).mT


@mirrors(torch.linalg.solve_triangular)
def solve_triangular(
    A: jax.Array, B: jax.Array, *, upper: bool, left: bool = True, unitriangular: bool = False
) -> jax.Array:
    batch = jnp.broadcast_shapes(A.shape[:-2], B.shape[:-2])
    A, B = (jnp.broadcast_to(x, (*batch, *x.shape[-2:])) for x in (A, B))
    return jax.lax.linalg.triangular_solve(A, B, left_side=left, lower=not upper, unit_diagonal=unitriangular)


@mirrors(torch.linalg.eigh)
def eigh(A: jax.Array, UPLO: str = "L") -> Eigen:
    return Eigen(*jnp.linalg.eigh(A, UPLO))


@mirrors(torch.linalg.eigvalsh)
def eigvalsh(A: jax.Array, UPLO: str = "L") -> jax.Array:
    return jnp.linalg.eigvalsh(A, UPLO)


@mirrors(torch.linalg.svd)
def svd(A: jax.Array, full_matrices: bool = True) -> Svd:
    return Svd(*jnp.linalg.svd(A, full_matrices))


@mirrors(torch.linalg.svdvals)
def svdvals(A: jax.Array) -> jax.Array:
    return jnp.linalg.svdvals(A)


@mirrors(torch.linalg.qr)
def qr(A: jax.Array, mode: str = "reduced") -> Qr:
    return Qr(*jnp.linalg.qr(A, mode))


@mirrors(torch.matrix_power)
def matrix_power(input: jax.Array, n: int) -> jax.Array:
    return jnp.linalg.matrix_power(input, n)


@mirrors(torch.linalg.matrix_power)
def linalg_matrix_power(A: jax.Array, n: int) -> jax.Array:
    return jnp.linalg.matrix_power(A, n)


@mirrors(torch.matrix_exp)
def matrix_exp(input: jax.Array) -> jax.Array:
    return scipy.expm(input)


@mirrors(torch.linalg.matrix_exp)
def linalg_matrix_exp(A: jax.Array) -> jax.Array:
    return scipy.expm(A)


@mirrors(torch.linalg.multi_dot)
def multi_dot(tensors: Sequence[jax.Array]) -> jax.Array:
    return jnp.linalg.multi_dot(list(tensors))
