"""Categories: names as the numbers 0, 1, 2, ... of a categorical modality ``(1,)``, and back."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

import numpy as np
from pydantic.dataclasses import dataclass

from ppvae.data.preprocessing.stacking import stacked


@dataclass(frozen=True, config={"extra": "forbid"})
class Categories:
    """Names in the order of their numbers; what is none of them, as no training row had it, is a hole."""

    names: tuple[str, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """``(1,)``."""
        return (1,)

    @property
    def levels(self) -> int:
        """How many categories there are."""
        return len(self.names)

    def encode(self, raw: Iterable[str | None]) -> tuple[np.ndarray, np.ndarray]:
        """Names, None for a hole, as ``(items, 1)``, and which are there, ``(items,)``."""
        number = {name: i for i, name in enumerate(self.names)}
        return stacked(lambda i: np.array([i]), map(number.get, raw), self.shape)  # type: ignore[arg-type]

    def decode(self, array: np.ndarray) -> list[str]:
        """Names from ``(items, 1)``."""
        return [self.names[int(row[0])] for row in array]

    def plain(self) -> dict[str, Any]:
        """What JSON holds of it."""
        return {"kind": "category", **asdict(self), "names": list(self.names)}


def fitted(raw: Iterable[str | None]) -> Categories:
    """The names that there are, sorted.

    Raises:
        ValueError: there is none.
    """
    names = {name for name in raw if name is not None}
    if not names:
        raise ValueError("there is no name of a category")
    return Categories(tuple(sorted(names)))
