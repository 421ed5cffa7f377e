"""Scattering: arrays with some of their elements written anew, and what fills a tensor in place."""

# ruff: noqa: D103 - what a rule computes is said by the torch function that it stands for

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import torch

from ppvae.backends.mirror.functions.arguments import mirrors, refuse, within
from ppvae.backends.mirror.functions.indexing import corner, setitem
from ppvae.backends.mirror.running.memory import grafted
from ppvae.backends.mirror.running.tables import method


def _grid(dim: int, index: jax.Array, size: int) -> tuple[jax.Array, ...]:
    """Subscripts that put element ``i`` of ``index`` at ``i`` in every dim but ``dim``."""
    places = list(jnp.indices(index.shape, sparse=True))
    places[dim] = within(index, size)
    return tuple(places)


@mirrors(torch.scatter)
def scatter(
    input: jax.Array, dim: int, index: jax.Array, src: Any = None, *, value: Any = None, reduce: str | None = None
) -> jax.Array:
    src = value if src is None else src
    cut = corner(src, dim, index)[_all_of(index)] if jnp.ndim(src) else src
    places = input.at[_grid(dim, index, input.shape[dim])]
    if reduce is None:
        return places.set(cut)
    return places.add(cut) if reduce == "add" else places.multiply(cut)


@mirrors(torch.scatter_add)
def scatter_add(input: jax.Array, dim: int, index: jax.Array, src: jax.Array) -> jax.Array:
    return scatter(input, dim, index, src, reduce="add")


@mirrors(torch.scatter_reduce)
def scatter_reduce(
    input: jax.Array, dim: int, index: jax.Array, src: jax.Array, reduce: str, *, include_self: bool = True
) -> jax.Array:
    if reduce in ("amax", "amin"):
        return _extremes(input, dim, index, src, reduce == "amax", include_self)
    refuse(reduce == "prod", "scatter_reduce(reduce='prod') has no mirror; use exp of a sum of logs")
    own = jnp.ones_like(input)
    count = scatter_add(own, dim, index, jnp.ones_like(src))
    start = input if include_self else jnp.where(count > 1, 0, input)
    total = scatter_add(start, dim, index, src)
    return total if reduce == "sum" else total / jnp.maximum(count if include_self else count - 1, 1)


def _extremes(
    input: jax.Array, dim: int, index: jax.Array, src: jax.Array, largest: bool, include_self: bool
) -> jax.Array:
    """Each place's extreme; equals share its gradient, of which what is at the place itself counts in any case."""
    places = _grid(dim, index, input.shape[dim])
    cut = corner(src, dim, index)[_all_of(index)]
    written = jnp.zeros(input.shape, bool).at[places].set(True)
    start = input if include_self else jnp.where(written, _least(input.dtype, largest), input)
    found = jax.lax.stop_gradient(start.at[places].max(cut) if largest else start.at[places].min(cut))
    own, speaks = input == found, cut == found[places]
    count = jnp.maximum(own.astype(int).at[places].add(speaks), 1)
    shares = jnp.where(own if include_self else own & ~written, input, 0).at[places].add(jnp.where(speaks, cut, 0))
    return grafted(found, (shares / count).astype(found.dtype))


def _least(dtype: Any, largest: bool) -> Any:
    """What is below, or above, all numbers of a dtype."""
    if jnp.issubdtype(dtype, jnp.floating):
        return -jnp.inf if largest else jnp.inf
    return jnp.iinfo(dtype).min if largest else jnp.iinfo(dtype).max


def _all_of(index: jax.Array) -> tuple[slice, ...]:
    """A source may be longer than the index along ``dim`` too."""
    return tuple(slice(n) for n in index.shape)


def _lines(input: jax.Array, dim: int, index: jax.Array) -> Any:
    return input.at[(slice(None),) * (dim % input.ndim) + (within(index, input.shape[dim]),)]


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


@mirrors(torch.index_put)
def index_put(input: jax.Array, indices: Any, values: Any, accumulate: bool = False) -> jax.Array:
    if not accumulate:
        return setitem(input, tuple(indices), values)
    bounded = tuple(within(index, n, negative=True) for index, n in zip(indices, input.shape, strict=False))
    return input.at[bounded].add(values)


@method("fill_")
def fill_(self: jax.Array, value: Any) -> jax.Array:
    return jnp.broadcast_to(jnp.asarray(value, self.dtype), self.shape)


@method("zero_")
def zero_(self: jax.Array) -> jax.Array:
    return jnp.zeros_like(self)


@method("copy_")
def copy_(self: jax.Array, src: jax.Array, non_blocking: bool = False) -> jax.Array:
    return jnp.broadcast_to(src.astype(self.dtype), self.shape)


@method("fill_diagonal_")
def fill_diagonal_(self: jax.Array, fill_value: float, wrap: bool = False) -> jax.Array:
    refuse(wrap, "fill_diagonal_(wrap=True) has no mirror")
    line = jnp.arange(min(self.shape))
    return self.at[(line,) * self.ndim].set(fill_value)
