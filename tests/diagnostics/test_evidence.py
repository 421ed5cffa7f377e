"""Evidence: densities, bounds, gaps and their parts against the closed forms of the linear-Gaussian oracle."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import arviz as az
import linear_gaussian as lg
import mixed
import numpy as np
import pairs
import pytest
from arviz.stats.stats_utils import ELPDData
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.special import logsumexp

import ppvae
from ppvae import Dataset, Modality, Program, dist, pyro
from ppvae.backends.answers.in_jax import asker
from ppvae.backends.mirror import times_changed
from ppvae.diagnostics import annealing, elbo_surgery, inference_gaps, modality_contributions
from ppvae.diagnostics.evidence import (
    Evidence,
    ModelComparison,
    compare,
    conditional,
    evidence,
    leave_one_modality_out,
    pointwise_information,
    stacking,
)
from ppvae.inference import subset_questions
from ppvae.inference.arviz import THRESHOLD
from ppvae.inference.fitted import Fitted
from ppvae.inference.questions import Question

WIDEN, SHIFT = 1.3, 0.2

both = pytest.mark.parametrize("backend", lg.BACKENDS)


@cache
def truth() -> lg.LinearGaussian:
    return lg.orthogonal()


@cache
def values() -> lg.Arrays:
    """Two items with every modality, and one for every other subset of them, the empty one too."""
    chosen = [("a", "b", "c"), ("a", "b", "c"), *lg.subsets(truth().names)[:-1], ()]
    drawn = truth().draw(len(chosen), seed=4)
    return {n: np.where(np.array([n in s for s in chosen])[:, None], v, np.nan) for n, v in drawn.items()}


def data() -> Dataset:
    return lg.dataset(truth(), values())


@cache
def complete() -> Dataset:
    return lg.dataset(truth(), truth().draw(40, seed=6))


@cache
def inexact(backend: str) -> Fitted:
    return lg.fitted(truth(), lg.product(truth(), WIDEN, SHIFT), backend)


@cache
def exact(backend: str) -> Fitted:
    return lg.fitted(truth(), lg.product(truth()), backend)


def only(names: list[str], arrays: lg.Arrays | None = None) -> lg.Arrays:
    return {name: (arrays or values())[name] for name in names}


def agrees(found: Evidence, expected: np.ndarray, seen: np.ndarray | None = None) -> None:
    """Estimates lie within their errors of the closed form, and are NaN where there is none."""
    seen = np.ones(len(expected), bool) if seen is None else seen
    np.testing.assert_array_equal(np.isnan(found.values), ~seen)
    z = (found.values - expected)[seen] / np.maximum(found.errors[seen], 1e-6)
    assert np.abs(z).max() < 4
    assert found.errors[seen].max() < 0.1


@both
def test_the_evidence_of_every_pattern_of_holes_is_that_of_the_closed_form(backend: str) -> None:
    found = evidence(inexact(backend), data(), particles=2000)
    agrees(found, truth().evidence(values()))
    assert (found.khat < 0.5).all()
    assert "k-hat is good" in found.verdict


@both
def test_marginal_and_conditional_evidence_are_those_of_the_closed_form(backend: str) -> None:
    marginal = evidence(inexact(backend), data(), ["b", "c"], particles=2000)
    agrees(marginal, truth().evidence(only(["b", "c"])), data().present("b") | data().present("c"))
    found = conditional(inexact(backend), data(), ["a"], ["b", "c"], particles=2000)
    seen = ~np.isnan(values()["a"][:, 0])
    agrees(found, truth().evidence(values()) - truth().evidence(only(["b", "c"])), seen)
    assert found.what == "log p(a | b, c)"


def test_pointwise_information_of_two_modalities_is_that_of_the_closed_form() -> None:
    found = pointwise_information(inexact("pyro"), data(), "a", "c", particles=2000)
    expected = truth().evidence(only(["a", "c"])) - sum(truth().evidence(only([n])) for n in "ac")
    agrees(found, expected, ~np.isnan(values()["a"][:, 0]) & ~np.isnan(values()["c"][:, 0]))


def test_the_exact_guide_leaves_no_error() -> None:
    found = evidence(exact("pyro"), data(), particles=50)
    np.testing.assert_allclose(found.values, truth().evidence(values()), atol=1e-6)
    assert found.errors.max() < 1e-6
    assert np.isneginf(found.khat).all()


def test_all_subsets_of_modalities_are_compiled_once() -> None:
    question = Question(subset_questions.log_weights, 7)
    for subset in lg.subsets(truth().names):
        subset_questions.ask(exact("numpyro"), question, complete(), list(subset))
    pair = exact("numpyro").vae.pair
    assert asker(question, pair, times_changed(pair), on_cpu=True)._cache_size() == 1


@both
def test_leaving_a_modality_out_of_the_posterior_gives_its_exact_conditional(backend: str) -> None:
    noisy = lg.LinearGaussian(truth().weights, truth().biases, {n: 4.0 * s for n, s in truth().scales.items()})
    fitted = lg.fitted(noisy, lg.product(noisy, widen=1.2, shift=0.1), backend)
    arrays = noisy.draw(40, seed=6)
    found = leave_one_modality_out(fitted, lg.dataset(noisy, arrays), draws=1000)
    assert list(found) == ["a", "b", "c"]
    for name, estimate in found.items():
        rest = [n for n in noisy.names if n != name]
        expected = noisy.evidence(arrays) - noisy.evidence(only(rest, arrays))
        assert (estimate.khat < THRESHOLD).all()
        assert np.abs((estimate.values - expected) / estimate.errors).max() < 4
        assert estimate.errors.max() < 0.1


def test_a_modality_that_decides_the_posterior_cannot_be_left_out_and_is_reported() -> None:
    found = leave_one_modality_out(exact("pyro"), complete(), ["c"], draws=500)["c"]
    assert (found.khat > THRESHOLD).any()
    assert "not to be relied on" in found.verdict


def test_leaving_out_what_an_item_lacks_is_not_a_number() -> None:
    found = leave_one_modality_out(exact("pyro"), data(), ["b"], draws=100)["b"]
    np.testing.assert_array_equal(np.isnan(found.values), np.isnan(values()["b"][:, 0]))


def test_weights_with_a_heavy_tail_are_reported() -> None:
    narrow = lg.fitted(truth(), lg.product(truth(), widen=0.3), "pyro")
    found = evidence(narrow, complete(), particles=500)
    assert (found.khat > THRESHOLD).mean() > 0.5
    assert "not to be relied on" in found.verdict


SCHEDULE = annealing.Schedule(temperatures=80, leapfrog=4)


@cache
def sandwich() -> annealing.Sandwich:
    return annealing.bdmc(inexact("pyro"), data(), items=18, chains=64, schedule=SCHEDULE)


def test_annealing_up_and_down_brackets_the_exact_evidence() -> None:
    found = sandwich()
    holes = {n: np.tile(np.isnan(v), (2, 1)) for n, v in values().items()}
    expected = truth().evidence({n: np.where(holes[n], np.nan, v) for n, v in found.measured.items()})
    assert np.abs(found.lower - expected).max() < 0.1
    assert np.abs(found.upper - expected).max() < 0.1
    assert (found.lower - 3 * found.errors[0] < expected + 1e-6).all()
    assert (found.upper + 3 * found.errors[1] > expected - 1e-6).all()
    assert abs(found.gap) < 0.05
    assert 0.4 < found.accepted.mean() < 0.9
    assert "can be relied on" in found.verdict


def test_annealed_evidence_from_the_prior_is_that_of_the_closed_form() -> None:
    schedule = annealing.Schedule(temperatures=150, leapfrog=4, start="prior")
    found = annealing.ais(inexact("numpyro"), data(), ["a", "c"], chains=64, schedule=schedule)
    expected = truth().evidence(only(["a", "c"]))
    assert np.abs((found.values - expected) / np.maximum(found.errors, 1e-6)).max() < 4
    assert (found.values - expected).mean() == pytest.approx(0, abs=0.05)
    assert "k-hat" not in found.verdict


def test_a_schedule_runs_from_zero_to_one_and_refuses_what_it_cannot_do() -> None:
    betas = annealing.Schedule(10).betas()
    assert betas[0] == 0
    assert betas[-1] == 1
    assert (np.diff(betas) > 0).all()
    with pytest.raises(ValueError, match="'guide' or 'prior'"):
        annealing.Schedule(start="posterior")
    with pytest.raises(ValueError, match="at least 1"):
        annealing.Schedule(temperatures=0)


def test_gaps_are_those_of_the_closed_form() -> None:
    general = lg.general()
    arrays = general.draw(12, seed=2)
    fitted = lg.fitted(general, lg.Exact(general, WIDEN, SHIFT), "pyro")
    found = inference_gaps.gaps(fitted, lg.dataset(general, arrays), steps=300, draws=1000)
    _, cov = general.posterior(arrays)
    precision = np.linalg.inv(cov)
    diagonal = np.log(np.diagonal(precision, axis1=1, axis2=2)).sum(1)
    approximation = 0.5 * (diagonal - np.linalg.slogdet(precision)[1])
    shift = np.full(2, SHIFT)
    whole = 0.5 * (2 * WIDEN**2 - 2 - 4 * np.log(WIDEN) + np.einsum("i,nij,j->n", shift, precision, shift))
    np.testing.assert_allclose(found.best, general.evidence(arrays) - approximation, atol=0.03)
    np.testing.assert_allclose(found.evidence - found.amortised, whole, atol=0.2)
    assert found.approximation.mean() == pytest.approx(approximation.mean(), abs=0.03)
    assert found.amortisation.mean() == pytest.approx((whole - approximation).mean(), abs=0.05)
    assert "encoder" in found.verdict


@both
def test_the_missing_modality_gap_is_the_kl_between_exact_posteriors(backend: str) -> None:
    items = complete()
    found = inference_gaps.missing(exact(backend), items, draws=200)
    whole, cov = truth().posterior(items.arrays)
    for (name,), gap in zip(found.given, found.gaps, strict=True):
        mean, wide = truth().posterior({name: items.arrays[name]})
        inverse = np.linalg.inv(cov)
        trace = np.einsum("nij,nji->n", inverse, wide)
        distance = np.einsum("ni,nij,nj->n", mean - whole, inverse, mean - whole)
        logs = np.linalg.slogdet(cov)[1] - np.linalg.slogdet(wide)[1]
        expected = 0.5 * (trace + distance - 2 + logs)
        assert gap.mean() == pytest.approx(expected.mean(), rel=0.05)
    assert "given b" in found.verdict


@both
def test_surgery_is_that_of_the_mixture_of_all_posteriors(backend: str) -> None:
    items = complete()
    found = elbo_surgery.surgery(exact(backend), items, ["a"])
    mean, cov = truth().posterior({"a": items.arrays["a"]})
    rng = np.random.default_rng(0)
    z = np.stack([rng.multivariate_normal(m, c, 400) for m, c in zip(mean, cov, strict=True)])
    each = np.stack([stats.multivariate_normal(m, c).logpdf(z) for m, c in zip(mean, cov, strict=True)])
    own, mixture = each[np.arange(40), np.arange(40)], logsumexp(each, 0) - np.log(40)
    prior = stats.multivariate_normal(np.zeros(2)).logpdf(z)
    for estimate, terms in ((found.information, own - mixture), (found.hole, mixture - prior)):
        assert abs(estimate.mean() - terms.mean()) < 4 * terms.std() / np.sqrt(40)
    assert found.kl.mean() == pytest.approx((found.information + found.hole).mean())
    assert found.verdict.startswith("KL ")


def test_surgery_in_blocks_of_points_is_surgery_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    once = elbo_surgery.surgery(exact("pyro"), complete())
    monkeypatch.setattr(elbo_surgery, "DRAWS", 15)
    blocks = elbo_surgery.surgery(exact("pyro"), complete(), items=40)
    np.testing.assert_allclose(blocks.information, once.information, rtol=1e-12)


def test_latents_that_say_nothing_are_called_so() -> None:
    found = elbo_surgery.surgery(exact("pyro"), complete(), [])
    np.testing.assert_allclose(found.information, 0, atol=1e-12)
    np.testing.assert_allclose(found.hole, 0, atol=1e-12)
    assert "next to nothing" in found.verdict


@cache
def compared() -> ModelComparison:
    wrong = lg.fitted(lg.orthogonal(seed=1), lg.product(truth()), "pyro")
    return compare({"wrong": wrong, "right": inexact("pyro")}, complete(), particles=200)


def test_comparison_puts_the_true_model_first() -> None:
    found = compared()
    assert found.names == ("right", "wrong")
    assert found.weights[0] > 0.9
    assert found.differences[0].tolist() == [0, 0]
    assert found.verdict.startswith("right leads wrong by")
    assert "not clear" not in found.verdict


def elpd_data(values: np.ndarray) -> ELPDData:
    """Pointwise densities as ArviZ's own result of leave-one-out."""
    count = len(values)
    entries = {
        "elpd_loo": values.sum(),
        "se": np.sqrt(count * values.var()),
        "p_loo": 0.0,
        "n_samples": 1,
        "n_data_points": count,
        "warning": False,
        "loo_i": az.from_dict(log_likelihood={"x": values[None, None]}).log_likelihood["x"][0, 0],
        "scale": "log",
    }
    return ELPDData(data=list(entries.values()), index=list(entries))


