"""Classifiers: judges, fitted to real measurements, that read a label off each modality."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from threadpoolctl import threadpool_limits

from ppvae.data.dataset import Dataset
from ppvae.language.modality import Modality
from ppvae.metrics.bootstrap import Interval, interval

FOLDS, LEVEL = 5, 0.9


def linear() -> Any:
    """Logistic regression of standardised values."""
    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))


@dataclass(frozen=True)
class Judges:
    """A classifier for each modality.

    Attributes:
        label: which label of a data set they read.
        classifiers: modality to a fitted scikit-learn classifier of flattened values.
    """

    label: str
    classifiers: Mapping[str, Any]

    def read(self, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The labels read off modalities ``(items, *shape)``: name to ``(items,)``."""
        return {name: self.classifiers[name].predict(array.reshape(len(array), -1)) for name, array in arrays.items()}

    def accuracy(self, data: Dataset) -> dict[str, float]:
        """Share of the items that have a modality whose label is read right: what predictions of it can hope for."""
        return {name: float(each.mean()) for name, each in self.right(data).items()}

    def right(self, data: Dataset) -> dict[str, np.ndarray]:
        """Whether the label is read right off each of the items that have a modality: name to booleans."""
        truth, found = labels(data, self.label), {}
        for name in (name for name in self.classifiers if name in data.arrays):
            seen = complete(data, name) & known(truth)
            found[name] = self.read({name: data.arrays[name][seen]})[name] == truth[seen]
        return found


@dataclass(frozen=True)
class Judged:
    """A share that judges read off made measurements, beside the one they read off real ones.

    A judge's mistakes count against both. Predictions without noise can be easier to read than real measurements, so
    ``real`` bounds ``made`` only where they are as noisy.
    """

    made: Interval
    real: Interval


def judges(data: Dataset, label: str, make: Callable[[], Any] = linear) -> Judges:
    """Judges of a label, each fitted to the items that have all of its modality.

    Args:
        data: real measurements, which the items to be judged should not be among.
        label: which of its labels; items for which it is NaN take no part.
        make: a fresh scikit-learn classifier. Of a text it sees which token stands in each position, zeros and ones.

    Raises:
        ValueError: the data have no such label.
    """
    truth, fitted = labels(data, label), {}
    for modality in data.modalities or ():
        seen = complete(data, name := modality.name) & known(truth)
        judge = reader(modality, make)
        fitted[name] = judge.fit(data.arrays[name][seen].reshape(seen.sum(), -1), truth[seen])
    return Judges(label, fitted)


def reader(modality: Modality, make: Callable[[], Any] = linear) -> Any:
    """A fresh classifier of a modality's flattened values, which sees a text as zeros and ones."""
    judge = make()
    if modality.kind != "text":
        return judge
    return make_pipeline(OneHotEncoder(handle_unknown="ignore", sparse_output=False), judge)


@threadpool_limits.wrap(limits=1, user_api="blas")  # threads that wait for each other take longer than one
def crossed(modality: Modality, real: np.ndarray, made: np.ndarray, truth: np.ndarray, seed: int = 0) -> Judged | None:
    """How often judges that never saw an item read its label off what was made of it, and off what was measured.

    Each fifth of the items is read by a judge fitted to the measurements of the others. Items whose label fewer than
    five have take no part, nor do elements that predictions do not know.

    Args:
        modality: what is read.
        real: its measurements, ``(items, *shape)``.
        made: predictions of them, alike.
        truth: the items' labels, ``(items,)``.
        seed: of the fifths.

    Returns:
        Both shares with intervals of 90 %; None where fewer than two labels, or no elements, are left.
    """
    _, codes, counts = np.unique(truth, return_inverse=True, return_counts=True)
    often = counts[codes] >= FOLDS
    told = np.isfinite(made[often]).all(0)
    if (counts >= FOLDS).sum() < 2 or not told.any():
        return None
    codes, flat = codes[often], [values[often][:, told] for values in (made, real)]
    right = np.zeros((2, len(codes)))
    for others, fifth in StratifiedKFold(FOLDS, shuffle=True, random_state=seed).split(codes, codes):
        judge = reader(modality).fit(flat[1][others], codes[others])
        right[:, fifth] = [judge.predict(values[fifth]) == codes[fifth] for values in flat]
    return Judged(*(interval(each, LEVEL) for each in right))


def labels(data: Dataset, label: str) -> np.ndarray:
    """A label of every item, ``(items,)``."""
    found = data.labels or {}
    if label not in found:
        raise ValueError(f"the data have no label {label!r}; they have {', '.join(found) or 'none'}")
    return found[label]


def known(truth: np.ndarray) -> np.ndarray:
    """Which items have a label, booleans ``(items,)``: NaN is none."""
    return truth == truth  # only NaN differs from itself, in an array of any type


def complete(data: Dataset, name: str) -> np.ndarray:
    """Which items have all of a modality, booleans ``(items,)``."""
    if name not in data.arrays:
        return np.zeros(len(data), bool)
    mask = (data.observed or {}).get(name)
    return np.ones(len(data), bool) if mask is None else np.all(mask.reshape(len(data), -1), axis=1)
