"""Creation: new arrays in torch's default dtype; devices and layouts are accepted and mean nothing."""

# ruff: noqa: D103 - what a rule computes is said by the torch function that it stands for

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch

from ppvae.backends.mirror.functions.arguments import Dtype, cast, default_dtype, mirrors, sizes, to_dtype
from ppvae.backends.mirror.running.convert import to_jax

_PLACEMENT = {"device", "layout", "requires_grad", "pin_memory", "memory_format", "copy"}


def placed(rule: Callable[..., Any]) -> Callable[..., Any]:
    """Drop the keywords that say where an array lies, not what it is."""

    @functools.wraps(rule)
    def dropped(*args: Any, **kwargs: Any) -> Any:
        return rule(*args, **{name: value for name, value in kwargs.items() if name not in _PLACEMENT})

    return dropped


@mirrors(torch.zeros, torch.empty)
@placed
def zeros(*size: Any, dtype: Dtype = None) -> jax.Array:
    return jnp.zeros(sizes(size), to_dtype(dtype) or default_dtype())


@mirrors(torch.ones)
@placed
def ones(*size: Any, dtype: Dtype = None) -> jax.Array:
    return jnp.ones(sizes(size), to_dtype(dtype) or default_dtype())


@mirrors(torch.full)
@placed
def full(size: Any, fill_value: Any, *, dtype: Dtype = None) -> jax.Array:
    return jnp.broadcast_to(as_tensor(fill_value, dtype), tuple(size))


@mirrors(torch.zeros_like, torch.empty_like)
@placed
def zeros_like(input: jax.Array, *, dtype: Dtype = None) -> jax.Array:
    return jnp.zeros_like(input, to_dtype(dtype))


@mirrors(torch.ones_like)
@placed
def ones_like(input: jax.Array, *, dtype: Dtype = None) -> jax.Array:
    return jnp.ones_like(input, to_dtype(dtype))


@mirrors(torch.full_like)
@placed
def full_like(input: jax.Array, fill_value: Any, *, dtype: Dtype = None) -> jax.Array:
    return jnp.full_like(input, fill_value, to_dtype(dtype))


@mirrors(torch.eye)
@placed
def eye(n: int, m: int | None = None, *, dtype: Dtype = None) -> jax.Array:
    return jnp.eye(n, m, dtype=to_dtype(dtype) or default_dtype())


@mirrors(torch.arange)
@placed
def arange(start: Any, end: Any = None, step: Any = 1, *, dtype: Dtype = None) -> jax.Array:
    start, end = (0, start) if end is None else (start, end)
    whole = all(isinstance(bound, int) for bound in (start, end, step))
    return jnp.arange(start, end, step, to_dtype(dtype or int) if whole else to_dtype(dtype) or default_dtype())


@mirrors(torch.linspace)
@placed
def linspace(start: Any, end: Any, steps: int, *, dtype: Dtype = None) -> jax.Array:
    return jnp.linspace(start, end, steps, dtype=to_dtype(dtype) or default_dtype())


@mirrors(torch.logspace)
@placed
def logspace(start: Any, end: Any, steps: int, base: float = 10.0, *, dtype: Dtype = None) -> jax.Array:
    return jnp.logspace(start, end, steps, base=base, dtype=to_dtype(dtype) or default_dtype())


@mirrors(torch.as_tensor, torch.asarray)
@placed
def as_tensor(data: Any, dtype: Dtype = None) -> jax.Array:
    """Python numbers take torch's default dtype; arrays keep theirs."""
    array = jnp.asarray(to_jax(data), to_dtype(dtype))
    typed = dtype is not None or hasattr(data, "dtype")
    python_floats = not typed and jnp.issubdtype(array.dtype, jnp.floating)
    return array.astype(default_dtype()) if python_floats else array


@mirrors(torch.from_numpy)
def from_numpy(ndarray: np.ndarray[Any, Any]) -> jax.Array:
    return as_tensor(ndarray)


@mirrors(torch.tensor, torch.scalar_tensor)
@placed
def tensor(data: Any, *, dtype: Dtype = None) -> jax.Array:
    """Out of reach of gradients, unlike ``as_tensor``."""
    return jax.lax.stop_gradient(as_tensor(data, dtype))


@mirrors(torch.tril_indices)
@placed
def tril_indices(row: int, col: int, offset: int = 0, *, dtype: Dtype = int) -> jax.Array:
    return cast(jnp.stack(jnp.tril_indices(row, offset, col)), dtype)


@mirrors(torch.triu_indices)
@placed
def triu_indices(row: int, col: int, offset: int = 0, *, dtype: Dtype = int) -> jax.Array:
    return cast(jnp.stack(jnp.triu_indices(row, offset, col)), dtype)


@mirrors(torch.get_default_dtype)
def get_default_dtype() -> np.dtype[Any]:
    return default_dtype()


@mirrors(torch.finfo)
def finfo(type: Dtype = None) -> Any:
    return jnp.finfo(to_dtype(type) or default_dtype())


@mirrors(torch.iinfo)
def iinfo(type: Dtype) -> Any:
    return jnp.iinfo(to_dtype(type))


@mirrors(torch.is_tensor)
def is_tensor(obj: Any) -> bool:
    return isinstance(obj, jax.Array)


@mirrors(torch.is_floating_point)
def is_floating_point(input: jax.Array) -> bool:
    return bool(jnp.issubdtype(input.dtype, jnp.floating))


@mirrors(torch.result_type)
def result_type(tensor1: Any, tensor2: Any) -> np.dtype[Any]:
    return jnp.result_type(tensor1, tensor2)
