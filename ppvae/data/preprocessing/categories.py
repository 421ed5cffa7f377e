"""Categories: names as the numbers 0, 1, 2, ... of a categorical modality ``(1,)``, and back."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

import numpy as np
from pydantic.dataclasses import dataclass

from ppvae.data.ids.alike import plain
from ppvae.data.preprocessing.stacking import stacked


@dataclass(frozen=True, config={"extra": "forbid"})
class Categories:
    """Names in the order of their numbers; what is none of them, as no training row had it, is a hole."""

    names: tuple[bool | int | float | str, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """``(1,)``."""
        return (1,)

    @property
    def levels(self) -> int:
        """How many categories there are."""
        return len(self.names)

    def encode(self, raw: Iterable[Any]) -> tuple[np.ndarray, np.ndarray]:
        """Names, None for a hole, as ``(items, 1)``, and which are there, ``(items,)``.

        Warns:
            UserWarning: one is none of the categories.
        """
        number = {name: i for i, name in enumerate(self.names)}
        raw = list(raw)
        if foreign := [name for name in raw if name is not None and name not in number]:
            warnings.warn(
                f"{len(foreign)} of {len(raw)} names, such as {str(foreign[0])[:40]!r}, are none of the categories "
                f"{', '.join(map(str, self.names))[:80]}, and count as missing",
                UserWarning,
                stacklevel=2,
            )
        return stacked(lambda i: np.array([i]), map(number.get, raw), self.shape)

    def decode(self, array: np.ndarray) -> list[Any]:
        """Names from ``(items, 1)``."""
        return [self.names[int(row[0])] for row in array]

    def plain(self) -> dict[str, Any]:
        """What JSON holds of it."""
        return {"kind": "category", **asdict(self), "names": list(self.names)}


def fitted(raw: Iterable[str | None]) -> Categories:
    """The names that there are, sorted.

    Warns:
        UserWarning: two differ in writing alone.

    Raises:
        ValueError: there is none.
    """
    names = {name for name in raw if name is not None}
    if not names:
        raise ValueError("there is no name of a category")
    warn_of_twins(names)
    return Categories(tuple(sorted(names)))


def warn_of_twins(names: Iterable[Any]) -> None:
    """Warn where two names are alike but for case, blanks or zeros before a number."""
    seen: dict[str, Any] = {}
    for name in sorted(names, key=str):
        if (twin := seen.setdefault(plain(name), name)) is not name:
            warnings.warn(
                f"the names {twin!r} and {name!r} differ in writing alone, and count as two categories: write them "
                "alike where they are one",
                UserWarning,
                stacklevel=3,
            )
