"""Savable: what could refuse to be written when a run ends is tried before it begins."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np


def plain(notes: Mapping[str, Any]) -> dict[str, Any]:
    """Notes as a run folder keeps them; numpy's numbers and arrays become Python's.

    Raises:
        ValueError: JSON cannot hold one of them.
    """
    kept: dict[str, Any] = {}
    for name, value in notes.items():
        try:
            kept |= json.loads(json.dumps({name: value}, allow_nan=False, default=_number))
        except (TypeError, ValueError, RecursionError) as error:
            reason = str(error).splitlines()[0]
            raise ValueError(f"the note {name!r} cannot be kept in a run folder, as JSON: {reason}") from None
    return kept


def _number(value: Any) -> Any:
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError(f"it holds a {type(value).__name__}; keep numbers, text, lists and dicts")
