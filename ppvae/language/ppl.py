"""The words a program may say: ``pyro``, ``dist``, ``handlers`` and ``ops``, on whichever backend is running.

Each word looks itself up at every use through a :class:`contextvars.ContextVar`, so a thread or a notebook cell
never sees another's backend. Outside ``running(...)`` the words are Pyro's own modules and torch's functions.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

BACKENDS = ("pyro", "numpyro")

_backend: ContextVar[str] = ContextVar("ppvae_backend", default="pyro")


def backend() -> str:
    """The name of the backend that the words speak to here and now."""
    return _backend.get()


def engaged() -> bool:
    """Has ppvae chosen the backend here and now? Otherwise the words are plain Pyro's."""
    return _backend.get(None) is not None


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
    return _spelling(_backend.get())


@cache
def _spelling(name: str) -> Any:
    return importlib.import_module(f"ppvae.backends.{name}_words")


def items() -> Any:
    """The module that holds the items plate and the mask of holes on the running backend."""
    return _items(_backend.get())


@cache
def _items(name: str) -> Any:
    return importlib.import_module(f"ppvae.backends.{name}_items")


class Word:
    """A name that stands for one module on each backend; its sub-modules are words too."""

    def __init__(self, name: str, parent: Word | None = None) -> None:
        self._name, self._parent = name, parent
        self._modules: dict[str, Any] = {}

    def _module(self, backend: str) -> Any:
        home = _spelling(backend) if self._parent is None else self._parent._module(backend)
        return self._modules.setdefault(backend, getattr(home, self._name))

    def __getattr__(self, attribute: str) -> Any:
        name = _backend.get()
        module = self._modules.get(name) or self._module(name)
        try:
            found = getattr(module, attribute)
        except AttributeError:
            if attribute.startswith("__"):
                raise
            raise AttributeError(self._missing(attribute, dir(module))) from None
        return Word(attribute, self) if isinstance(found, ModuleType | SimpleNamespace) else found

    def _missing(self, attribute: str, names: Sequence[str]) -> str:
        near = " or ".join(f"{self}.{name}" for name in nearest(attribute, names))
        if backend() != "pyro" and hasattr(self._module("pyro"), attribute):
            return f"{self}.{attribute} has no counterpart on NumPyro" + (f"; nearest: {near}" if near else "")
        return f"{self}.{attribute} does not exist" + (f"; did you mean {near}?" if near else "")

    def __dir__(self) -> list[str]:
        return dir(self._module(backend()))

    def __str__(self) -> str:
        return self._name if self._parent is None else f"{self._parent}.{self._name}"

    def __repr__(self) -> str:
        return f"<{self} on {backend()}>"


def nearest(name: str, names: Iterable[str]) -> list[str]:
    """The names that look most like ``name``: up to three, at least one."""
    public = sorted({other for other in names if not other.startswith("_")})
    return difflib.get_close_matches(name, public, n=3) or difflib.get_close_matches(name, public, n=1, cutoff=0.0)


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
    mean: Any = None,
    variance: Any = None,
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
        mean, variance: its moments, ``batch_shape + event_shape``, where they are known.
    """
    return words().distribution(sample, log_prob, tuple(batch_shape), tuple(event_shape), mean, variance)


def iterated(step: Callable[[Any], tuple[Any, Any]], state: Any, times: int) -> Any:
    """What each of so many steps in a row gives, ``(times, ...)``: a loop that NumPyro compiles once, not step by step.

    A word for the text of programs and of their distributions.

    Args:
        step: called as ``step(state)``, returns the next state and a tensor. It states no sites, and changes nothing in
            place.
        state: the first state: a tensor, or tuples of tensors, whose shapes and dtypes stay.
        times: how many steps.
    """
    return words().iterated(step, state, times)


def derivatives(function: Callable[[Any], Any], at: Any) -> tuple[Any, Any]:
    """Slope ``(items, size)`` and second derivatives ``(items, size, size)`` of a function of each item's own vector.

    A word for the text of programs. No gradient flows through what it gives.

    Args:
        function: takes vectors ``(items, size)`` and returns ``(items,)``, each from its own vector alone. It states no
            sites to whoever runs the program, draws nothing, and changes nothing in place.
        at: the vectors.
    """
    return words().derivatives(function, at)