@pytest.mark.filterwarnings("ignore:The inplace keyword:DeprecationWarning")  # of pandas, within ArviZ
def test_stacking_weights_are_arviz_s() -> None:
    rng = np.random.default_rng(0)
    elpd = rng.normal(size=(3, 100)) + np.array([[0.0], [0.2], [-0.3]])
    expected = az.compare({str(i): elpd_data(row) for i, row in enumerate(elpd)}, ic="loo", method="stacking")["weight"]
    np.testing.assert_allclose(stacking(elpd), [expected[str(i)] for i in range(3)], atol=1e-3)


@given(st.lists(st.floats(-3, 3), min_size=8, max_size=8), st.floats(0.01, 0.99))
@settings(deadline=None, max_examples=50)
def test_no_other_weights_stack_better(elpd: list[float], weight: float) -> None:
    pairs = np.reshape(elpd, (2, 4))
    found = stacking(pairs, tolerance=1e-4)
    assert found.sum() == pytest.approx(1)

    def score(weights: np.ndarray) -> float:
        return np.log(weights @ np.exp(pairs)).mean()

    assert score(found) >= score(np.array([weight, 1 - weight])) - 1e-4


def conditioned() -> tuple[Fitted, Dataset]:
    """A pair that takes c as given."""
    parts = [Modality("a", (2,)), Modality("c", (1,))]
    vae = ppvae.method("cvae", parts, latent=1, hidden=(4,))
    rows = np.random.default_rng(0).normal(size=(4, 3))
    return pairs.fitted(pairs.untrained(vae), parts, "pyro"), Dataset(
        {"a": rows[:, :2], "c": rows[:, 2:]}, modalities=parts
    )


