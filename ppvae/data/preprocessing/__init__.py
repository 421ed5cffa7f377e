"""Preprocessing: how pictures, words, sounds and series become numbers, and numbers become themselves again."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import numpy as np
from pydantic import ValidationError

KINDS = {
    "image": ("images", "Images"),
    "sound": ("sounds", "Sounds"),
    "series": ("series", "Series"),
    "category": ("categories", "Categories"),
    "text": ("text", "Texts"),
}  # the file and the class


class Preprocessing(Protocol):
    """What was found out from the training rows, and turns things into numbers and back; a frozen dataclass."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The event shape of one thing."""

    @property
    def levels(self) -> int | None:
        """Number of categories of each element; None where it has none."""

    def encode(self, raw: Iterable[Any]) -> tuple[np.ndarray, np.ndarray]:
        """Numbers ``(items, *shape)``, and where there was anything: ``(items,)`` or that shape; None is a hole."""

    def decode(self, array: np.ndarray) -> list[Any]:
        """Things from numbers ``(items, *shape)``."""

    def plain(self) -> dict[str, Any]:
        """What JSON holds of it, which :func:`preprocessing` reads again."""


def preprocessing(name: str, mapping: Mapping[str, Any]) -> Preprocessing:
    """What turns the numbers of a modality into things again, from its ``preprocessing``.

    Raises:
        ValueError: the mapping is of no kind that is known here, or damaged.
    """
    values = dict(mapping)
    kind = values.pop("kind", None)
    if kind not in KINDS:
        raise ValueError(f"modality {name!r} has preprocessing of kind {kind!r}; known are {', '.join(KINDS)}")
    made = getattr(library_of(kind), KINDS[kind][1])
    try:
        found: Preprocessing = made(**values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ValueError(
            f"the preprocessing of modality {name!r} is damaged: {where}: {first['msg'].lower()}"
        ) from None
    return found


def library_of(kind: str) -> Any:
    """The file of a kind of things: its functions ``fitted``, ``read`` and ``write``."""
    return importlib.import_module(f"{__name__}.{KINDS[kind][0]}")
