"""Spoken: NumPyro's words within a program's text, where arrays stand in for tensors.

A word takes stand-ins and Pyro's distributions, and gives them. Outside a program the words are NumPyro's own, on plain
arrays.
"""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace
from typing import Any

from ppvae.backends.distributions.text import array, spoken
from ppvae.backends.mirror.running.convert import nested
from ppvae.backends.mirror.running.standin import interpreter


class Vocabulary(SimpleNamespace):
    """Words by name, each spoken where a program's text asks for it."""

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        words = name.startswith("__") or isinstance(found, Vocabulary) or not callable(found)
        return found if words or interpreter.get(None) is None else partial(say, found)


def say(function: Any, *args: Any, **kwargs: Any) -> Any:
    """``function(*args, **kwargs)`` on arrays, for arguments that stand in for tensors; so does the result."""
    return nested(function(*nested(args, bare), **nested(kwargs, bare)), heard)


def bare(value: Any) -> Any:
    """What NumPyro sees of a value of a program's text."""
    return value if interpreter.get(None) is None else array(value)


def heard(value: Any) -> Any:
    """What a program's text sees of a result."""
    return value if interpreter.get(None) is None else spoken(value)
