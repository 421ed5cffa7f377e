"""The words on NumPyro: the names of Pyro and torch, translated."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Hashable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpyro
import torch
import torch.nn.functional as F

from ppvae.backends import effects, mirror, pyro_words, stacks
from ppvae.backends.distributions.text import array, interpreting, spoken
from ppvae.backends.distributions.words import DIST, quiet, said
from ppvae.backends.mirror.running.convert import nested
from ppvae.backends.mirror.running.standin import interpreter
from ppvae.backends.pyro_words import Density, Sampler, Shape
from ppvae.backends.spoken import Vocabulary, bare, heard

__all__ = ["derivatives", "dist", "distribution", "handlers", "iterated", "ops", "pyro"]

STACKS = [stacks.own(numpyro.primitives, "_PYRO_STACK"), *pyro_words.STACKS]

handlers, dist = effects.HANDLERS, DIST
pyro = Vocabulary(**vars(effects.STATEMENTS), distributions=dist)

TYPES: dict[Any, Any] = {torch.Tensor: jax.Array, torch.Size: tuple}
CONSTANTS = (torch.dtype, float, int, type(None))


def mirrored(target: Any) -> Any:
    """What stands for a torch function on JAX; dtypes and numbers as they are."""
    if isinstance(target, CONSTANTS):
        return target
    if not callable(target) or not isinstance(target, Hashable):
        raise AttributeError(f"{target} has no mirror")
    function: Any = target
    if function in mirror.RANDOM_FUNCTIONS:
        return partial(mirror.RANDOM_FUNCTIONS[function], numpyro.prng_key)
    if function not in TYPES and function not in mirror.FUNCTIONS:
        raise AttributeError(f"{target} has no mirror")
    return TYPES.get(function) or mirror.FUNCTIONS[function]


class Mirrored(ModuleType):
    """The mirrored part of torch modules, under the same names; the first module that has a name gives it."""

    def __init__(self, name: str, *modules: ModuleType) -> None:
        super().__init__(name)
        self._held = ChainMap(*(vars(module) for module in modules))

    def __getattr__(self, name: str) -> Any:
        if name not in self._held:
            raise AttributeError(name)
        target = self._held[name]
        if interpreter.get(None) is not None:  # a program's text speaks torch itself, which leads to the same rules
            return target
        return Mirrored(name, target) if isinstance(target, ModuleType) else mirrored(target)

    def __dir__(self) -> list[str]:
        return [
            name for name, target in self._held.items() if not isinstance(target, ModuleType) and hasattr(self, name)
        ]


ops = Mirrored("ops", torch, F)


def iterated(step: Any, state: Any, times: int) -> Any:
    """See :func:`ppvae.language.ppl.iterated`; called within a program's text."""
    running: Any = interpreter.get()

    def one(carried: Any, key: jax.Array | None) -> Any:
        with interpreting(key), _drawing(key):
            return nested(step(nested(carried, spoken)), array)

    key = running.key()
    keys = None if key is None else jax.random.split(key, times)  # none is needed where nothing is drawn
    return spoken(jax.lax.scan(one, nested(state, array), keys, times)[1])


def _drawing(key: jax.Array | None) -> AbstractContextManager[Any]:
    """What lets the sites that a step runs draw, by its own key: one from around the loop would keep what is traced."""
    return nullcontext() if key is None else numpyro.handlers.seed(rng_seed=key)


def derivatives(function: Any, at: Any) -> Any:
    """See :func:`ppvae.language.ppl.derivatives`; backwards twice, as some layers have no forward mode."""

    def total(vectors: Any) -> Any:
        return bare(function(heard(vectors))).sum()

    vectors = jax.lax.stop_gradient(bare(at))
    slope, back = jax.vjp(jax.grad(total), vectors)
    each = jax.lax.map(lambda one: back(jnp.broadcast_to(one, vectors.shape))[0], jnp.eye(vectors.shape[-1]))
    return nested(jax.lax.stop_gradient((slope, jnp.moveaxis(each, 0, -2))), heard)


def distribution(
    sample: Sampler, log_prob: Density, batch_shape: Shape, event_shape: Shape, mean: Any = None, variance: Any = None
) -> Any:
    """See :func:`ppvae.language.ppl.distribution`."""
    return said(pyro_words.distribution, quiet(sample), quiet(log_prob), batch_shape, event_shape, mean, variance)
