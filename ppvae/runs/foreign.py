"""Foreign: optimisers of optax and torch, and functions, which a run takes but cannot write down but by their names."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from typing import Any

BACKENDS = {"optax": "numpyro", "torch": "pyro"}  # which runs the optimisers of each library


def library(optimizer: Any) -> str | None:
    """``"optax"`` for a transformation, ``"torch"`` for a class of ``torch.optim`` or a partial of one, otherwise None.

    Neither library is loaded for this.
    """
    if isinstance(optimizer, tuple) and callable(getattr(optimizer, "update", None)):
        return "optax"
    made = optimizer.func if isinstance(optimizer, functools.partial) else optimizer
    bases = made.__mro__ if isinstance(made, type) else ()
    return "torch" if any((b.__module__, b.__name__) == ("torch.optim.optimizer", "Optimizer") for b in bases) else None


def holds_rate(optimizer: Any) -> bool:
    """Does an optimiser of either library come with a learning rate of its own?"""
    return library(optimizer) == "optax" or "lr" in getattr(optimizer, "keywords", {})


def recorded(value: Any) -> Any:
    """What is written down of a setting: data as they are, all else by its name."""
    if isinstance(value, Mapping):
        return {name: recorded(held) for name, held in value.items()}
    if (kind := library(value)) == "optax":
        digest = hashlib.sha256(_told(value.update).encode()).hexdigest()[:8]
        return f"{_name(value.update).partition('.<locals>')[0]} #{digest}"
    if kind == "torch":
        held = value if isinstance(value, functools.partial) else functools.partial(value)
        options = ", ".join(f"{name}={option!r}" for name, option in sorted(held.keywords.items()))
        return f"{_name(held.func)}({options})"
    return f"function {_name(value)}" if callable(value) else value


def _name(value: Any) -> str:
    value = value.func if isinstance(value, functools.partial) else value
    named = value if hasattr(value, "__qualname__") else type(value)
    return f"{named.__module__}.{named.__qualname__}"


def _told(value: Any, depth: int = 8) -> str:
    """A text that differs where two transformations do: their functions' names, and the options in their closures."""
    if value is None or isinstance(value, int | float | str) or hasattr(value, "dtype"):
        return repr(value)
    held = list(value.items()) if isinstance(value, Mapping) else value
    if isinstance(value, functools.partial):
        held = [value.func, value.args, value.keywords]
    elif callable(value):
        held = [cell.cell_contents for cell in getattr(value, "__closure__", None) or ()]
    inner = held if isinstance(held, list | tuple) and depth else ()
    return f"{_name(value)}({', '.join(_told(part, depth - 1) for part in inner)})"
