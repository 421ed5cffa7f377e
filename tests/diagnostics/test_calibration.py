"""Calibration: checks accept an exact posterior as often as they promise, and reject a wrong one."""

from __future__ import annotations

from functools import cache
from typing import Any

import linear_gaussian as lg
import numpy as np
import pytest
import torch
from scipy import stats

from ppvae import VAE, Dataset, Modality
from ppvae.diagnostics import Uniform, calibration, predictive, sbc, tarp, uniformity, vsbc
from ppvae.diagnostics.calibration import ALPHA
from ppvae.diagnostics.simulation import Simulation, simulate
from ppvae.guides.product import Product
from ppvae.inference.fitted import Fitted
from ppvae.models.joint import Joint
from ppvae.plots import coverage_figure, ecdf_figure
from ppvae.runs.settings import Settings
from ppvae.runs.snapshot import Snapshot

ITEMS, DRAWS = 400, 39  # of one repetition

both = pytest.mark.parametrize("backend", lg.BACKENDS)


@cache
def truth() -> lg.LinearGaussian:
    return lg.general()


@cache
def data() -> Dataset:
    return lg.dataset(truth(), truth().draw(4, seed=0))


def pair(backend: str, widen: float = 1.0, shift: float = 0.0) -> Fitted:
    return lg.fitted(truth(), lg.Exact(truth(), widen, shift), backend)


@cache
def simulated(repetitions: int, widen: float = 1.0, shift: float = 0.0) -> Simulation:
    fitted = pair("numpyro", widen, shift)
    return simulate(fitted, data(), items=repetitions * ITEMS, draws=DRAWS, seed=1)


def rejections(check: Uniform, repetitions: int) -> float:
    """How often repetitions of ``ITEMS`` items are rejected at 5 %."""
    p = uniformity.p_values(check.values.reshape(ITEMS, repetitions, -1))
    return float((p.min(-1) * p.shape[-1] < ALPHA).mean())


@pytest.mark.parametrize("check", [sbc, tarp])
def test_an_exact_guide_is_rejected_no_more_often_than_promised(check: Any) -> None:
    assert rejections(check(simulated(200)), 200) <= 0.07


@pytest.mark.parametrize("check", [sbc, tarp])
@pytest.mark.parametrize("fault", [{"widen": 0.8}, {"shift": 0.4}], ids=["narrow", "shifted"])
def test_a_narrow_or_shifted_guide_is_rejected(check: Any, fault: dict[str, float]) -> None:
    assert rejections(check(simulated(60, **fault)), 60) >= 0.95


def test_verdicts_name_the_fault() -> None:
    assert "no sign" in sbc(simulated(200)).verdict
    narrow, shifted = (sbc(simulated(60, **fault)).verdict for fault in ({"widen": 0.8}, {"shift": 0.4}))
    assert narrow == (
        "latents given everything: z[0] is too narrow, z[1] is too narrow, log joint lies too high (p < 0.0001)"
    )
    assert "z[0] lies too high, z[1] lies too high" in shifted


def test_the_symmetry_of_means_forgives_a_narrow_guide_but_not_a_shifted_one() -> None:
    assert "no sign" in vsbc(simulated(200)).verdict
    narrow, shifted = (vsbc(simulated(60, **fault)) for fault in ({"widen": 0.8}, {"shift": 0.4}))
    assert "no sign" in narrow.verdict
    assert shifted.p_value < 1e-6
    assert "lies too high" in shifted.verdict


def test_symmetry_is_rejected_no_more_often_than_promised() -> None:
    values = vsbc(simulated(200)).values.reshape(ITEMS, 200, -1)
    p = stats.wilcoxon(values - 0.5, axis=0).pvalue
    assert (p.min(-1) * 2 < ALPHA).mean() <= 0.07


def test_both_backends_come_to_the_same_verdicts_for_every_subset() -> None:
    found = calibration(pair("pyro"), data(), [["a"], ["b", "c"]], items=200, draws=39)
    assert list(found) == [("a",), ("b", "c")]
    assert all(check.verdict.count("no sign") == 3 for check in found.values())
    narrow = simulate(pair("pyro", widen=0.6), data(), items=300, draws=39)
    assert sbc(narrow).p_value < 1e-3
    assert tarp(narrow).p_value < 1e-3


