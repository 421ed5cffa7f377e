"""Skills: the model's predictions beside scikit-learn's, which are taken from there directly."""

from __future__ import annotations

import linear_gaussian as lg
import numpy as np
import pytest
from sklearn.linear_model import RidgeClassifierCV, RidgeCV
from sklearn.metrics import accuracy_score, r2_score
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from ppvae import Dataset, Modality, metrics
from ppvae.metrics.skills import PENALTIES

RNG = np.random.default_rng(0)
TRUTH = lg.general()
KINDS = [Modality("x", (2, 2)), Modality("t", (1,), "categorical", levels=3)]


def drawn(items: int, seed: int) -> Dataset:
    return lg.dataset(TRUTH, TRUTH.draw(items, seed))


def mixed(items: int, seed: int) -> Dataset:
    """Numbers, and a category that they tell."""
    rng = np.random.default_rng(seed)
    types = rng.integers(3, size=(items, 1))
    return Dataset({"x": types[..., None] + rng.normal(size=(items, 2, 2)), "t": types}, modalities=KINDS)


@pytest.mark.parametrize("backend", lg.BACKENDS)
def test_an_exact_model_explains_what_its_posterior_mean_does_and_more_than_baselines(backend: str) -> None:
    train, test = drawn(40, 1), drawn(200, 2)
    found = metrics.skills(lg.fitted(TRUTH, lg.Exact(TRUTH), backend), test, train, draws=50)
    assert list(found) == list("abc")
    for name, skill in found.items():
        mean, _ = TRUTH.posterior({other: values for other, values in test.arrays.items() if other != name})
        predicted = mean @ TRUTH.weights[name].T + TRUTH.biases[name]
        exact = r2_score(test.arrays[name], predicted, multioutput="variance_weighted")
        assert skill.measure == "R²"
        assert skill.scores["model"] == pytest.approx(exact, abs=0.03)
        assert abs(skill.scores["mean"]) < 0.1
        assert max(skill.scores["ridge"], skill.scores["neighbours"]) < exact + 0.03


def test_baselines_of_numbers_are_scikit_learn_s() -> None:
    train, test = mixed(60, 1), mixed(30, 2)
    found = metrics.baselines(train, test, ["t"], KINDS[0])
    order = np.random.default_rng(0).permutation(60)
    hot = OneHotEncoder(sparse_output=False).fit(train.arrays["t"])
    seen, asked = hot.transform(train.arrays["t"][order]), hot.transform(test.arrays["t"])
    target = train.arrays["x"].reshape(60, -1)[order]
    for name, one in {"ridge": RidgeCV(PENALTIES), "neighbours": KNeighborsRegressor()}.items():
        np.testing.assert_allclose(found[name], one.fit(seen, target).predict(asked).reshape(-1, 2, 2), rtol=1e-9)
    np.testing.assert_allclose(found["mean"], np.broadcast_to(train.arrays["x"].mean(0), (30, 2, 2)))


def test_baselines_of_categories_are_scikit_learn_s() -> None:
    train, test = mixed(60, 1), mixed(30, 2)
    found = metrics.baselines(train, test, ["x"], KINDS[1])
    order = np.random.default_rng(0).permutation(60)
    flat = [data.arrays["x"].reshape(len(data), -1) for data in (train, test)]
    scaler = StandardScaler().fit(flat[0])
    seen, asked = scaler.transform(flat[0][order]), scaler.transform(flat[1])
    target = train.arrays["t"][order, 0]
    for name, one in {"ridge": RidgeClassifierCV(PENALTIES), "neighbours": KNeighborsClassifier()}.items():
        assert found[name][:, 0].tolist() == one.fit(seen, target).predict(asked).tolist()
        right = accuracy_score(test.arrays["t"], found[name])
        assert metrics.accuracy(test.arrays["t"].astype(float), found[name]) == right > 0.5
    values, counts = np.unique(target, return_counts=True)
    assert set(found["mean"][:, 0]) == {values[counts.argmax()]}


def test_what_was_not_measured_takes_no_part() -> None:
    truth = TRUTH.draw(80, 3)
    holes = lg.with_holes(truth, 4)
    train, test = lg.dataset(TRUTH, lg.with_holes(TRUTH.draw(80, 5), 6)), lg.dataset(TRUTH, holes)
    fitted = lg.fitted(TRUTH, lg.Exact(TRUTH), "pyro")
    found = metrics.skills(fitted, test, train, given=["a"])
    assert list(found) == ["b", "c"]
    seen = ~np.isnan(holes["a"]).all(1)
    made = metrics.baselines(train, test, ["a"], fitted.modalities[1])["ridge"]
    real = np.where(seen[:, None], holes["b"], np.nan)
    assert found["b"].scores["ridge"] == metrics.r2(real, made)
    assert np.isnan(metrics.accuracy(np.full((2, 1), np.nan), np.zeros((2, 1))))


def test_without_training_rows_the_model_stands_alone_and_one_modality_has_nothing_to_be_told_by() -> None:
    fitted = lg.fitted(TRUTH, lg.Exact(TRUTH), "pyro")
    test = drawn(20, 2)
    assert {name: list(each.scores) for name, each in metrics.skills(fitted, test).items()} == {
        n: ["model"] for n in "abc"
    }
    assert metrics.skills(fitted, test.only(["a"])) == {}
    assert metrics.baselines(test.take([0]), test, ["a"], fitted.modalities[1]) == {}
    few = metrics.baselines(test.take([0, 1]), test, ["a"], fitted.modalities[1])
    np.testing.assert_allclose(few["neighbours"], few["mean"], rtol=1e-6)
