"""Conversion: torch tensors, sizes and dtypes as JAX's, inside any nest of lists, tuples and dicts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch

from ppvae.backends.mirror.running.refusals import refusal


def to_jax(value: Any) -> Any:
    """Torch tensors, sizes and dtypes inside ``value``, as JAX's; everything else as it is."""
    return nested(value, leaf_to_jax)


# What stands for objects of torch's outside of the text that made them, by their class.
OBJECTS: dict[type, Callable[[Any], Any]] = {}


def leaf_to_jax(value: Any) -> Any:
    """One tensor, dtype or object as JAX's; numpy's scalars as Python's, which leave the dtype of arrays alone."""
    if isinstance(value, torch.Tensor):
        if value.is_meta:
            raise refusal("what torch.func and the like make of an array has no mirror", "work on whole arrays instead")
        with jax.ensure_compile_time_eval():  # a constant stays one, whose elements can be looked at
            return jnp.asarray(value.detach().cpu().numpy())
    if isinstance(value, torch.dtype):
        return dtype(value)
    kind = next((kind for kind in OBJECTS if isinstance(value, kind)), None)
    if kind is not None:
        return OBJECTS[kind](value)
    return value.item() if isinstance(value, np.generic) else value


def nested(value: Any, leaf: Callable[[Any], Any]) -> Any:
    """``value`` with ``leaf`` applied inside lists, tuples and dicts, whose order and types stay."""
    if isinstance(value, dict):
        items = {key: nested(item, leaf) for key, item in value.items()}
        return items if type(value) is dict else type(value)(items)
    if isinstance(value, torch.Size):  # a tuple of numbers, but not to ``x.new``
        return value
    if isinstance(value, (list, tuple)):
        parts = [nested(item, leaf) for item in value]
        if hasattr(value, "_fields"):
            return value._make(parts)  # type: ignore[union-attr]  # PackedSequence(...) would look at them
        return parts if isinstance(value, list) else tuple(parts)
    return leaf(value)


def dtype(value: torch.dtype) -> np.dtype[Any]:
    """The dtype of the same name, narrowed to 32 bits where JAX runs without x64."""
    return jax.dtypes.canonicalize_dtype(str(value).removeprefix("torch."))


def torch_dtype(value: np.dtype[Any]) -> torch.dtype:
    """The dtype of the same name; where JAX has no 64 bits, whole numbers of 32 stand for torch's own of 64."""
    narrowed = value == np.int32 == jax.dtypes.canonicalize_dtype(np.int64)
    return torch.int64 if narrowed else getattr(torch, value.name)
