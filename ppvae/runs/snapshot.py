"""Snapshot: the weights and the optimiser's memory of a run, as numpy arrays that either backend can go on from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np


@dataclass(frozen=True)
class Snapshot:
    """Everything a run needs to go on, on either backend: numpy arrays by parameter name.

    ``moments`` holds what the optimiser remembers, under optax's names (``mu``, ``nu``, ``trace``), ``foreign`` what
    one of optax or torch does, under that library's. Where training has moved on from the weights that it keeps,
    ``last`` holds those that it goes on from.
    """

    weights: Mapping[str, np.ndarray]
    moments: Mapping[str, Mapping[str, np.ndarray]] = field(default_factory=dict)
    step: int = 0
    last: Mapping[str, np.ndarray] = field(default_factory=dict)
    foreign: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def latest(self) -> Snapshot:
        """Where training stands."""
        return replace(self, weights=self.last or self.weights, last={})
