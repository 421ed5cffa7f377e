"""k-hat and rescue against the linear-Gaussian oracle: exact guides are perfect, overconfident ones are found."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache
from typing import Any

import linear_gaussian as lg
import numpy as np
import pairs
import pytest
from scipy import stats

from ppvae import VAE, Dataset, Modality, Program, dist, pyro
from ppvae.diagnostics.khat import KHat, khat
from ppvae.diagnostics.rescue import Attempt, Rescue, from_nuts, rescue
from ppvae.inference.arviz import THRESHOLD
from ppvae.inference.conditioned_items import ConditionedItems, conditioned
from ppvae.inference.fitted import Fitted
from ppvae.plots.khat import khat_map

ITEMS, TIGHT, TIGHTER = 20, 0.4, 0.3

both = pytest.mark.parametrize("backend", lg.BACKENDS)


@cache
def case() -> tuple[lg.LinearGaussian, lg.Arrays, Dataset]:
    truth = lg.general()
    values = truth.draw(ITEMS, seed=2)
    return truth, values, lg.dataset(truth, values)


@cache
def fitted(backend: str, widen: float = 1.0) -> Fitted:
    truth, _, _ = case()
    return lg.fitted(truth, lg.Exact(truth, widen), backend)


@cache
def overconfident(backend: str) -> KHat:
    truth, _, data = case()
    return khat(fitted(backend, TIGHT), data, lg.subsets(truth.names), draws=4000)


@both
def test_an_exact_guide_is_perfect_for_every_subset(backend: str) -> None:
    truth, values, data = case()
    subsets = [(), *lg.subsets(truth.names)]
    result = khat(fitted(backend), data, subsets, draws=50)
    assert np.array_equal(result.khat, np.full((8, ITEMS), -np.inf))
    assert result.share == dict.fromkeys(["nothing", "a", "b", "c", "a+b", "a+c", "b+c", "a+b+c"], 0.0)
    expected = [truth.evidence({name: values[name] for name in subset}) for subset in subsets[1:]]
    np.testing.assert_allclose(result.log_evidence[1:], expected, rtol=1e-10)
    np.testing.assert_allclose(result.elbo[1:], expected, rtol=1e-10)


@both
def test_an_overconfident_guide_is_found_for_every_subset(backend: str) -> None:
    result = overconfident(backend)
    assert result.khat.shape == (7, ITEMS)
    assert np.median(result.khat, axis=1) == pytest.approx(1 - TIGHT**2, abs=0.15)
    assert (np.median(result.khat, axis=1) > THRESHOLD).all()
    assert min(result.share.values()) > 0.6


@both
def test_the_elbo_of_an_overconfident_guide_is_below_the_evidence_by_its_divergence(backend: str) -> None:
    truth, values, _ = case()
    divergence = truth.latent * (0.5 * (TIGHT**2 - 1) - np.log(TIGHT))
    gap = truth.evidence(values) - overconfident(backend).elbo[-1]
    assert gap == pytest.approx(divergence, abs=0.1)


def test_modalities_alone_and_all_together_are_the_default() -> None:
    _, _, data = case()
    assert khat(fitted("numpyro"), data, draws=50).names == ["a", "b", "c", "a+b+c"]


def test_an_item_is_judged_alone() -> None:
    _, _, data = case()
    whole = khat(fitted("numpyro", TIGHT), data, [("a", "b")], draws=200)
    part = khat(fitted("numpyro", TIGHT), data.take(np.array([7, 2])), [("a", "b")], draws=200)
    np.testing.assert_allclose(part.khat, whole.khat[:, [7, 2]], rtol=1e-9)


def test_an_unknown_modality_is_refused() -> None:
    _, _, data = case()
    with pytest.raises(ValueError, match="unknown modality 'pix'"):
        khat(fitted("numpyro"), data, [("pix",)])


def test_the_map_has_a_row_for_each_subset_with_its_share() -> None:
    result = KHat((("a",), ("a", "b")), np.array([[-np.inf, 0.8], [np.inf, 0.1]]), *np.zeros((2, 2, 2)), draws=100)
    figure = khat_map(result, title="k-hat")
    axis = figure.axes[0]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["a  50%", "a+b  50%"]
    assert axis.images[0].get_array().tolist() == [[0.8, -9.0], [0.1, 9.0]]
    figure.canvas.draw()


def test_an_item_that_has_nothing_of_a_subset_has_no_k_hat_there() -> None:
    truth, values, _ = case()
    holed = {**values, "a": np.where(np.arange(ITEMS)[:, None] < 5, np.nan, values["a"])}
    result = khat(fitted("numpyro", TIGHT), lg.dataset(truth, holed), [("a",), ("a", "b")], draws=100)
    assert np.isnan(result.khat).tolist() == [[True] * 5 + [False] * (ITEMS - 5), [False] * ITEMS]
    assert result.share["a"] == (result.khat[0, 5:] > THRESHOLD).mean()
    drawn = np.ma.filled(khat_map(result).axes[0].images[0].get_array(), np.nan)
    assert np.isnan(drawn).sum(1).tolist() == [5, 0]


@pytest.mark.parametrize("ask", [khat, rescue])
def test_what_the_data_do_not_have_cannot_be_given(ask: Callable[..., object]) -> None:
    _, _, data = case()
    given = ["a", "c"] if ask is rescue else [("a", "c")]
    with pytest.raises(ValueError, match="the data have no modality 'c' to be given; they have a, b"):
        ask(fitted("numpyro"), data.only(["a", "b"]), given)


def test_a_rescue_depends_on_the_item_alone_even_where_it_shows_nothing() -> None:
    truth, values, _ = case()
    holed = {**values, "a": np.where(np.arange(ITEMS)[:, None] < 5, np.nan, values["a"])}
    data = lg.dataset(truth, holed)
    options = {"given": ["a"], "methods": ["guide"], "draws": 50}
    whole = rescue(fitted("pyro", TIGHTER), data, **options).draws["z"]
    part = rescue(fitted("pyro", TIGHTER), data.take([2, 0, 7]), **options).draws["z"]
    np.testing.assert_allclose(part, whole[:, [2, 0, 7]], rtol=1e-9)
    assert np.abs(whole[:, 0] - whole[:, 2]).min() > 0


@cache
def rescued(method: str) -> Rescue:
    """What the guide, whose tail index is 0.91, and one more method make of the items."""
    _, _, data = case()
    return rescue(fitted("pyro", TIGHTER), data, methods=[method], draws=1000)


def test_an_exact_guide_needs_no_rescue() -> None:
    _, _, data = case()
    result = rescue(fitted("pyro"), data, draws=100)
    assert result.counts == {"guide": ITEMS}
    assert result.passes.all()
    assert np.array_equal(result.khat, np.full(ITEMS, -np.inf))
    assert result.draws["z"].shape == (100, ITEMS, 2)


@pytest.mark.parametrize("method", ["corrected", pytest.param("nuts", marks=pytest.mark.slow)])
def test_each_rescue_draws_from_the_posterior(method: str) -> None:
    truth, values, _ = case()
    result, served = rescued(method), rescued(method).how == method
    assert served.sum() > ITEMS / 2
    assert set(result.counts) <= {"guide", method}
    assert result.passes.all()
    assert np.isnan(result.khat[served]).all() == (method == "nuts")
    mean, cov = (moment[served] for moment in truth.posterior(values))
    agrees(result.draws["z"][:, served], mean, cov)


def test_methods_are_tried_in_order_on_what_has_not_passed(monkeypatch: pytest.MonkeyPatch) -> None:
    _, _, data = case()
    seen: list[tuple[str, int]] = []

    def attempt(name: str, fit: int) -> Callable[..., Attempt]:
        def method(about: ConditionedItems, draws: int) -> Attempt:
            count = len(about)
            seen.append((name, count))
            khat = np.where(np.arange(count) < fit, 0.5, 0.9)
            return Attempt(np.zeros((count, draws, 2)), khat, khat < THRESHOLD)

        return method

    fits = {"guide": 3, "corrected": 2, "nuts": 14}
    methods = {name: attempt(name, fit) for name, fit in fits.items()}
    monkeypatch.setattr(sys.modules["ppvae.diagnostics.rescue"], "METHODS", methods)
    result = rescue(fitted("pyro"), data, draws=30)
    assert seen == [("guide", 20), ("corrected", 17), ("nuts", 15)]
    assert result.how.tolist() == ["guide"] * 3 + ["corrected"] * 2 + ["nuts"] * 14 + ["guide"]
    assert result.passes.tolist() == [True] * 19 + [False]
    assert result.counts == {"guide": 3, "corrected": 2, "nuts": 14, "not known": 1}


class Square(Program):
    """z ~ Normal(0, 1);  x ~ Normal(z², 0.5)."""

    def forward(self, batch: Any) -> Any:
        with batch.plate():
            z = pyro.sample("z", dist.Normal(0.0, 1.0).expand([1]).to_event(1))
            return pyro.sample("x", dist.Normal(z**2, 0.5).to_event(1), obs=batch.get("x"))


class OneSide(Program):
    """z ~ Normal(1, 0.1), whatever was measured."""

    def forward(self, batch: Any) -> Any:
        with batch.plate():
            return pyro.sample("z", dist.Normal(1.0, 0.1).expand([1]).to_event(1))


def test_chains_find_both_modes_or_say_that_the_posterior_is_not_known() -> None:
    """Modes at ±√x, between which chains walk where x is small."""
    parts, x = [Modality("x", (1,))], np.array([[0.2], [0.6], [4.0], [6.0]])
    run, data = pairs.fitted(VAE(Square(), OneSide()), parts, "numpyro"), Dataset({"x": x}, modalities=parts)
    found = from_nuts(conditioned(run, data, None, 0), 1000)
    assert found.passes.tolist() == [True, True, False, False]
    grid = np.linspace(-5, 5, 20_001)
    mass = np.exp(stats.norm.logpdf(grid) + stats.norm.logpdf(x[:2], grid**2, 0.5))
    levels = (mass.cumsum(1) / mass.sum(1, keepdims=True))[:, np.searchsorted(grid, [-1.0, 0.0, 0.5])]
    below = np.stack([(found.vectors[:2, :, 0] < edge).mean(1) for edge in (-1.0, 0.0, 0.5)], 1)
    assert np.abs(below - levels).max() < 0.08


def test_an_unknown_method_is_refused() -> None:
    _, _, data = case()
    with pytest.raises(ValueError, match="unknown method 'prayer'; choose among guide, corrected, nuts"):
        rescue(fitted("pyro"), data, methods=["prayer"])


def agrees(z: np.ndarray, mean: np.ndarray, cov: np.ndarray, amount: float = 150) -> None:
    """Moments of the draws are the given ones, up to the error of ``amount`` independent draws for each item."""
    sd = np.sqrt(np.diagonal(cov, axis1=1, axis2=2))
    assert np.abs((z.mean(0) - mean) / sd).max() < 4 / np.sqrt(amount)
    assert np.abs(z.std(0) / sd - 1).max() < 4 / np.sqrt(2 * amount)
