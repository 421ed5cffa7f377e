"""Spoken: NumPyro's words within a program's text, where arrays stand in for tensors.

A word takes stand-ins and gives stand-ins; so do the distributions and transforms that it makes. Outside a program the
words are NumPyro's own, on plain arrays.
"""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace
from typing import Any

import jax
import numpyro
import torch
from numpyro.distributions import Distribution
from numpyro.distributions.constraints import Constraint
from numpyro.distributions.transforms import Transform

from ppvae.backends.mirror.running.convert import nested
from ppvae.backends.mirror.running.dispatch import dispatching, is_array
from ppvae.backends.mirror.running.standin import Spoken, StandIn, interpreter


class Vocabulary(SimpleNamespace):
    """Words by name, each spoken where a program's text asks for it."""

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        return found if name.startswith("__") or interpreter.get(None) is None else spoken(found)


class Object(Spoken):
    """A distribution or a transform: what it takes and gives stands in for tensors."""

    def __getattr__(self, name: str) -> Any:
        if isinstance(self.value, Distribution) and name in DRAWS:
            return partial(DRAWS[name], self.value)
        return spoken(getattr(self.value, name))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if isinstance(self.value, Distribution):
            return self.rsample(*args, **kwargs)
        return say(self.value, *args, **kwargs)

    def __repr__(self) -> str:
        return repr(self.value)


def spoken(value: Any) -> Any:
    """What a program's text sees of a value of NumPyro's or JAX's."""
    if is_array(value):
        return StandIn(value)
    if isinstance(value, Distribution | Transform):
        return Object(value)
    if type(value) is tuple and all(isinstance(part, int) for part in value):
        return torch.Size(value)
    return partial(say, value) if callable(value) and not isinstance(value, Constraint) else value


def say(function: Any, *args: Any, **kwargs: Any) -> Any:
    """``function(*args, **kwargs)`` on arrays, for arguments that stand in for tensors; so does the result."""
    return nested(function(*nested(args, bare), **nested(kwargs, bare)), heard)


def bare(value: Any) -> Any:
    """What NumPyro sees of a value of a program's text."""
    running = interpreter.get(None)
    return value if running is None else running.array(value)


def heard(value: Any) -> Any:
    """What a program's text sees of a result: arrays, distributions and transforms stand in, all else is itself."""
    stands = is_array(value) or isinstance(value, Distribution | Transform)
    return spoken(value) if stands and interpreter.get(None) is not None else value


def within(function: Any) -> Any:
    """A function of a program's text, to be called on arrays after the text has run."""
    running = interpreter.get(None)
    if running is None:
        return function

    def later(argument: Any) -> Any:
        with dispatching(running):
            return bare(function(partial(say, argument) if callable(argument) else heard(argument)))

    return later


def _rsample(fn: Distribution, sample_shape: Any = ()) -> Any:
    return StandIn(fn.rsample(numpyro.prng_key(), tuple(sample_shape)))


def _sample(fn: Distribution, sample_shape: Any = ()) -> Any:
    return StandIn(jax.lax.stop_gradient(fn.sample(numpyro.prng_key(), tuple(sample_shape))))


DRAWS = {"rsample": _rsample, "sample": _sample}
