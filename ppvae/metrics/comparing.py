"""Comparing: predictions beside what was measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ppvae.batch import over
from ppvae.data.dataset import Dataset

Compare = Callable[[np.ndarray, np.ndarray], Any]


def compared(compare: Compare, data: Dataset, there: np.ndarray, made: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """What ``compare(measured, made)`` says of each modality.

    Args:
        compare: takes the measured values in double precision, NaN in holes, and the predictions of them.
        data: the measurements.
        there: which items were given something, ``(items,)``; nothing of the others counts as measured.
        made: name to predictions.

    Raises:
        ValueError: a prediction is not a number, or the data lack a modality.
    """
    for name, values in made.items():
        if name not in data.arrays:
            raise ValueError(f"the data have no {name!r} to compare with; ask for some of {', '.join(data.arrays)}")
        if np.isnan(values).any():
            raise ValueError(f"predictions of {name!r} are not numbers; train again, with a lower learning rate")
    return {name: compare(_measured(data, name, there), values) for name, values in made.items()}


def _measured(data: Dataset, name: str, there: np.ndarray) -> np.ndarray:
    values = data.holed(name).astype(np.float64)
    return np.where(over(there, values), values, np.nan)
