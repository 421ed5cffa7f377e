"""Words: ``dist`` on NumPyro. In a program's text it is Pyro's own; outside, what it makes takes and gives arrays."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from types import ModuleType
from typing import Any

import pyro.distributions as pd
import torch

from ppvae.backends.distributions import rewritten
from ppvae.backends.distributions.text import array, interpreting, spoken
from ppvae.backends.mirror.running.convert import nested
from ppvae.backends.mirror.running.standin import interpreter

# What cannot run on JAX: it picks elements or branches by their values, or keeps statistics.
ABSENT = frozenset(
    """
    BatchNorm BlockAutoregressive CoalescentTimes CoalescentTimesWithRate Empirical GroupedNormalNormal
    NanMaskedMultivariateNormal NanMaskedNormal Stable StableWithLogProb batchnorm block_autoregressive
    """.split()  # noqa: SIM905
)


class Names(ModuleType):
    """The names of one of Pyro's modules, but for those that cannot run on JAX."""

    def __init__(self, module: ModuleType) -> None:
        super().__init__(module.__name__)
        self._module = module

    def __getattr__(self, name: str) -> Any:
        if name in ABSENT:
            raise AttributeError(name)
        found = getattr(self._module, name)
        if isinstance(found, ModuleType):
            return Names(found)
        return partial(said, found) if callable(found) and interpreter.get(None) is None else found

    def __dir__(self) -> list[str]:
        return [name for name in dir(self._module) if name not in ABSENT]


def said(function: Any, *args: Any, **kwargs: Any) -> Any:
    """``function(*args, **kwargs)`` of Pyro's; outside a text on arrays, and on distributions as NumPyro has them."""
    if interpreter.get(None) is not None:
        return function(*args, **kwargs)
    with interpreting():
        return nested(function(*nested(args, spoken), **nested(kwargs, spoken)), array)


def quiet(function: Any) -> Any:
    """A function of arrays that was written outside a text, for a text to call."""

    def called(argument: Any) -> Any:
        running: Any = interpreter.get()

        def loud(given: Any) -> Any:
            with speaking(running):
                return array(argument(spoken(given)))

        given = array(argument) if isinstance(argument, torch.Tensor) else loud
        with speaking(None):
            result = function(given)
        return spoken(result)

    return called if interpreter.get(None) is None else function


@contextmanager
def speaking(running: Any) -> Iterator[None]:
    """Text speaks to ``running``, or to nobody, within the block."""
    token = interpreter.set(running)
    try:
        yield
    finally:
        interpreter.reset(token)


DIST, TEXTS = Names(pd), rewritten  # importing it is enough
