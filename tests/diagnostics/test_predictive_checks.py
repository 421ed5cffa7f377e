"""Predictive checks: p-values against closed forms, on data that the model made and on data that it did not."""

from __future__ import annotations

from functools import cache
from typing import Any

import linear_gaussian as lg
import numpy as np
import pytest
import torch
from scipy import stats

from ppvae import VAE, Dataset, Modality, Program, dist, ops, pyro
from ppvae.diagnostics import predictive_checks
from ppvae.diagnostics.predictive_checks import PredictiveCheck, defaults, predictive_check
from ppvae.inference.fitted import Fitted
from ppvae.runs.settings import Settings
from ppvae.runs.snapshot import Snapshot

both = pytest.mark.parametrize("backend", lg.BACKENDS)


@cache
def truth() -> lg.LinearGaussian:
    return lg.general()


def exact(backend: str) -> Fitted:
    return lg.fitted(truth(), lg.Exact(truth()), backend)


def data(items: int = 40, seed: int = 3) -> Dataset:
    return lg.dataset(truth(), truth().draw(items, seed))


class Counts(Program):
    """``z ~ Normal(0, 1)``;  ``n ~ Poisson(2)``, ``b ~ Bernoulli(0.3)``, ``k ~ Categorical(0.2, 0.5, 0.3)``."""

    def forward(self, batch):
        with batch.plate():
            pyro.sample("z", dist.Normal(0.0, 1.0).expand([1]).to_event(1))
            pyro.sample("n", dist.Poisson(2.0 * ops.ones(3)).to_event(1), obs=batch.get("n"))
            pyro.sample("b", dist.Bernoulli(0.3 * ops.ones(2)).to_event(1), obs=batch.get("b"))
            probs = ops.as_tensor([[0.2, 0.5, 0.3]])
            pyro.sample("k", dist.Categorical(probs).to_event(1), obs=batch.get("k"))


class Blind(Program):
    """``z ~ Normal(0, 1)`` whatever the data."""

    def forward(self, batch):
        with batch.plate():
            pyro.sample("z", dist.Normal(0.0, 1.0).expand([1]).to_event(1))


KINDS = [
    Modality("n", (3,), "poisson"),
    Modality("b", (2,), "bernoulli"),
    Modality("k", (1,), "categorical", levels=3),
]


def counting() -> Fitted:
    return Fitted(VAE(Counts(), Blind()), KINDS, Settings(backend="pyro", device="cpu"), [], Snapshot({}))


def counted(items: int = 50, rate: float = 2.0) -> Dataset:
    rng = np.random.default_rng(1)
    arrays = {
        "n": rng.poisson(rate, (items, 3)).astype(float),
        "b": (rng.random((items, 2)) < 0.3).astype(float),
        "k": rng.choice(3, (items, 1), p=[0.2, 0.5, 0.3]).astype(float),
    }
    return Dataset(arrays, modalities=KINDS)


@both
def test_replicated_means_have_the_moments_of_the_exact_predictive(backend: str) -> None:
    values = lg.with_holes(truth().draw(30, seed=5), seed=6)
    holed = lg.dataset(truth(), values)
    found = predictive_check(exact(backend), holed, given=["b"], statistics={"a": {"mean": np.nanmean}}, draws=2000)[
        "a"
    ]
    mean, cov = truth().predictive("a", {"b": values["b"]})
    seen = ~np.isnan(values["a"])
    centre = mean[seen].mean()
    variance = np.einsum("nd,nde,ne->", seen.astype(float), cov, seen.astype(float)) / seen.sum() ** 2
    assert found.what == "a given b"
    assert found.replicated.shape == (2000, 1)
    assert found.measured == pytest.approx(np.nanmean(values["a"]))
    assert found.replicated.mean() == pytest.approx(centre, abs=4.5 * np.sqrt(variance / 2000))
    assert found.replicated.var() == pytest.approx(variance, rel=0.15)
    exact_p = stats.norm.sf(np.nanmean(values["a"]), centre, np.sqrt(variance))
    assert found.p_values[0] == pytest.approx(exact_p, abs=0.05)


def test_p_values_from_other_modalities_are_uniform_and_from_all_they_are_conservative() -> None:
    fitted, spreads = exact("pyro"), {}
    everything = truth().draw(60 * 4, seed=9)
    for given in (("b", "c"), ("a", "b", "c")):
        p = []
        for start in range(0, 240, 4):
            part = lg.dataset(truth(), {name: array[start : start + 4] for name, array in everything.items()})
            p.append(predictive_check(fitted, part, given, {"a": {"mean": np.mean}}, draws=50)["a"].p_values[0])
        spreads[given] = np.array(p)
    uniform, conservative = spreads.values()
    assert stats.kstest(uniform, "uniform").pvalue > 1e-3
    assert conservative.var() < 0.6 * uniform.var()