@pytest.mark.parametrize(
    "ask",
    [
        lambda fitted, data: conditional(fitted, data, ["c"], ["a"]),
        lambda fitted, data: pointwise_information(fitted, data, "a", "c"),
        lambda fitted, data: leave_one_modality_out(fitted, data, ["c"]),
        lambda fitted, data: modality_contributions.shapley_evidence(fitted, data, "c"),
    ],
)
def test_what_the_model_takes_as_given_has_no_evidence(ask: Callable[..., object]) -> None:
    with pytest.raises(ValueError, match="the model takes 'c' as given and does not explain it; ask for a"):
        ask(*conditioned())


class Logarithmic(Program):
    """z ~ LogNormal(0.7, 1.1), whatever was measured."""

    def forward(self, batch: Any) -> Any:
        with batch.plate():
            return pyro.sample("z", dist.LogNormal(0.7, 1.1))


@both
def test_the_prior_s_hole_sums_out_what_the_model_enumerates(backend: str) -> None:
    fitted, _ = mixed.case(Logarithmic())
    rows = Dataset({"x": np.random.default_rng(0).normal(size=(1000, 1))}, modalities=fitted.modalities)
    found = elbo_surgery.surgery(fitted.to(backend), rows)
    z = np.random.default_rng(1).normal(0.7, 1.1, 200_000)
    prior = logsumexp([np.log(0.3) + stats.norm.logpdf(z), np.log(0.7) + stats.norm.logpdf(z, 1.0)], axis=0)
    expected = (stats.norm.logpdf(z, 0.7, 1.1) - prior).mean()
    assert found.hole.mean() == pytest.approx(expected, abs=4 * found.hole.std() / np.sqrt(1000))
    assert np.abs(found.information).max() < 1e-5