def test_simulated_items_are_draws_of_the_model_with_the_log_joint_of_their_latents() -> None:
    found = simulated(200)
    z, x = found.truth["z"], found.measured["a"]
    assert stats.kstest(z.ravel(), "norm").pvalue > 1e-3
    weight, bias, scale = truth().weights["a"], truth().biases["a"], truth().scales["a"]
    assert stats.kstest(((x - z @ weight.T - bias) / scale).ravel(), "norm").pvalue > 1e-3
    expected = stats.norm.logpdf(z).sum(1)
    for name, value in found.measured.items():
        mean = z @ truth().weights[name].T + truth().biases[name]
        expected = expected + stats.norm.logpdf(value, mean, truth().scales[name]).sum(1)
    np.testing.assert_allclose(found.log_joint[0], expected, rtol=1e-9, atol=1e-9)


def test_simulated_items_are_the_same_whatever_is_given_and_have_the_holes_of_the_data() -> None:
    values = lg.with_holes(truth().draw(6, seed=3), seed=1)
    holed = lg.dataset(truth(), values)
    whole, part = (simulate(pair("pyro"), holed, given, items=12, draws=30) for given in (None, ["a"]))
    for name in truth().names:
        np.testing.assert_array_equal(whole.measured[name], part.measured[name])
    seen = {n: np.where(np.isnan(np.tile(values[n], (2, 1))), np.nan, whole.measured[n]) for n in values}
    mean, cov = truth().posterior(seen)
    error = np.sqrt(np.diagonal(cov, axis1=1, axis2=2) / 30)
    assert np.abs((whole.draws["z"].mean(0) - mean) / error).max() < 4.5


def test_a_guide_that_ignores_the_data_is_seen_by_the_log_joint_alone() -> None:
    truth_ = lg.orthogonal()
    blind = lg.product(truth_)
    with torch.no_grad():
        for network in blind.encoders.networks.values():
            network[-1].weight.zero_()
            network[-1].bias.copy_(torch.tensor([0.0, 0.0, 9.0, 9.0]))
    found = simulate(lg.fitted(truth_, blind, "pyro"), lg.dataset(truth_, truth_.draw(2, 0)), items=300)
    check = sbc(found)
    assert check.names == ("z[0]", "z[1]", "log joint")
    assert (check.p_values[:2] > 0.01).all()
    assert check.p_values[2] < 1e-6


@pytest.mark.slow  # corrections of 400 items
def test_corrected_draws_of_a_narrow_and_shifted_guide_are_calibrated_before_and_after_the_data() -> None:
    values = lg.with_holes(truth().draw(150, seed=3), seed=1)
    rows, wrong = lg.dataset(truth(), values), pair("numpyro", widen=0.5, shift=0.3)
    options: dict[str, Any] = {"items": 150, "draws": 39, "seed": 2}
    assert sbc(simulate(wrong, rows, known=["a"], **options)).p_value < 1e-6
    for known in ((), ("a",)):
        found = simulate(wrong, rows, known=known, posterior="corrected", **options)
        assert sbc(found).p_value > 0.01
        assert sbc(found).coverage(0.9)[0] == pytest.approx(0.9, abs=0.05)
    here = rows.take(np.flatnonzero(rows.present("a")))
    expected = np.resize(here.holed("a"), (150, 3))
    seen = np.where(np.isnan(expected), np.nan, found.measured["a"])
    np.testing.assert_array_equal(seen, expected)
    mean, cov = truth().posterior({"a": expected})
    whitened = np.linalg.solve(np.linalg.cholesky(cov), (found.truth["z"] - mean)[..., None])
    assert stats.kstest(whitened.ravel(), "norm").pvalue > 0.01
    assert not np.allclose(np.nan_to_num(found.measured["b"][:20]), np.nan_to_num(here.arrays["b"][:20]))


