"""Interpretation: a torch network's own ``forward``, run on JAX arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from ppvae.backends.mirror.running.convert import dtype, nested, to_jax
from ppvae.backends.mirror.running.dispatch import Dispatch, dispatching
from ppvae.backends.mirror.running.parameters import Parameters
from ppvae.backends.mirror.running.shadow import Shadows, stand_in

__all__ = ["dtype", "forward", "to_jax"]


def forward(module: nn.Module, p: Parameters, *args: Any, **kwargs: Any) -> Any:
    """``module(*args, **kwargs)`` on JAX arrays, with the arrays of ``p`` as its parameters.

    Arguments may be arrays, plain Python values, and lists, tuples and dicts of them. The network's ``forward`` runs
    in Python each time, so compile what calls it with ``jax.jit``.

    Raises:
        MirrorError: a layer, function or method has no mirror, or control flow depends on the values of an array.
    """
    return interpret(module, p, lambda shadow: shadow(*stand_in(to_jax(args)), **stand_in(to_jax(kwargs))))


def interpret(module: nn.Module, p: Parameters, question: Callable[[Any], Any]) -> Any:
    """``question(module)`` on JAX arrays, asked of the module's shadow; see :func:`forward`."""
    shadows = Shadows(p)
    shadow = shadows.of(module, p)
    dispatch = Dispatch(p.key, shadows.tensors)
    with dispatching(dispatch):
        result = question(shadow)
        shadows.check_state()
        return nested(result, dispatch.array)