def factors() -> tuple[Fitted, Dataset]:
    """A model with loadings that all items share."""
    parts = [Modality("a", (3,)), Modality("b", (2,))]
    vae = ppvae.method("mofa", parts, latent=2)
    vae.pair.double()
    rows = np.random.default_rng(0).normal(size=(6, 5))
    return pairs.fitted(vae, parts, "numpyro"), Dataset({"a": rows[:, :3], "b": rows[:, 3:]}, modalities=parts)


@pytest.mark.slow
def test_surgery_and_both_bounds_take_a_model_with_latents_that_all_items_share() -> None:
    fitted, rows = factors()
    assert np.isfinite(elbo_surgery.surgery(fitted, rows).kl).all()
    bounds = annealing.bdmc(fitted, rows, items=200, chains=16, schedule=annealing.Schedule(2, 2))
    errors = (bounds.upper - bounds.lower).std() / np.sqrt(200)
    assert bounds.gap > -3 * errors


@pytest.mark.slow
def test_new_items_lack_what_the_data_lack() -> None:
    part = complete().only(["a", "b"])
    bounds = annealing.bdmc(exact("numpyro"), part, items=8, chains=4, schedule=annealing.Schedule(2, 2))
    expected = truth().evidence({name: bounds.measured[name] for name in ("a", "b")})
    np.testing.assert_allclose(bounds.lower, expected, rtol=1e-6)


def test_an_item_that_lacks_what_is_given_has_no_evidence_of_it() -> None:
    lacks = np.isnan(values()["b"]).any(1)
    found = evidence(exact("pyro"), data(), ["b"], particles=30)
    assert (np.isnan(found.values) == lacks).all()
    assert (np.isnan(found.khat) == lacks).all()
    cost = inference_gaps.missing(exact("pyro"), data(), [["b"]], draws=20)
    assert (np.isnan(cost.gaps[0]) == lacks).all()
    assert "nan" not in cost.verdict
    assert len(elbo_surgery.surgery(exact("pyro"), data(), ["b"]).kl) == (~lacks).sum()