@pytest.mark.parametrize("known", [["a", "b", "c"], ["b"]])
def test_posterior_sbc_needs_something_to_measure_anew(known: list[str]) -> None:
    with pytest.raises(ValueError, match="name some of the modalities that are given, and not all of them"):
        simulate(pair("numpyro"), data(), None if len(known) == 3 else ["b"], known=known)


@pytest.mark.slow
def test_predictions_by_corrected_latents_cover_where_those_of_the_guide_do_not() -> None:
    rows = lg.dataset(truth(), truth().draw(150, seed=8))
    wrong = pair("numpyro", shift=2.0)
    assert predictive(wrong, rows, ["a"], ["b"])["b"].p_value < 1e-3
    check = predictive(wrong, rows, ["a"], ["b"], posterior="corrected")["b"]
    assert check.p_value > 0.01
    assert check.coverage(0.9)[0] == pytest.approx(0.9, abs=0.05)


def test_more_draws_than_are_held_at_once_are_refused() -> None:
    with pytest.raises(ValueError, match="from 1 to 1000"):
        simulate(pair("pyro"), data(), draws=1001)


@both
def test_predictive_positions_of_an_exact_pair_are_uniform_and_their_intervals_cover(backend: str) -> None:
    values = lg.with_holes(truth().draw(300, seed=7), seed=8, fraction=0.2)
    found = predictive(pair(backend), lg.dataset(truth(), values), draws=99)
    assert list(found) == ["a", "b", "c"]
    for name, check in found.items():
        assert check.p_value > 0.01, name
        others = np.all([np.isnan(values[other]).all(1) for other in "abc" if other != name], axis=0)
        np.testing.assert_array_equal(np.isnan(check.values), np.isnan(values[name]) | others[:, None])
        for level in (0.5, 0.9):
            rate, error = check.coverage(level)
            assert abs(rate - level) < 3.5 * error
    assert found["a"].what == "a given b, c"


def test_a_decoder_that_is_too_sure_is_found_out_where_it_is() -> None:
    fitted = pair("pyro")
    with torch.no_grad():
        fitted.vae.model.likelihoods["b"].log_scale.sub_(1.0)
    found = predictive(fitted, lg.dataset(truth(), truth().draw(300, seed=7)), given=["a"], ask=["b"])
    assert "b[" in found["b"].verdict
    assert "is too narrow" in found["b"].verdict
    assert found["b"].coverage(0.9)[0] < 0.85


@cache
def counting() -> tuple[Fitted, np.ndarray]:
    """A pair whose counts are Poisson with rates 0.4 and 3 whatever the latent, and data of the same kind."""
    rates = np.array([0.4, 3.0])
    counts = Modality("n", (2,), "poisson", center=np.log1p(rates), decoder=lambda latent: zero(latent, 2))
    other = Modality("other", (1,), decoder=lambda latent: zero(latent, 1))
    parts = Joint([counts, other], latent=1).double(), Product([counts, other], latent=1).double()
    settings = Settings(backend="numpyro", dtype="float64", device="cpu")
    drawn = np.random.default_rng(0).poisson(rates, (400, 2)).astype(float)
    return Fitted(VAE(*parts), [counts, other], settings, [], Snapshot({})), drawn


def zero(inputs: int, outputs: int) -> torch.nn.Linear:
    layer = torch.nn.Linear(inputs, outputs)
    torch.nn.init.zeros_(layer.weight)
    torch.nn.init.zeros_(layer.bias)
    return layer


def test_positions_of_counts_are_randomised_over_their_atoms() -> None:
    fitted, drawn = counting()
    modalities = fitted.modalities
    right = Dataset({"n": drawn, "other": np.zeros((400, 1))}, modalities=modalities)
    assert predictive(fitted, right, ask=["n"])["n"].p_value > 0.01
    constant = np.round(np.ones_like(drawn) * drawn.mean(0))
    wrong = Dataset({"n": constant, "other": np.zeros((400, 1))}, modalities=modalities)
    assert "is too wide" in predictive(fitted, wrong, ask=["n"])["n"].verdict


