"""Widening: in a comparison in double precision a text that says single precision means that of its numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

SINGLE = {
    torch.float32: torch.float64,
    torch.FloatTensor: torch.DoubleTensor,
    "torch.FloatTensor": "torch.DoubleTensor",
    torch.Tensor.float: torch.Tensor.double,
}

_widening: ContextVar[bool] = ContextVar("widening", default=False)


class _Widened(TorchFunctionMode):
    """Calls of torch with double precision in place of single where their text asks for that by name."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        func, args, kwargs = tree_map(_named, (func, args, kwargs or {}), is_leaf=_is_size)
        return widest(func, args, kwargs)


def _named(value: Any) -> Any:
    said = isinstance(value, torch.dtype | type | str) or value is torch.Tensor.float
    return SINGLE.get(value, value) if said else value


def widest(call: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """``call(*args, **kwargs)``; where it takes one precision alone, with all of its tensors in double.

    Those that lie beside the parameters of a program have kept their own when it was turned to double precision.
    """
    try:
        return call(*args, **kwargs)
    except RuntimeError:
        if not _widening.get() or not any(map(_is_single, tree_leaves((args, kwargs)))):
            raise
        args, kwargs = tree_map(_doubled, (args, kwargs), is_leaf=_is_size)
        return call(*args, **kwargs)


def _doubled(leaf: Any) -> Any:
    return leaf.double() if _is_single(leaf) else leaf


def _is_size(value: Any) -> bool:
    return isinstance(value, torch.Size)  # a tuple of numbers, but not to ``x.new``


def _is_single(leaf: Any) -> bool:
    return isinstance(leaf, torch.Tensor) and leaf.dtype == torch.float32


@contextmanager
def widening(dtype: str) -> Iterator[None]:
    """Within the block of a comparison in float64 ``x.float()`` and ``dtype=torch.float32`` keep all digits."""
    token = _widening.set(dtype == "float64")
    try:
        with widened():
            yield
    finally:
        _widening.reset(token)


def widened() -> Any:
    """What to enter last, around a text that runs in such a block."""
    return _Widened() if _widening.get() else nullcontext()
