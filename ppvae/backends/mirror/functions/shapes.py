"""Shapes: reshaping, moving, joining, splitting and repeating; no value changes."""

# ruff: noqa: D103 - what a rule computes is said by the torch function that it stands for

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any

import jax
import jax.numpy as jnp
import torch

from ppvae.backends.devices.materialised import materialised
from ppvae.backends.mirror.functions.arguments import mirrors, refuse

Arrays = tuple[jax.Array, ...]


@mirrors(torch.reshape)
def reshape(input: jax.Array, shape: Sequence[int]) -> jax.Array:
    return jnp.reshape(input, tuple(shape))


@mirrors(torch.flatten)
def flatten(input: jax.Array, start_dim: int = 0, end_dim: int = -1) -> jax.Array:
    if input.ndim == 0:
        return input.reshape(1)
    start, end = start_dim % input.ndim, end_dim % input.ndim
    refuse(start > end, "flatten() needs start_dim <= end_dim")
    shape = input.shape
    return input.reshape(*shape[:start], math.prod(shape[start : end + 1]), *shape[end + 1 :])


@mirrors(torch.unflatten)
def unflatten(input: jax.Array, dim: int, sizes: Sequence[int]) -> jax.Array:
    dim, sizes = dim % input.ndim, list(sizes)
    if -1 in sizes:
        sizes[sizes.index(-1)] = input.shape[dim] // -math.prod(sizes)
    return input.reshape(*input.shape[:dim], *sizes, *input.shape[dim + 1 :])


@mirrors(torch.ravel)
def ravel(input: jax.Array) -> jax.Array:
    return jnp.ravel(input)


@mirrors(torch.permute)
def permute(input: jax.Array, dims: Sequence[int]) -> jax.Array:
    return jnp.transpose(input, tuple(dims))


@mirrors(torch.transpose)
def transpose(input: jax.Array, dim0: int, dim1: int) -> jax.Array:
    return jnp.swapaxes(input, dim0, dim1)


@mirrors(torch.swapaxes)
def swapaxes(input: jax.Array, axis0: int, axis1: int) -> jax.Array:
    return jnp.swapaxes(input, axis0, axis1)


@mirrors(torch.swapdims)
def swapdims(input: jax.Array, dim0: int, dim1: int) -> jax.Array:
    return jnp.swapaxes(input, dim0, dim1)


@mirrors(torch.t)
def t(input: jax.Array) -> jax.Array:
    refuse(input.ndim > 2, "t() is for at most two dims; use transpose")
    return input.T


@mirrors(torch.movedim, torch.moveaxis)
def movedim(input: jax.Array, source: Any, destination: Any) -> jax.Array:
    return jnp.moveaxis(input, source, destination)


@mirrors(torch.squeeze)
def squeeze(input: jax.Array, dim: int | Sequence[int] | None = None) -> jax.Array:
    """Dims whose size is not 1 stay as they are."""
    if dim is None:
        return jnp.squeeze(input)
    dims = [dim] if isinstance(dim, int) else dim
    return jnp.squeeze(input, tuple(d for d in dims if input.ndim and input.shape[d] == 1))


@mirrors(torch.unsqueeze)
def unsqueeze(input: jax.Array, dim: int) -> jax.Array:
    return jnp.expand_dims(input, dim)


@mirrors(torch.broadcast_to)
def broadcast_to(input: jax.Array, size: Sequence[int]) -> jax.Array:
    """-1 keeps a size."""
    new = len(size) - input.ndim
    return jnp.broadcast_to(input, [input.shape[i - new] if n == -1 else n for i, n in enumerate(size)])


@mirrors(torch.broadcast_tensors)
def broadcast_tensors(*tensors: Any) -> Arrays:
    return tuple(jnp.broadcast_arrays(*_unpacked(tensors)))


@mirrors(torch.broadcast_shapes)
def broadcast_shapes(*shapes: Any) -> tuple[int, ...]:
    return jnp.broadcast_shapes(*((shape,) if isinstance(shape, int) else tuple(shape) for shape in shapes))


def _unpacked(tensors: Sequence[Any]) -> Sequence[Any]:
    """Arrays given as ``f(a, b)`` or as ``f([a, b])``."""
    return tensors[0] if len(tensors) == 1 and isinstance(tensors[0], Sequence) else tensors


@mirrors(torch.tile)
def tile(input: jax.Array, dims: Sequence[int]) -> jax.Array:
    return jnp.tile(input, tuple(dims))


@mirrors(torch.repeat_interleave)
def repeat_interleave(
    input: jax.Array, repeats: Any, dim: int | None = None, *, output_size: int | None = None
) -> jax.Array:
    return jnp.repeat(input, repeats, dim, total_repeat_length=output_size)


@mirrors(torch.cat, torch.concat, torch.concatenate)
def cat(tensors: Sequence[jax.Array], dim: int = 0) -> jax.Array:
    """Empty one-dimensional arrays may join any others."""
    full = [tensor for tensor in tensors if tensor.shape != (0,)]
    joined = jnp.concatenate(full or tensors, dim)
    return joined.astype(jnp.result_type(*tensors))


@mirrors(torch.stack)
def stack(tensors: Sequence[jax.Array], dim: int = 0) -> jax.Array:
    return jnp.stack(tuple(tensors), dim)


def _joining(join: Callable[[Any], jax.Array]) -> Callable[..., jax.Array]:
    return lambda tensors: join(tuple(tensors))


for _name, _join in {
    "hstack": jnp.hstack,
    "vstack": jnp.vstack,
    "row_stack": jnp.vstack,
    "dstack": jnp.dstack,
    "column_stack": jnp.column_stack,
}.items():
    mirrors(getattr(torch, _name))(_joining(_join))

