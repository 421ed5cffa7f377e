"""NUTS against closed-form posteriors, and the guide against NUTS."""

from __future__ import annotations

from functools import cache

import linear_gaussian as lg
import mixed
import numpy as np
import pytest
from scipy import stats

from ppvae import Dataset
from ppvae.diagnostics.nuts import Chains, NutsComparison, compare_with_nuts, nuts
from ppvae.diagnostics.samples.c2st import c2st
from ppvae.inference.fitted import Fitted

ITEMS = 8


@cache
def case() -> tuple[lg.LinearGaussian, lg.Arrays, Dataset]:
    """A general oracle; items miss elements and whole modalities."""
    truth = lg.general()
    values = lg.with_holes(truth.draw(ITEMS, seed=2), seed=3)
    return truth, values, lg.dataset(truth, values)


def fitted(backend: str, widen: float = 1.0, shift: float = 0.0) -> Fitted:
    truth, _, _ = case()
    return lg.fitted(truth, lg.Exact(truth, widen, shift), backend)


@cache
def chains() -> Chains:
    """Chains that start from a guide that is too narrow and off."""
    _, _, data = case()
    return nuts(fitted("pyro", widen=0.4, shift=0.3), data, draws=800, warmup=200)


@cache
def comparison() -> NutsComparison:
    _, _, data = case()
    return compare_with_nuts(fitted("pyro", widen=0.4, shift=0.3), data, chains())


@pytest.mark.slow
def test_chains_have_the_moments_of_the_posterior_of_every_mask() -> None:
    truth, values, _ = case()
    mean, cov = truth.posterior(values)
    variance, z = np.diagonal(cov, axis1=1, axis2=2), chains().draws["z"]
    assert z.shape == (4, 800, ITEMS, 2)
    assert np.abs((z.mean((0, 1)) - mean) / np.sqrt(variance / chains().ess["z"])).max() < 4
    centred = (z - mean).reshape(-1, ITEMS, 2)
    found = np.einsum("dni,dnj->nij", centred, centred) / len(centred)
    noise = np.sqrt((variance[:, :, None] * variance[:, None, :] + cov**2) / 400)
    assert np.abs((found - cov) / noise).max() < 4


@pytest.mark.slow
def test_chains_of_a_linear_gaussian_converge() -> None:
    assert chains().share >= 0.95
    assert chains().share == (chains().rhat["z"] < 1.01).mean()
    assert np.array_equal(chains().converged, (chains().rhat["z"] < 1.01).all(1))
    assert chains().ess["z"].min() > 800
    assert (chains().divergences == 0).all()
    assert ((chains().steps >= 1) & (chains().steps <= 15)).all()


def test_the_referee_sees_what_is_wrong_with_a_guide() -> None:
    truth, values, _ = case()
    mean, cov = truth.posterior(values)
    sd, found = np.sqrt(np.diagonal(cov, axis1=1, axis2=2)), comparison()
    assert found.latents == ("z[0]", "z[1]")
    assert found.guide_mean == pytest.approx(mean + 0.3, abs=0.05)
    assert found.guide_sd == pytest.approx(0.4 * sd, rel=0.1)
    assert found.nuts_sd == pytest.approx(sd, rel=0.15)
    levels = (np.arange(2000) + 0.5) / 2000
    quantiles = stats.norm.ppf(levels)[:, None, None]
    expected = np.abs(0.3 + (0.4 - 1) * sd * quantiles).mean(0)
    assert found.wasserstein == pytest.approx(expected, abs=0.12)
    assert found.c2st.min() > 0.7


def test_the_referee_finds_no_fault_with_an_exact_guide() -> None:
    _, _, data = case()
    found = compare_with_nuts(fitted("numpyro"), data, chains())
    assert found.wasserstein.max() < 0.15
    assert found.c2st.max() < 0.55


@pytest.mark.slow
def test_nor_with_the_corrected_posterior_of_a_wrong_one() -> None:
    _, _, data = case()
    wrong = fitted("numpyro", widen=0.4, shift=0.3)
    assert compare_with_nuts(wrong, data, chains(), posterior="corrected").c2st.max() < 0.55