def test_data_that_the_model_did_not_make_are_found_out_and_its_own_are_not() -> None:
    right = predictive_check(counting(), counted())
    assert list(right) == ["n", "b", "k"]
    assert not any(check.extreme.any() for check in right.values())
    assert "replications look like the data in mean, sd, min, max, share of zeros" in right["n"].verdict
    wrong = predictive_check(counting(), counted(rate=0.5))["n"]
    assert len(wrong.replicated) == 200
    assert wrong.p_values[0] == 1.0
    assert wrong.p_values[4] == 0.0
    assert "n given everything: replications miss the data's mean (p > 0.995)" in wrong.verdict
    assert "share of zeros (p < 0.005)" in wrong.verdict


def test_a_statistic_is_called_extreme_no_more_often_than_promised() -> None:
    rng = np.random.default_rng(3)
    names = ("a", "b", "c", "d")
    for draws, least in ((50, 0.0), (160, 0.02), (400, 0.02)):
        checks = [PredictiveCheck("", names, rng.normal(size=4), rng.normal(size=(draws, 4))) for _ in range(1500)]
        assert least <= np.mean([check.extreme.any() for check in checks]) <= 0.065
    few = PredictiveCheck("x given y", names, np.full(4, 9.0), rng.normal(size=(50, 4)))
    assert few.verdict == "x given y: 50 replications are too few to tell; draw 160 or more"


def test_statistics_suit_the_kind_of_modality() -> None:
    names = [list(defaults(modality)) for modality in [Modality("x", (1,)), *KINDS]]
    assert names == [
        ["mean", "sd", "min", "max"],
        ["mean", "sd", "min", "max", "share of zeros"],
        ["mean"],
        ["share of 0", "share of 1", "share of 2"],
    ]
    values = np.array([[0.0, 1.0], [np.nan, 0.0]])
    assert defaults(KINDS[0])["share of zeros"](values) == pytest.approx(2 / 3)
    shares = [statistic(np.array([[2.0], [0.0], [2.0], [np.nan]])) for statistic in defaults(KINDS[2]).values()]
    assert shares == pytest.approx([1 / 3, 0, 2 / 3])


def test_ties_count_half() -> None:
    check = PredictiveCheck("x", ("t",), np.array([1.0]), np.array([[0.0], [1.0], [1.0], [2.0], [3.0]]))
    assert check.p_values[0] == pytest.approx((2 + 0.5 * 2) / 5)
    same = PredictiveCheck("x", ("t",), np.array([1.0]), np.ones((9, 1)))
    assert same.p_values[0] == 0.5


def test_what_stands_in_a_hole_moves_nothing_and_whole_items_are_left_out() -> None:
    values = truth().draw(12, seed=4)
    masks = {"a": np.random.default_rng(0).random(values["a"].shape) < 0.6}
    masks["a"][3] = False
    sizes: list[Any] = []

    def watched(x: np.ndarray) -> float:
        sizes.append((len(x), int(np.isnan(x).sum())))
        return float(np.nanmean(x))

    found = []
    for junk in (0.0, 1e9):
        arrays = {**values, "a": np.where(masks["a"], values["a"], junk)}
        holed = Dataset(arrays, masks, modalities=lg.dataset(truth(), values).modalities)
        check = predictive_check(exact("pyro"), holed, statistics={"a": {"mean": watched}}, draws=10)["a"]
        found.append((check.measured, check.replicated))
    some = masks["a"].any(1)
    assert some.sum() < 12
    assert set(sizes) == {(some.sum(), (~masks["a"][some]).sum())}
    np.testing.assert_array_equal(found[0][0], found[1][0])
    np.testing.assert_allclose(found[0][1], found[1][1], rtol=1e-12)


def test_blocks_of_draws_are_different_draws_and_as_many_as_were_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    small = data(5)
    monkeypatch.setattr(predictive_checks, "NUMBERS", 4 * small.arrays["a"].size)
    found = predictive_check(exact("pyro"), small, statistics={"a": {"mean": np.mean}}, draws=10)["a"]
    assert found.replicated.shape == (10, 1)
    assert len(np.unique(found.replicated)) == 10


def test_a_modality_that_nobody_measured_is_left_out() -> None:
    values = truth().draw(6, seed=4)
    holed = Dataset(values, {"b": np.zeros(6, bool)}, modalities=data().modalities)
    assert list(predictive_check(exact("pyro"), holed, draws=5)) == ["a", "c"]
    with pytest.raises(ValueError, match="the data have no modality 'b' to ask for; they have a, c"):
        predictive_check(exact("pyro"), holed, statistics={"b": {"mean": np.mean}}, draws=5)


def test_a_statistic_that_does_not_bear_holes_is_refused() -> None:
    holed = lg.dataset(truth(), lg.with_holes(truth().draw(9, seed=4), seed=1))
    with pytest.raises(
        ValueError, match="'middle' of modality 'a' is not a finite number; holes are NaN, so take numpy"
    ):
        predictive_check(exact("pyro"), holed, statistics={"a": {"middle": np.median}}, draws=5)


def test_a_decoder_that_is_too_sure_is_found_out_by_its_spread() -> None:
    fitted = exact("pyro")
    with torch.no_grad():
        fitted.vae.model.likelihoods["a"].log_scale.sub_(1.5)
    found = predictive_check(fitted, data(200), given=["b", "c"], statistics={"a": {"sd": np.std}}, draws=100)["a"]
    assert found.p_values[0] < 0.01
    assert found.extreme[0]
