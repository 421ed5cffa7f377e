"""Served: answers that say of each item which posterior they stand on, and whether that can be trusted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ppvae.inference.arviz import THRESHOLD


@dataclass(frozen=True, eq=False)
class Served:
    """How each item was served.

    Attributes:
        stage: ``(items,)``: ``"guide"``, whose draws are resampled by their weights, or ``"corrected"``.
        khat: ``(items,)``, of the importance weights behind the answer.
    """

    stage: np.ndarray
    khat: np.ndarray

    @property
    def passes(self) -> np.ndarray:
        """Booleans ``(items,)``: is k-hat at most 0.7?"""
        return self.khat <= THRESHOLD


class Answers(dict[str, np.ndarray]):
    """Arrays by name, and how each item was ``served``."""

    def __init__(self, values: Mapping[str, np.ndarray], served: Served) -> None:
        super().__init__(values)
        self.served = served


class Answer(np.ndarray):
    """An array, and how each item was ``served``; what is computed from it is a plain array."""

    served: Served | None

    def __new__(cls, values: np.ndarray, served: Served) -> Answer:
        answer = values.view(cls)
        answer.served = served
        return answer

    def __array_finalize__(self, other: Any) -> None:
        self.served = None

    def __array_wrap__(self, array: np.ndarray, context: Any = None, return_scalar: bool = False) -> Any:
        return array[()] if return_scalar else array.view(np.ndarray)