def test_asking_for_what_the_data_lack_is_refused() -> None:
    part = lg.dataset(truth(), {"a": data().arrays["a"]})
    with pytest.raises(ValueError, match="no modality 'b'"):
        predictive(pair("pyro"), part, ask=["b"])
    with pytest.raises(ValueError, match="unknown modality 'd'"):
        simulate(pair("pyro"), data(), ["d"])


@pytest.mark.parametrize("items", [40, 500])
def test_p_values_of_uniform_values_are_no_smaller_than_promised(items: int) -> None:
    p = uniformity.p_values(np.random.default_rng(items).random((items, 4000)))
    for level in (0.01, 0.05, 0.2):
        assert (p <= level).mean() <= level + 3 * np.sqrt(level / 4000)
    assert (p <= 0.2).mean() > 0.13


def test_p_values_are_those_of_the_exact_test_of_the_same_band() -> None:
    values = np.random.default_rng(3).beta(1.1, 1.0, (300, 200))
    lower, upper = uniformity.band(300)
    function = uniformity.distribution(values)
    outside = ((function < lower - 1e-12) | (function > upper + 1e-12)).any(1)
    p = uniformity.p_values(values)
    assert outside.any()
    assert not outside.all()
    assert (p[outside] < 0.06).all()
    assert (p[~outside] > 0.04).all()


def test_the_band_holds_at_all_cells_together() -> None:
    lower, upper = uniformity.band(200, 0.9)
    function = uniformity.distribution(np.random.default_rng(5).random((200, 4000)))
    inside = ((function >= lower - 1e-12) & (function <= upper + 1e-12)).all(1).mean()
    assert 0.88 < inside < 0.94


def test_values_that_are_missing_are_left_out() -> None:
    values = np.random.default_rng(0).random((60, 2, 3))
    longer = np.concatenate([values, np.full((20, 2, 3), np.nan)])
    np.testing.assert_array_equal(uniformity.p_values(longer), uniformity.p_values(values))
    assert (uniformity.p_values(np.full((5, 2), np.nan)) == 1).all()


def test_far_beyond_the_simulations_the_union_bound_decides() -> None:
    assert uniformity.p_values(np.full((500, 1), 0.5))[0] < 1e-20


def test_figures_have_a_panel_a_check_and_a_mark_a_level() -> None:
    checks = [sbc(simulated(60, widen=0.8)), tarp(simulated(60, widen=0.8))]
    figure = ecdf_figure(checks)
    assert [axis.get_title() for axis in figure.axes] == [check.what for check in checks]
    assert [len(axis.lines) for axis in figure.axes] == [3, 1]
    marks = coverage_figure({"one": checks[0], "other": checks[1]})
    assert [container.get_label() for container in marks.axes[0].containers] == ["50%", "90%"]


def test_items_that_lack_what_is_given_are_not_checked() -> None:
    values = truth().draw(40, seed=3)
    some = np.arange(40) % 4 > 0
    values["b"] = np.where(some[:, None], values["b"], np.nan)
    holed = lg.dataset(truth(), values)
    check = predictive(pair("pyro"), holed, ["b"], ["a"])["a"]
    assert (np.isnan(check.values).all(1) == ~some).all()
    assert check.verdict.endswith("30 items)")
    part = predictive(pair("pyro"), holed.take(some), ["b"], ["a"])["a"]
    assert check.coverage(0.9)[0] == pytest.approx(part.coverage(0.9)[0], abs=0.05)
    narrow = simulate(pair("pyro", widen=0.5), holed, ["b"], items=80)
    assert narrow.measured["b"].shape[0] == 80
    wide = narrow.draws["z"].std(0) / pair_sd(["b"])
    np.testing.assert_allclose(np.median(wide, 0), 0.5, rtol=0.1)
    assert wide.max() < 0.75


def pair_sd(given: list[str]) -> np.ndarray:
    """The exact posterior's standard deviations, which are the same for every item that has everything of it."""
    _, cov = truth().posterior({name: truth().draw(1, seed=0)[name] for name in given})
    return np.sqrt(np.diagonal(cov[0]))
