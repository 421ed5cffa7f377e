"""Arguments: what torch does to them before a function runs (numpy's names, dtypes, dims, integers to floats)."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
import torch.nn.functional as F

from ppvae.backends.mirror.running.convert import dtype as same_name
from ppvae.backends.mirror.running.tables import MirrorError, Rule, function

Dims = int | Sequence[int] | None
Dtype = Any

_NUMPY_NAMES = {"axis": "dim", "keepdims": "keepdim"}
_PYTHON_DTYPES = {float: torch.float64, int: torch.int64, bool: torch.bool}


def mirrors(*functions: Callable[..., Any]) -> Callable[[Rule], Rule]:
    """Register a rule that, like torch's parser, also takes ``axis`` for ``dim`` and ``keepdims`` for ``keepdim``."""

    def register(rule: Rule) -> Rule:
        @functools.wraps(rule)
        def renamed(*args: Any, **kwargs: Any) -> Any:
            return rule(*args, **{_NUMPY_NAMES.get(name, name): value for name, value in kwargs.items()})

        function(*functions)(renamed)
        return rule

    return register


def namesakes(*names: str) -> list[Callable[..., Any]]:
    """Every function of these names in ``torch``, ``torch.special`` and ``torch.nn.functional``."""
    homes = (torch, torch.special, F)
    return [getattr(home, name) for name in names for home in homes if hasattr(home, name)]


def to_dtype(dtype: Dtype) -> np.dtype[Any] | None:
    """JAX's dtype for one of torch's, Python's or JAX's; None stays None."""
    dtype = _PYTHON_DTYPES.get(dtype, dtype)
    if isinstance(dtype, torch.dtype):
        return same_name(dtype)
    return None if dtype is None else jax.dtypes.canonicalize_dtype(dtype)


def default_dtype() -> np.dtype[Any]:
    """What torch gives to new floating-point arrays."""
    return same_name(torch.get_default_dtype())


def is_floating(x: Any) -> bool:
    """Whether an array, number or dtype is a float."""
    return bool(jnp.issubdtype(jnp.result_type(x), jnp.floating))


def floating(x: Any) -> jax.Array:
    """Integers and booleans in the default dtype: what torch's transcendental functions make of them."""
    x = jnp.asarray(x)
    return x if jnp.issubdtype(x.dtype, jnp.inexact) else x.astype(default_dtype())


def cast(x: Any, dtype: Dtype) -> jax.Array:
    """``x`` in a dtype, or as it is for None; fractions become bytes by way of whole numbers, as in C."""
    x, dtype = jnp.asarray(x), to_dtype(dtype)
    if dtype is None:
        return x
    bytes_ = dtype.kind in "iu" and dtype.itemsize < 4 and is_floating(x)
    return (x.astype(int) if bytes_ else x).astype(dtype)


def promoted(*arrays: Any) -> tuple[Any, ...]:
    """Arrays without dims in the dtype of those with dims, which they do not widen unless their kind is higher."""
    kinds = {x.dtype for x in arrays if isinstance(x, jax.Array) and x.ndim}
    if not kinds:
        return arrays
    dtype = jnp.result_type(*kinds)
    narrow = [
        isinstance(x, jax.Array) and not x.ndim and _KINDS.index(x.dtype.kind) <= _KINDS.index(dtype.kind)
        for x in arrays
    ]
    return tuple(x.astype(dtype) if fits else x for x, fits in zip(arrays, narrow, strict=True))


_KINDS = "buifVc"  # numpy's letters from booleans up; V is that of bfloat16


def axes(dim: Dims) -> int | tuple[int, ...] | None:
    """The ``axis`` of a reduction; an empty ``dim`` reduces everything."""
    if dim is None or isinstance(dim, int):
        return dim
    return tuple(dim) or None


def within(index: Any, size: int, negative: bool = False) -> Any:
    """An index in range, perhaps counted from the end.

    Constants are checked. Of what is computed, out of range becomes ``size``: there reading gives NaN (or the smallest
    whole number), and writing does nothing.
    """
    lowest = -size if negative else 0
    if isinstance(index, jax.core.Tracer):
        return jnp.where((index < lowest) | (index >= size), size, index)
    wrong = [i for i in np.ravel(index) if not lowest <= i < size]
    if wrong:
        raise IndexError(f"index {wrong[0]} is out of bounds for size {size}")
    return index


def alike(*arrays: Any) -> None:
    """Raise unless the arrays have one dtype, without which torch multiplies nothing."""
    dtypes = {array.dtype for array in arrays if array is not None}
    refuse(len(dtypes) > 1, f"it takes arrays of one dtype, not of {' and '.join(sorted(map(str, dtypes)))}")


def sizes(shape: Sequence[Any]) -> tuple[int, ...]:
    """A shape given as ``f(2, 3)`` or as ``f((2, 3))``."""
    first = shape[0] if len(shape) == 1 else None
    return tuple(first) if isinstance(first, Sequence) else tuple(shape)


def refuse(wrong: Any, advice: str) -> None:
    """Raise where an option has no counterpart."""
    if wrong:
        raise MirrorError(advice)
