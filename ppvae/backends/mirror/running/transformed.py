"""Transformed: functions that torch has compiled or vectorised, as the Python they were made of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import torch
from torch._functorch import apis

from ppvae.backends.mirror.running.convert import nested
from ppvae.backends.mirror.running.dispatch import is_array
from ppvae.backends.mirror.running.refusals import refusal
from ppvae.backends.mirror.running.standin import StandIn, interpreter

_script, _vmap = torch.jit.ScriptFunction.__call__, apis.vmap_impl


def _called(self: Any, *args: Any, **kwargs: Any) -> Any:
    """A function of ``torch.jit.script`` or ``trace``: torch's own outside of a text."""
    if interpreter.get(None) is None:
        return _script(self, *args, **kwargs)
    original = getattr(self, "_torchdynamo_inline", None)
    if original is None:
        raise refusal("a compiled torch.jit function has no mirror", "use the function it was made of")
    return original(*args, **kwargs)


def _mapped(
    function: Callable[..., Any], in_dims: Any, out_dims: Any, randomness: str, chunk: Any, *args: Any, **kwargs: Any
) -> Any:
    """``torch.vmap(function, in_dims, out_dims)(*args, **kwargs)``: torch's own outside of a text."""
    running = interpreter.get(None)
    if running is None:
        return _vmap(function, in_dims, out_dims, randomness, chunk, *args, **kwargs)
    if randomness == "different":
        raise refusal("torch.vmap with randomness='different' has no mirror", "draw before it")

    def one(*rows: Any) -> Any:
        return nested(function(*nested(rows, _spoken), **kwargs), running.array)

    return nested(jax.vmap(one, in_dims, out_dims)(*nested(args, running.array)), _spoken)


def _spoken(leaf: Any) -> Any:
    return StandIn(leaf) if is_array(leaf) else leaf


torch.jit.ScriptFunction.__call__ = _called  # type: ignore[method-assign]
apis.vmap_impl = _mapped  # type: ignore[assignment]