for _name in ("atleast_1d", "atleast_2d", "atleast_3d"):
    mirrors(getattr(torch, _name))(getattr(jnp, _name))


@mirrors(torch.split)
def split(tensor: jax.Array, split_size_or_sections: int | Sequence[int], dim: int = 0) -> Arrays:
    """A number is the size of the pieces, not their count."""
    total, pieces = tensor.shape[dim], split_size_or_sections
    if isinstance(pieces, int):
        return tuple(jnp.split(tensor, list(range(pieces, total, pieces)), dim))
    refuse(sum(pieces) != total, f"split() into sizes {list(pieces)} does not sum to the {total} of dim {dim}")
    return tuple(jnp.split(tensor, list(accumulate(pieces))[:-1], dim))


@mirrors(torch.split_with_sizes)
def split_with_sizes(input: jax.Array, split_sizes: Sequence[int], dim: int = 0) -> Arrays:
    return split(input, split_sizes, dim)


@mirrors(torch.chunk, torch.unsafe_chunk)
def chunk(input: jax.Array, chunks: int, dim: int = 0) -> Arrays:
    """Pieces of one size, rounded up; so there may be fewer than asked for."""
    return split(input, max(-(-input.shape[dim] // chunks), 1), dim)


@mirrors(torch.tensor_split)
def tensor_split(input: jax.Array, indices_or_sections: Any, dim: int = 0) -> Arrays:
    where = indices_or_sections
    return tuple(jnp.array_split(input, where if isinstance(where, int) else list(where), dim))


def _split_along(dim: int) -> Callable[..., Arrays]:
    return lambda input, indices_or_sections: tensor_split(input, indices_or_sections, dim if input.ndim > dim else 0)


for _name, _dim in {"hsplit": 1, "vsplit": 0, "dsplit": 2}.items():
    mirrors(getattr(torch, _name))(_split_along(_dim))


@mirrors(torch.unbind)
def unbind(input: jax.Array, dim: int = 0) -> Arrays:
    return tuple(jnp.moveaxis(input, dim, 0))


@mirrors(torch.flip)
def flip(input: jax.Array, dims: Sequence[int]) -> jax.Array:
    return jnp.flip(input, tuple(dims))


@mirrors(torch.fliplr)
def fliplr(input: jax.Array) -> jax.Array:
    return jnp.fliplr(input)


@mirrors(torch.flipud)
def flipud(input: jax.Array) -> jax.Array:
    return jnp.flipud(input)


@mirrors(torch.roll)
def roll(input: jax.Array, shifts: Any, dims: Any = None) -> jax.Array:
    return jnp.roll(input, shifts, dims if dims is None or isinstance(dims, int) else tuple(dims))


@mirrors(torch.rot90)
def rot90(input: jax.Array, k: int = 1, dims: Sequence[int] = (0, 1)) -> jax.Array:
    first, second = dims
    return jnp.rot90(input, k, (first, second))


@mirrors(torch.tril)
def tril(input: jax.Array, diagonal: int = 0) -> jax.Array:
    return jnp.tril(input, diagonal)


@mirrors(torch.triu)
def triu(input: jax.Array, diagonal: int = 0) -> jax.Array:
    return jnp.triu(input, diagonal)


@mirrors(torch.diag)
def diag(input: jax.Array, diagonal: int = 0) -> jax.Array:
    return jnp.diag(input, diagonal)


@mirrors(torch.diagflat)
def diagflat(input: jax.Array, offset: int = 0) -> jax.Array:
    return jnp.diagflat(input, offset)


@mirrors(torch.diagonal)
def diagonal(input: jax.Array, offset: int = 0, dim1: int = 0, dim2: int = 1) -> jax.Array:
    return jnp.diagonal(input, offset, dim1, dim2)


@mirrors(torch.linalg.diagonal)
def linalg_diagonal(A: jax.Array, *, offset: int = 0, dim1: int = -2, dim2: int = -1) -> jax.Array:
    return jnp.diagonal(A, offset, dim1, dim2)


@mirrors(torch.diag_embed)
def diag_embed(input: jax.Array, offset: int = 0, dim1: int = -2, dim2: int = -1) -> jax.Array:
    n = input.shape[-1] + abs(offset)
    line = jnp.arange(input.shape[-1])
    square = jnp.zeros((*input.shape[:-1], n, n), input.dtype)
    square = square.at[..., line + max(-offset, 0), line + max(offset, 0)].set(input)
    return jnp.moveaxis(square, (-2, -1), (dim1, dim2))


@mirrors(torch.block_diag)
def block_diag(*tensors: jax.Array) -> jax.Array:
    return jax.scipy.linalg.block_diag(*tensors)


@mirrors(torch.meshgrid)
def meshgrid(*tensors: Any, indexing: str | None = None) -> Arrays:
    """Rows first, unlike jnp's."""
    return tuple(jnp.meshgrid(*_unpacked(tensors), indexing=indexing or "ij"))


@mirrors(torch.cartesian_prod)
def cartesian_prod(*tensors: jax.Array) -> jax.Array:
    grid = jnp.meshgrid(*tensors, indexing="ij")
    return grid[0] if len(grid) == 1 else jnp.stack([axis.ravel() for axis in grid], -1)


@mirrors(torch.numel)
def numel(input: jax.Array) -> int:
    return input.size


@mirrors(torch.clone)
def clone(input: jax.Array, *, memory_format: Any = None) -> jax.Array:
    """A copy in memory, as in torch: nothing is computed again that was copied."""
    return materialised(input)


@mirrors(torch.detach)
def detach(input: jax.Array) -> jax.Array:
    return jax.lax.stop_gradient(input)
