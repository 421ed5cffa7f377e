"""Proper scores and the Fréchet distance, against closed forms and brute force."""

from __future__ import annotations

import linear_gaussian as lg
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import linalg, stats

from ppvae import Dataset
from ppvae.metrics import crps, energy, frechet, predictive_scores

RNG = np.random.default_rng(0)
REAL, DRAWS = RNG.normal(size=(5, 2, 3)), RNG.normal(size=(7, 5, 2, 3))


def normal_crps(x: np.ndarray, loc: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """The closed form for a normal distribution (Gneiting and Raftery 2007, section 4.2)."""
    z = (x - loc) / scale
    return scale * (z * (2 * stats.norm.cdf(z) - 1) + 2 * stats.norm.pdf(z) - 1 / np.sqrt(np.pi))


# CRPS and energy


def by_pairs(x: np.ndarray, draws: np.ndarray) -> float:
    """The energy score of one item, all pairs of different draws one by one."""
    near = np.mean([np.linalg.norm(draw - x) for draw in draws])
    pairs = [np.linalg.norm(one - other) for i, one in enumerate(draws) for other in draws[:i]]
    return float(near - np.mean(pairs) / 2)


@given(arrays(np.float64, (4, 1, 1), elements=st.floats(-9, 9)), st.floats(-9, 9))
def test_scores_of_one_number_are_one_score(draws: np.ndarray, x: float) -> None:
    real = np.array([[x]])
    wanted = by_pairs(real[0], draws[:, 0])
    assert crps(real, draws).item() == pytest.approx(wanted, abs=1e-12)
    assert energy(real, draws).item() == pytest.approx(wanted, abs=1e-12)


def test_crps_of_each_element_is_that_of_all_pairs() -> None:
    wanted = [by_pairs(np.array([x]), DRAWS[(slice(None), *place)][:, None]) for place, x in np.ndenumerate(REAL)]
    np.testing.assert_allclose(crps(REAL, DRAWS), np.reshape(wanted, REAL.shape), rtol=1e-10)


def test_energy_of_each_item_is_that_of_all_pairs() -> None:
    wanted = [by_pairs(x, DRAWS[:, item]) for item, x in enumerate(REAL)]
    np.testing.assert_allclose(energy(REAL, DRAWS), wanted, rtol=1e-10)


@pytest.mark.parametrize("draws", [2, 10])
def test_crps_of_few_draws_is_right_on_average(draws: int) -> None:
    real = np.full((20000, 1), 1.3)
    found = crps(real, 0.5 + 2 * np.random.default_rng(draws).normal(size=(draws, 20000, 1)))
    wanted = normal_crps(np.array(1.3), np.array(0.5), np.array(2.0))
    assert found.mean() == pytest.approx(wanted, abs=4 * stats.sem(found[:, 0]))


def test_elements_that_were_not_measured_have_no_score_and_move_none() -> None:
    seen = RNG.random(REAL.shape) < 0.6
    seen[0] = False
    real = np.where(seen, REAL, np.nan)
    np.testing.assert_array_equal(crps(real, DRAWS), np.where(seen, crps(REAL, DRAWS), np.nan))
    found = energy(real, DRAWS)
    assert np.isnan(found[0])
    for item in range(1, 5):
        assert found[item] == pytest.approx(by_pairs(REAL[item][seen[item]], DRAWS[:, item][:, seen[item]]))


@pytest.mark.parametrize("score", [crps, energy])
def test_one_draw_has_no_score(score) -> None:
    with pytest.raises(ValueError, match="a score was asked of 1 draws; it needs at least two"):
        score(REAL, DRAWS[:1])


# Predictive draws


def test_predictive_scores_are_those_of_the_oracle_s_predictive() -> None:
    truth = lg.general()
    values = lg.with_holes(truth.draw(12, seed=4), seed=5)
    pair = lg.fitted(truth, lg.Exact(truth), "pyro")
    found = predictive_scores(pair, lg.dataset(truth, values), ["a", "b"], ["c", "a"], draws=2000)
    given_something = ~(np.isnan(values["a"]).all(1) & np.isnan(values["b"]).all(1))
    for name, score in found.items():
        loc, cov = truth.predictive(name, {"a": values["a"], "b": values["b"]})
        scale = np.sqrt(np.einsum("ndd->nd", cov))
        wanted = np.where(given_something[:, None], normal_crps(values[name], loc, scale), np.nan)
        assert 0 < np.isnan(wanted).sum() < wanted.size
        np.testing.assert_allclose(score / scale, wanted / scale, atol=5 / np.sqrt(2000))


def test_the_truth_s_own_predictive_has_the_best_scores() -> None:
    truth = lg.general()
    data = lg.dataset(truth, truth.draw(60, seed=6))
    exact, shifted = (lg.fitted(truth, lg.Exact(truth, shift=shift), "pyro") for shift in (0.0, 1.5))
    for score in (crps, energy):
        right, wrong = (predictive_scores(pair, data, ["a"], ["b"], score, 30)["b"] for pair in (exact, shifted))
        assert right.mean() < wrong.mean()


def test_items_that_were_given_nothing_have_no_score() -> None:
    truth = lg.general()
    whole = lg.dataset(truth, truth.draw(4, seed=7))
    data = Dataset(whole.arrays, {"a": np.array([True, False, True, True])}, modalities=whole.modalities)
    found = predictive_scores(lg.fitted(truth, lg.Exact(truth), "pyro"), data, ["a"], ["b"], energy, 5)
    np.testing.assert_array_equal(np.isnan(found["b"]), [False, True, False, False])


# Fréchet distance


def gaussian(items: int, mean: np.ndarray, root: np.ndarray, seed: int) -> np.ndarray:
    """Items whose mean and covariance are exactly ``mean`` and ``rootᵀ root``."""
    noise = np.random.default_rng(seed).normal(size=(items, len(mean)))
    white, _ = np.linalg.qr(noise - noise.mean(0))
    return mean + np.sqrt(items - 1) * (white - white.mean(0)) @ root


def test_the_distance_of_gaussians_is_the_closed_form() -> None:
    scales, others = np.array([1.0, 0.5, 2.0]), np.array([0.1, 0.5, 3.0])
    mean, other = np.array([0.0, 1.0, 2.0]), np.array([0.5, 1.0, 0.0])
    found = frechet(gaussian(40, mean, np.diag(scales), 0), gaussian(30, other, np.diag(others), 1))
    assert found == pytest.approx(np.square(mean - other).sum() + np.square(scales - others).sum())


def test_the_distance_of_any_covariances_is_that_of_their_matrix_root() -> None:
    one, other = RNG.normal(size=(50, 4)), RNG.normal(size=(60, 4)) @ RNG.normal(size=(4, 4))
    cov, other_cov = np.cov(one, rowvar=False), np.cov(other, rowvar=False)
    cross = np.trace(linalg.sqrtm(cov @ other_cov).real)
    wanted = np.square(one.mean(0) - other.mean(0)).sum() + np.trace(cov) + np.trace(other_cov) - 2 * cross
    assert frechet(one, other) == pytest.approx(wanted)
    assert frechet(other, one) == pytest.approx(wanted)


def test_fewer_items_than_features_do_no_harm() -> None:
    items = RNG.normal(size=(6, 4, 5))
    assert frechet(items, items[::-1]) == pytest.approx(0, abs=1e-10)
    flat, lifted = np.zeros((6, 20)), np.zeros((6, 20))
    flat[:, 0], lifted[:, 1] = items[:, 0, 0], items[:, 0, 0]
    flat[:, 0] -= flat[:, 0].mean()
    lifted[:, 1] -= lifted[:, 1].mean()
    assert frechet(flat, lifted) == pytest.approx(2 * np.var(items[:, 0, 0], ddof=1))  # C_1 C_2 = 0


def test_features_are_compared_and_items_with_holes_are_not() -> None:
    one, other = RNG.normal(size=(2, 20, 3, 2))
    norms = lambda items: np.linalg.norm(items, axis=1)  # noqa: E731
    whole = frechet(one, other, norms)
    assert whole == pytest.approx(frechet(norms(one), norms(other)))
    hole = np.full((1, 3, 2), 0.5)
    hole[0, 0, 0] = np.nan
    assert frechet(np.concatenate([hole, one]), other, norms) == pytest.approx(whole)


def test_sets_that_cannot_be_compared_are_one_sentence() -> None:
    with pytest.raises(ValueError, match="1 of 2 items have no hole; a covariance needs at least two"):
        frechet(np.array([[0.0], [np.nan]]), np.zeros((3, 1)))
    with pytest.raises(ValueError, match="real items have 1 features, made ones 2; give both the same"):
        frechet(np.zeros((3, 1)), np.zeros((3, 2)))
