"""The words a program may say: ``pyro``, ``dist``, ``handlers`` and ``ops``, on whichever backend is running.

Each word looks itself up at every use through a :class:`contextvars.ContextVar`, so a thread or a notebook cell
never sees another's backend. Outside ``running(...)`` the words are Pyro's own modules and torch's functions.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

BACKENDS = ("pyro", "numpyro")

_backend: ContextVar[str] = ContextVar("ppvae_backend", default="pyro")


def backend() -> str:
    """The name of the backend that the words speak to here and now."""
    return _backend.get()


@contextmanager
def running(name: str) -> Iterator[None]:
    """Let the words speak to the backend ``name`` within the block, in this thread or task only."""
    if name not in BACKENDS:
        raise ValueError(f"unknown backend {name!r}; choose one of {', '.join(BACKENDS)}")
    token = _backend.set(name)
    try:
        yield
    finally:
        _backend.reset(token)


def words() -> Any:
    """The module that spells the words on the running backend."""
    return importlib.import_module(f"ppvae.backends.{_backend.get()}_words")


def items() -> Any:
    """The module that holds the items plate and the mask of holes on the running backend."""
    return importlib.import_module(f"ppvae.backends.{_backend.get()}_items")


class Word:
    """A name that stands for one module on each backend."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        return getattr(getattr(words(), self._name), attribute)

    def __dir__(self) -> list[str]:
        return dir(getattr(words(), self._name))

    def __repr__(self) -> str:
        return f"<{self._name} on {backend()}>"


if TYPE_CHECKING:
    import pyro
    import pyro.distributions as dist
    import pyro.poutine as handlers
    import torch as ops
else:
    pyro, dist, handlers, ops = Word("pyro"), Word("dist"), Word("handlers"), Word("ops")


def distribution(
    sample: Callable[[Callable[[Any], Any]], Any],
    log_prob: Callable[[Any], Any],
    batch_shape: Sequence[int],
    event_shape: Sequence[int],
) -> Any:
    """A distribution over real vectors, written once as two functions over ``ops``.

    Args:
        sample: called as ``sample(draw)``, returns one value of shape ``batch_shape + event_shape``, extended to the
            left as ``draw`` extends: ``draw(d)`` is a sample of any distribution ``d``, with the sample shape that was
            asked for in front of it. Gradients flow through ``draw`` where ``d`` is reparameterised; the choice of
            anything else must not depend on a parameter.
        log_prob: called with values of shape ``(..., *batch_shape, *event_shape)``, returns ``(..., *batch_shape)``.
        batch_shape: shape of the independent copies.
        event_shape: shape of one value.
    """
    return words().distribution(sample, log_prob, tuple(batch_shape), tuple(event_shape))
