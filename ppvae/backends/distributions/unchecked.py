"""Unchecked: whether a text wants values outside of a support to count by the formula, as Pyro's VAE of grey pixels."""

from __future__ import annotations

import inspect
from functools import cache
from typing import Any


def unchecked(fn: Any) -> bool:
    """Whether a distribution of Pyro's was made with ``validate_args=False``.

    Many classes that take no such argument turn torch's checks off for all that they make, which asks for nothing.
    """
    return getattr(fn, "_validate_args", None) is False and "validate_args" in _arguments(type(fn).__init__)


@cache
def _arguments(function: Any) -> frozenset[str]:
    return frozenset(inspect.signature(function).parameters)
