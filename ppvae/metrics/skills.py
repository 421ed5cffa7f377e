"""Skills: how good predictions of each modality are, beside what simple regressions make of the same rows."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.dummy import DummyRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import RidgeCV
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from ppvae.data.dataset import Dataset
from ppvae.inference.fitted import Fitted
from ppvae.inference.subset_questions import explained
from ppvae.language.modality import CATEGORIES, Modality
from ppvae.metrics.predictive_means import judged
from ppvae.metrics.reconstruction import Compare, compared, points, r2
from ppvae.metrics.subsets import anything, shown

MOST = 2000  # training rows that baselines are fitted to, drawn by the seed
NEIGHBOURS = 5
PENALTIES = np.logspace(-1, 5, 7)  # of ridge regression, which chooses by generalised cross-validation


@dataclass(frozen=True)
class Skill:
    """How good predictions of a modality are.

    Attributes:
        measure: ``R²``, the share of its variance that is explained, or of categories ``accuracy``, the share of the
            elements that are right; 1 is best of either.
        scores: of the ``model``, and where training rows are known of the column's ``mean`` or most frequent category,
            of ``ridge`` regression and of the five nearest ``neighbours``; NaN where nothing varies.
    """

    measure: str
    scores: Mapping[str, float]


def accuracy(real: np.ndarray, made: np.ndarray) -> float:
    """Share of the measured elements, those that are not NaN, that are equal; NaN where there are none."""
    seen = ~np.isnan(real)
    return float((made == real)[seen].mean()) if seen.any() else np.nan


def skills(
    fitted: Fitted,
    test: Dataset,
    train: Dataset | None = None,
    given: Collection[str] | None = None,
    draws: int = 20,
    seed: int = 0,
) -> dict[str, Skill]:
    """How good predictions of each modality are on the test rows, beside baselines fitted to the training rows.

    Each is predicted from the ``given`` modalities, by default from all others that the data have; what is given, or
    has no others, is left out, and so are texts, which have :func:`~ppvae.metrics.likenesses`. The model's prediction
    is that of :func:`~ppvae.metrics.reconstruction`; the others are :func:`baselines`.

    Args:
        fitted: the pair.
        test: rows that training did not see.
        train: rows that it saw; without them nothing stands beside the model.
        given: the modalities to predict from.
        draws: of the model's latents.
        seed: of the draws.
    """
    held = [name for name in fitted.names if name in test.arrays and (given is None or name in given)]
    asked = {m.name: m for m in fitted.modalities if m.name in explained(fitted, test) and m.kind != "text"}
    others = {name: [n for n in held if n != name] for name in asked if given is None or name not in given}
    if not (others := {name: shown_ones for name, shown_ones in others.items() if shown_ones}):
        return {}
    rows = shown(test, list(others.values()))
    parts = np.arange(len(rows)).reshape(len(others), -1)
    made: dict[str, np.ndarray] = {}
    with judged(others):
        made = points(fitted, rows, list(others), draws, seed)
    there, found = anything(rows), {}
    for part, (name, given_ones) in zip(parts, others.items(), strict=True):
        if name not in made:
            continue
        predictions = {"model": made[name][part]}
        if train is not None:
            predictions |= baselines(train, test, given_ones, asked[name], seed)
        found[name] = _skill(asked[name], test, there[part], predictions)
    return found


def _skill(modality: Modality, test: Dataset, there: np.ndarray, predictions: Mapping[str, np.ndarray]) -> Skill:
    """The scores of predictions of a modality on the rows that show something of what is given."""
    measures: dict[str, Compare] = {"R²": r2, "accuracy": accuracy}
    measure = "accuracy" if modality.likelihood in CATEGORIES else "R²"
    scores = {
        what: compared(measures[measure], test, there, {modality.name: values})[modality.name]
        for what, values in predictions.items()
    }
    return Skill(measure, scores)


@threadpool_limits.wrap(limits=1, user_api="blas")  # threads that wait for each other take longer than one
def baselines(
    train: Dataset, test: Dataset, given: Collection[str], modality: Modality, seed: int = 0
) -> dict[str, np.ndarray]:
    """What simple regressions predict of a modality of the test rows, by name ``(items, *shape)``.

    They are scikit-learn's: the ``mean``, ``ridge`` regression and the mean of the nearest ``neighbours``. They see
    standardised numbers, and categories as zeros and ones, of which the largest is what they predict; what was not
    measured counts as the column's mean. Nothing where fewer than two training rows have the modality.
    """
    rows = np.random.default_rng(seed).permutation(np.flatnonzero(train.present(modality.name)))[:MOST]
    if len(rows) < 2:
        return {}
    few, nearest = train.take(rows), min(NEIGHBOURS, len(rows))
    target = SimpleImputer(keep_empty_features=True).fit_transform(_target(few, modality))
    seen, asked = _inputs(few, test, given)
    regressions: dict[str, Any] = {
        "mean": DummyRegressor(),
        "ridge": RidgeCV(PENALTIES),
        "neighbours": KNeighborsRegressor(nearest),
    }
    made = {name: one.fit(seen, target).predict(asked) for name, one in regressions.items()}
    return {name: _values(modality, np.asarray(values)) for name, values in made.items()}


def _target(data: Dataset, modality: Modality) -> np.ndarray:
    """Numbers, or a number for each level of each category, ``(items, columns)``, NaN in holes."""
    columns = _columns(data, modality.name)
    if modality.likelihood not in CATEGORIES:
        return columns
    hot = np.where(np.isnan(columns)[..., None], np.nan, columns[..., None] == np.arange(modality.levels or 0))
    return hot.reshape(len(data), -1)


def _values(modality: Modality, made: np.ndarray) -> np.ndarray:
    """The modality's values, ``(items, *shape)``, from predictions of its target."""
    if modality.likelihood in CATEGORIES:
        made = made.reshape(len(made), -1, modality.levels or 0).argmax(-1)
    return made.reshape(-1, *modality.shape)


def _inputs(train: Dataset, test: Dataset, given: Collection[str]) -> tuple[np.ndarray, np.ndarray]:
    """The given modalities of either side as columns, ``(items, columns)``, prepared as the training rows say."""
    sides: list[tuple[np.ndarray, np.ndarray]] = []
    for modality in (m for m in train.modalities or () if m.name in given):
        columns = [_target(data, modality) for data in (train, test)]
        scale = modality.likelihood not in CATEGORIES
        scaler = StandardScaler(with_mean=scale, with_std=scale)
        prepared = make_pipeline(SimpleImputer(keep_empty_features=True), scaler)
        sides.append((prepared.fit_transform(columns[0]), prepared.transform(columns[1])))
    seen, asked = zip(*sides, strict=True)
    return np.concatenate(seen, 1), np.concatenate(asked, 1)


def _columns(data: Dataset, name: str) -> np.ndarray:
    """A modality's values, ``(items, elements)``, NaN in holes."""
    return data.holed(name).reshape(len(data), -1).astype(np.float64)