def test_a_classifier_tells_draws_apart_as_often_as_the_best_rule_does() -> None:
    """Of two normals ``shift`` apart in one of three latents the best rule is right ``Φ(shift / 2)`` of the time."""
    one, other = np.random.default_rng(0).normal(size=(2, 1000, 3))
    noise = np.sqrt(0.25 / 2000)
    for shift in (1.5, 3.0):
        best = stats.norm.cdf(shift / 2)
        assert c2st(one, other + np.array([shift, 0.0, 0.0])) == pytest.approx(best, abs=4 * noise)
    turned = one @ np.linalg.cholesky([[1, 0.9, 0], [0.9, 1, 0], [0, 0, 1]]).T
    assert c2st(other, turned) > 0.7  # the same margins


def test_a_classifier_cannot_tell_draws_of_one_distribution_apart() -> None:
    """The better of two is not right more often than 2,000 throws of a coin, one in a thousand times, in four tries."""
    draws = np.random.default_rng(1).normal(size=(4, 2, 1000, 3))
    most = stats.binom.ppf(1 - 0.001 / 8, 2000, 0.5) / 2000
    assert max(c2st(*pair) for pair in draws) < most


def test_a_classifier_does_not_know_copies_of_a_draw_again() -> None:
    rng = np.random.default_rng(2)
    one, atoms = rng.normal(size=(1000, 16)), rng.normal(size=(300, 16))
    most = stats.binom.ppf(0.999, 1300, 0.5) / 1300  # as copies fall together
    assert c2st(one, atoms[rng.integers(300, size=1000)]) < most


def test_a_classifier_sees_two_modes_where_the_moments_are_those_of_one() -> None:
    rng = np.random.default_rng(3)
    one, other = rng.normal(size=(2, 1000, 2))
    other[:, 0] = rng.choice([-1, 1], size=1000) * np.sqrt(1 - 0.2**2) + 0.2 * rng.normal(size=1000)
    assert c2st(one, other) > 0.7


def test_the_table_has_a_row_for_each_item_and_latent() -> None:
    rows = list(comparison().rows())
    assert len(rows) == ITEMS * 2
    assert set(rows[0]) == {
        "item",
        "latent",
        "guide_mean",
        "guide_sd",
        "nuts_mean",
        "nuts_sd",
        "wasserstein",
        "c2st",
    }
    assert (rows[3]["item"], rows[3]["latent"]) == (1, "z[1]")
    assert rows[3]["nuts_mean"] == comparison().nuts_mean[1, 1]


def test_a_discrete_latent_that_is_not_summed_out_is_refused() -> None:
    with pytest.raises(ValueError, match="the latent 'c' is discrete: mark it infer"):
        nuts(*mixed.case(mixed.Marked(enumerate=False)))


@pytest.mark.slow
def test_chains_sum_discrete_latents_out() -> None:
    z, x = nuts(*mixed.case(mixed.Marked())).draws["z"].reshape(-1, 2), np.array([0.5, 3.0])
    grid = np.linspace(1e-3, 30, 20_001)[:, None, None]
    likelihood = stats.norm.pdf(x[:, None], grid + np.arange(2), 0.5)
    density = (np.array([0.3, 0.7]) * stats.lognorm.pdf(grid, 1.0, scale=np.exp(np.arange(2))) * likelihood).sum(-1)
    weights = density / density.sum(0)
    mean = (weights * grid[..., 0]).sum(0)
    sd = np.sqrt((weights * grid[..., 0] ** 2).sum(0) - mean**2)
    assert np.abs((z.mean(0) - mean) / sd).max() < 0.15
    assert np.abs(z.std(0) / sd - 1).max() < 0.15


def test_chains_given_a_subset_are_of_its_posterior() -> None:
    truth, values, data = case()
    z = nuts(fitted("pyro"), data, ["a"]).draws["z"].reshape(-1, ITEMS, 2)
    mean, cov = truth.posterior({"a": values["a"]})
    sd = np.sqrt(np.diagonal(cov, axis1=1, axis2=2))
    assert np.abs((z.mean(0) - mean) / sd).max() < 0.2
    assert np.abs(z.std(0) / sd - 1).max() < 0.15


def test_chains_are_refused_without_a_transition_for_each_phase() -> None:
    _, _, data = case()
    with pytest.raises(ValueError, match="warmup is 2; each of its three phases"):
        nuts(fitted("pyro"), data, warmup=2)
