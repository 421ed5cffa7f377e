"""Short chains against the linear-Gaussian oracle, and nested R-hat against sums by hand and its limits."""

from __future__ import annotations

import linear_gaussian as lg
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ppvae.inference import arviz
from ppvae.inference.conditioned_items import conditioned
from ppvae.inference.correction.chains import DRAWS, FROM_EACH, superchains

ITEMS = 5


def test_nested_rhat_is_that_of_a_sum_by_hand() -> None:
    """Within chains 2, between their means 1 and 3, or 5 and 7, 2 again; between superchains, of means 2 and 6, 8."""
    draws = np.array([[[0.0, 2.0], [2.0, 4.0]], [[4.0, 6.0], [6.0, 8.0]]])
    assert arviz.nested_rhat(draws) == pytest.approx(np.sqrt(1 + 8 / 4), rel=1e-12)


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 6), st.integers(2, 4), st.integers(2, 5), st.floats(-3, 3), st.floats(0.1, 9))
def test_neither_units_nor_order_count(superchains: int, chains: int, draws: int, shift: float, unit: float) -> None:
    rng = np.random.default_rng([superchains, chains, draws])
    values = rng.normal(size=(superchains, chains, draws, 3))
    found = arviz.nested_rhat(values)
    assert found.shape == (3,)
    np.testing.assert_allclose(arviz.nested_rhat(shift + unit * values), found, rtol=1e-9)
    for axis in range(3):
        np.testing.assert_allclose(arviz.nested_rhat(np.flip(values, axis)), found, rtol=1e-9)


def test_nested_rhat_of_superchains_that_are_alike_is_one_and_that_of_separated_ones_grows_with_the_distance() -> None:
    one = np.random.default_rng(0).normal(size=(1, 4, 100))
    assert arviz.nested_rhat(np.repeat(one, 10, 0)) == 1
    assert arviz.nested_rhat(np.zeros((10, 4, 100))) == 1
    for distance in (1.0, 100.0):
        apart = np.concatenate([one, one + distance])
        within = one.var(2, ddof=1).mean() + one.mean(2).var(ddof=1)
        assert arviz.nested_rhat(apart) == pytest.approx(np.sqrt(1 + distance**2 / 2 / within), rel=1e-9)
    assert np.isposinf(arviz.nested_rhat(np.arange(10.0)[:, None, None] + np.zeros((10, 4, 100))))
    assert np.isnan(arviz.nested_rhat(np.full((10, 4, 100), np.nan)))


def test_nested_rhat_of_independent_draws_is_what_their_number_makes_it() -> None:
    """Superchains of ``m n`` draws differ by ``1 / (m n)`` of their variance."""
    draws = np.random.default_rng(1).normal(size=(10, 4, 25, 4000))
    assert np.square(arviz.nested_rhat(draws)).mean() == pytest.approx(1 + 1 / 100, abs=5e-4)


def test_nested_rhat_takes_no_fewer_than_two_of_each() -> None:
    with pytest.raises(
        ValueError, match=r"needs two superchains of two chains of two draws, and is given \(10, 1, 5\)"
    ):
        arviz.nested_rhat(np.zeros((10, 1, 5)))


@pytest.mark.slow
def test_short_chains_have_the_moments_of_the_posterior_of_every_mask() -> None:
    truth = lg.general()
    values = lg.with_holes(truth.draw(ITEMS, seed=2), seed=3)
    run = lg.fitted(truth, lg.Exact(truth, widen=0.3, shift=1.0), "numpyro")
    found = superchains(conditioned(run, lg.dataset(truth, values), None, 0))
    assert found.shape == (ITEMS, 10, FROM_EACH, DRAWS, 2)
    assert arviz.nested_rhat(np.moveaxis(found, 0, 3)).max() < arviz.CONVERGED
    mean, cov = truth.posterior(values)
    sd = np.sqrt(np.diagonal(cov, axis1=1, axis2=2))
    z = found.reshape(ITEMS, -1, 2)
    assert np.abs((z.mean(1) - mean) / sd).max() < 0.08  # four errors of 2,500 draws
    assert np.abs(z.std(1) / sd - 1).max() < 0.06
    white = np.stack(
        [np.linalg.solve(np.linalg.cholesky(c), (each - m).T) for c, m, each in zip(cov, mean, z, strict=True)]
    )
    assert np.abs((white[:, 0] * white[:, 1]).mean(1)).max() < 0.08
