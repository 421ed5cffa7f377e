"""Precision in JAX: linear layers, convolutions and attention multiply in bfloat16 and answer in float32.

What is rounded, in gradients too, is what is in torch. XLA may keep digits that a conversion to and fro would drop;
``reduce_precision`` drops them, and so does its gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import jax
import jax.numpy as jnp

from ppvae.backends.devices.in_jax import on_cpu
from ppvae.runs.settings import Settings

_halving: ContextVar[bool] = ContextVar("halving", default=False)


@contextmanager
def products(settings: Settings) -> Iterator[None]:
    """Within the block networks multiply as the run's ``precision`` says."""
    token = _halving.set(settings.precision == "bfloat16")
    try:
        yield
    finally:
        _halving.reset(token)


def product(multiply: Callable[..., jax.Array], *factors: jax.Array) -> jax.Array:
    """``multiply(*factors)``, which is linear in each: in bfloat16 where that is asked for and they are float32.

    Factors are given as they lie: what is rounded once it was turned is copied, which doubles the time on a CPU.
    """
    if not _halving.get() or any(factor.dtype != jnp.float32 for factor in factors):
        return multiply(*factors)
    held = jnp.float32 if on_cpu() else jnp.bfloat16  # on a CPU the fast convolutions are those of float32
    halves = [_rounded(factor).astype(held) for factor in factors]
    return _rounded(multiply(*halves).astype(jnp.float32))


def _rounded(x: jax.Array) -> jax.Array:
    """The nearest bfloat16 of each number, and of the gradient there."""
    return jax.lax.reduce_precision(x, exponent_bits=8, mantissa_bits=7)
