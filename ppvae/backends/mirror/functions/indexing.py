"""Indexing: subscripts, gathering and one-hot codes; what is out of range is an error, or NaN."""

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

from ppvae.backends.mirror.functions.arguments import alike, cast, mirrors, refuse, to_dtype, within
from ppvae.backends.mirror.running.picked import Picked


@mirrors(operator.getitem)
def getitem(x: Any, index: Any) -> Any:
    """Subscripts of arrays, tuples and dicts."""
    if not isinstance(x, jax.Array):
        return x[index]
    if _is_mask(index) and index.shape == x.shape[: index.ndim]:
        return Picked(x, index)
    for step in _steps(x, index):
        refuse(any(map(_is_mask, step)), "a mask that is computed gives an unknown shape; use torch.where")
        x = _taken(x, step)
    return x


@mirrors(operator.setitem)
def setitem(x: jax.Array, index: Any, value: Any) -> jax.Array:
    """The whole array after the assignment."""
    refuse(isinstance(value, (list, tuple)), "a list cannot be assigned; make it a tensor")
    return _put(x, _steps(x, index), value)


def _taken(x: jax.Array, step: tuple[Any, ...]) -> jax.Array:
    """Slices stay slices to XLA; what is computed may be out of range."""
    computed = any(isinstance(part, jax.core.Tracer) for part in step)
    return x.at[step].get(mode="fill") if computed else x[step]


def _put(x: jax.Array, steps: list[tuple[Any, ...]], value: Any) -> jax.Array:
    step, *rest = steps
    if any(map(_is_mask, step)):
        return _put_where(x, step, value)
    if rest:
        return x.at[step].set(_put(_taken(x, step), rest, value))
    value = jnp.asarray(value)
    if any(isinstance(part, jax.Array) for part in step) and not value.weak_type:
        alike(x, value)
    return x.at[step].set(_narrowed(value.astype(x.dtype), x[step].shape))


def _narrowed(value: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Without leading dims of size 1, which torch drops in an assignment."""
    extra = max(value.ndim - len(shape), 0)
    return value.reshape(value.shape[extra:]) if value.shape[:extra] == (1,) * extra else value


def _put_where(x: jax.Array, step: tuple[Any, ...], value: Any) -> jax.Array:
    """An assignment to the elements under one mask, of what is the same for all of them."""
    place = next(i for i, part in enumerate(step) if _is_mask(part))
    mask = step[place]
    others = [part for part in step if part is not mask and not (isinstance(part, slice) and part == slice(None))]
    after = x.ndim - place - mask.ndim
    value = jnp.asarray(value, x.dtype)
    advice = "a mask that is computed takes one value, or one row, for all its elements; use torch.where"
    refuse(bool(others) or value.ndim > after, advice)
    return jnp.where(mask.reshape(mask.shape + (1,) * after), value, x)


def _is_mask(part: Any) -> bool:
    """A mask whose elements are unknown, so that nobody can tell how many it picks."""
    return isinstance(part, jax.core.Tracer) and part.dtype == jnp.bool_


def _steps(x: jax.Array, index: Any) -> list[tuple[Any, ...]]:
    """A subscript in torch's order: first slices, numbers and None, then numbers that are arrays, then arrays."""
    parts = [_as_array(part) for part in (index if isinstance(index, tuple) else (index,))]
    used = builtins.sum(_dims_used(part) for part in parts)
    if not any(part is Ellipsis for part in parts):
        parts.append(Ellipsis)
    basic: list[Any] = []
    later: list[Any] = []
    for part in parts:
        if part is Ellipsis:
            basic += [slice(None)] * (x.ndim - used)
            later += [slice(None)] * (x.ndim - used)
        elif isinstance(part, (jax.Array, np.ndarray)):
            basic += [slice(None)] * _dims_used(part)
            later.append(_bounded(x, builtins.sum(b is not None for b in basic) - _dims_used(part), part))
        elif isinstance(part, int) and not isinstance(part, bool):
            basic.append(_bounded(x, builtins.sum(b is not None for b in basic), part))
        else:
            basic.append(None if part is True else part)
            later.append(slice(None))
    return [tuple(basic), *_numbers_first(later)]


def _as_array(part: Any) -> Any:
    if isinstance(part, (list, tuple, np.ndarray)):
        with jax.ensure_compile_time_eval():
            return jnp.asarray(part)
    return part


def _bounded(x: jax.Array, dim: int, index: Any) -> Any:
    return index if jnp.result_type(index) == jnp.bool_ else within(index, x.shape[dim], negative=True)


def _numbers_first(parts: list[Any]) -> list[tuple[Any, ...]]:
    """Numbers that are arrays are taken one after the other, and leave no dim behind."""
    steps: list[tuple[Any, ...]] = []
    for place in reversed(range(len(parts))):
        part = parts[place]
        if isinstance(part, jax.Array) and part.ndim == 0 and part.dtype != jnp.bool_:
            steps.append((*[slice(None)] * builtins.sum(map(_dims_used, parts[:place])), part))
            del parts[place]
    arrays = any(isinstance(part, jax.Array) for part in parts)
    return [*steps, tuple(parts)] if arrays else steps


def _dims_used(part: Any) -> int:
    """How many dims of an array a part of a subscript stands for."""
    if part is None or part is Ellipsis or isinstance(part, bool):
        return 0
    return part.ndim if getattr(part, "dtype", None) == jnp.bool_ else 1


@mirrors(torch.gather)
def gather(input: jax.Array, dim: int, index: jax.Array, *, sparse_grad: bool = False) -> jax.Array:
    """An index may be shorter than the input along the other dims, and never broadcasts."""
    return jnp.take_along_axis(corner(input, dim, index), within(index, input.shape[dim]), dim)


def corner(input: jax.Array, dim: int, index: jax.Array) -> jax.Array:
    """The part of an array that an index covers, whole along one dim."""
    dim %= input.ndim
    return input[tuple(slice(None) if d == dim else slice(n) for d, n in enumerate(index.shape))]


@mirrors(torch.take_along_dim)
def take_along_dim(input: jax.Array, indices: jax.Array, dim: int | None = None) -> jax.Array:
    if dim is None:
        return take_along_dim(input.ravel(), indices.ravel(), 0)
    return jnp.take_along_axis(input, within(indices, input.shape[dim], negative=True), dim)


@mirrors(torch.take)
def take(input: jax.Array, index: jax.Array) -> jax.Array:
    return jnp.take(input, within(index, input.size, negative=True))


@mirrors(torch.index_select)
def index_select(input: jax.Array, dim: int, index: jax.Array) -> jax.Array:
    return jnp.take(jnp.atleast_1d(input), within(index.reshape(-1), jnp.atleast_1d(input).shape[dim]), dim)


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


@mirrors(F.one_hot)
def one_hot(input: jax.Array, num_classes: int = -1) -> jax.Array:
    """Integers, unlike JAX's."""
    refuse(num_classes < 0, "one_hot() needs num_classes: the values of an array are unknown")
    classes = within(input, num_classes)[..., None]
    return jnp.where(
        classes == num_classes, jnp.iinfo(to_dtype(int)).min, cast(classes == jnp.arange(num_classes), int)
    )
