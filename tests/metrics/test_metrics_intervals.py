"""Bootstrap intervals, and those of coherence beside what judges make of real items."""

from __future__ import annotations

import doctest
import importlib

import linear_gaussian as lg
import numpy as np
import pytest
from scipy import stats

from ppvae import Dataset, metrics
from ppvae.inference.fitted import Fitted
from ppvae.metrics import Judges, interval

# One latent that a and b show with some noise.
NOISY = lg.LinearGaussian(
    weights={"a": np.array([[1.0]]), "b": np.array([[-1.0]])},
    biases={"a": np.array([0.5]), "b": np.array([0.0])},
    scales={"a": np.array([0.3]), "b": np.array([0.5])},
)


def noisy(items: int, seed: int) -> Dataset:
    data = lg.dataset(NOISY, NOISY.draw(items, seed))
    sign = (data.arrays["a"][:, 0] > 0.5).astype(float)
    return Dataset(data.arrays, labels={"sign": sign}, modalities=data.modalities)


@pytest.fixture(scope="module")
def fitted() -> Fitted:
    return lg.fitted(NOISY, lg.product(NOISY), "pyro")


@pytest.fixture(scope="module")
def test() -> Dataset:
    return noisy(60, 1)


@pytest.fixture(scope="module")
def judges() -> Judges:
    return metrics.judges(noisy(200, 0), "sign")


# Bootstrap


@pytest.mark.parametrize("level", [0.8, 0.95])
def test_the_interval_of_a_share_is_binomial(level: float) -> None:
    right = np.arange(200) < 140
    found = interval(right, level, resamples=20000)
    low, high = stats.binom.interval(level, 200, 0.7)
    assert found.value == 0.7
    np.testing.assert_allclose([found.low, found.high], [low / 200, high / 200], atol=1.01 / 200)


def test_the_interval_of_many_numbers_is_normal() -> None:
    values = np.random.default_rng(0).exponential(size=4000)
    found = interval(values, resamples=5000)
    wanted = values.mean() + np.array([-1.96, 1.96]) * stats.sem(values)
    np.testing.assert_allclose([found.low, found.high], wanted, atol=0.1 * stats.sem(values))


def test_items_that_were_not_measured_take_no_part() -> None:
    values = np.random.default_rng(1).normal(size=50)
    assert interval(np.where(np.arange(50) < 30, values, np.nan)) == interval(values[:30])


def test_an_interval_of_one_item_is_refused() -> None:
    with pytest.raises(ValueError, match="1 of 3 items were measured; an interval needs at least two"):
        interval(np.array([np.nan, 1.0, np.nan]))


# Coherence


def test_coherence_has_an_interval_and_the_judges_own_score(fitted: Fitted, judges: Judges, test: Dataset) -> None:
    subsets = [["a"], ["b"]]
    found = metrics.coherence_intervals(fitted, judges, test, subsets, draws=3, seed=2)
    plain = metrics.coherences(fitted, judges, test, subsets, draws=3, seed=2)
    for intervals, values in zip(found, plain, strict=True):
        assert {name: each.made.value for name, each in intervals.items()} == values
        for name, each in intervals.items():
            assert each.made.low < each.made.value < each.made.high
            assert each.real == interval(judges.right(test)[name])
            assert each.real.value == judges.accuracy(test)[name]


def test_items_without_a_label_are_judged_by_nobody(fitted: Fitted, judges: Judges, test: Dataset) -> None:
    half = np.arange(60) < 30
    labels = {"sign": np.where(half, test.labels["sign"], np.nan)}
    holed, whole = Dataset(test.arrays, labels=labels, modalities=test.modalities), test.take(half)
    assert judges.accuracy(holed) == judges.accuracy(whole)
    assert metrics.coherence_intervals(fitted, judges, holed, [["a"]]) == metrics.coherence_intervals(
        fitted, judges, whole, [["a"]]
    )
    assert metrics.probe(fitted, holed, holed, "sign", ["a"]) == metrics.probe(fitted, whole, whole, "sign", ["a"])
    one, other = (metrics.judges(data, "sign").read(test.arrays) for data in (holed, whole))
    for name, read in one.items():
        np.testing.assert_array_equal(read, other[name])


def test_prior_coherence_has_an_interval_and_that_of_whole_real_items(
    fitted: Fitted, judges: Judges, test: Dataset
) -> None:
    half = np.arange(60) < 30
    holed = Dataset(test.arrays, {"b": half}, test.labels, test.modalities)
    found = metrics.prior_coherence_intervals(fitted, judges, holed, items=100, seed=3)
    real = metrics.agreement(judges.read(test.take(half).arrays))
    plain = metrics.prior_coherence(fitted, judges, items=100, seed=3)
    assert {what: each.made.value for what, each in found.items()} == plain
    assert {what: each.real.value for what, each in found.items()} == real
    assert all(each.made.low <= each.made.value <= each.made.high for each in found.values())


def test_agreement_of_real_items_needs_a_whole_one(fitted: Fitted, judges: Judges, test: Dataset) -> None:
    holed = Dataset(test.arrays, {"b": np.zeros(60, bool)}, test.labels, test.modalities)
    with pytest.raises(ValueError, match="no item has all of a, b; give complete ones"):
        metrics.prior_coherence_intervals(fitted, judges, holed)


@pytest.mark.parametrize(
    "name", ["coherence", "reconstruction", "bootstrap", "retrieval", "proper_scores", "distances.edit_distance"]
)
def test_examples_are_what_they_say(name: str) -> None:
    failed, attempted = doctest.testmod(importlib.import_module(f"ppvae.metrics.{name}"))
    assert (failed, attempted > 0) == (0, True)
