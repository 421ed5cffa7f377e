"""Snapshot: the weights and the optimiser's memory of a run, as numpy arrays that either backend can go on from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Snapshot:
    """Everything a run needs to go on, on either backend: numpy arrays by parameter name.

    ``moments`` holds what the optimiser remembers, under optax's names (``mu``, ``nu``, ``trace``).
    """

    weights: Mapping[str, np.ndarray]
    moments: Mapping[str, Mapping[str, np.ndarray]] = field(default_factory=dict)
    step: int = 0
