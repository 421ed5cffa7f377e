"""Use: active latents, contributions, gradient balance and Shapley values against closed forms and axioms."""

from __future__ import annotations

import itertools
from functools import cache

import linear_gaussian as lg
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ppvae import Batch, Dataset
from ppvae.backends import pyro as engine
from ppvae.diagnostics import activity, modality_contributions
from ppvae.inference.fitted import Fitted
from ppvae.training import epochs
from ppvae.training import fit as fitting

ITEMS = 60

both = pytest.mark.parametrize("backend", lg.BACKENDS)


@cache
def truth() -> lg.LinearGaussian:
    return lg.orthogonal()


@cache
def data() -> Dataset:
    return lg.dataset(truth(), truth().draw(ITEMS, seed=2))


@cache
def exact(backend: str) -> Fitted:
    return lg.fitted(truth(), lg.product(truth()), backend)


def gaussian_kl(q: tuple[np.ndarray, np.ndarray], p: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """KL of normals with means ``(items, n)`` and covariances ``(items, n, n)``."""
    inverse = np.linalg.inv(p[1])
    shift = p[0] - q[0]
    trace = np.einsum("nij,nji->n", inverse, q[1])
    distance = np.einsum("ni,nij,nj->n", shift, inverse, shift)
    logs = np.linalg.slogdet(p[1])[1] - np.linalg.slogdet(q[1])[1]
    return 0.5 * (trace + distance - shift.shape[1] + logs)


@both
def test_a_latent_of_which_the_shown_modality_says_nothing_is_idle(backend: str) -> None:
    found = activity(exact(backend), data(), ["b"], draws=400)
    mean, _ = truth().posterior({"b": data().arrays["b"]})
    assert found.names == ("z[0]", "z[1]")
    assert found.active() == found.informative() == 1
    np.testing.assert_allclose(found.variance, mean.var(0, ddof=1), atol=0.03)
    assert "1 of 2 latents are active" in found.verdict
    assert "idle" in found.verdict


@both
def test_the_cost_of_a_latent_is_its_divergence_from_the_model_s_prior(backend: str) -> None:
    wide = lg.fitted(truth(), lg.Exact(truth(), 2.0, 1.0), backend)
    found = activity(wide, data(), ["b"], draws=1000)
    mean, cov = truth().posterior({"b": data().arrays["b"]})
    variance = 4 * np.diagonal(cov, axis1=1, axis2=2)
    expected = 0.5 * (variance + (mean + 1) ** 2 - 1 - np.log(variance)).mean(0)
    np.testing.assert_allclose(found.kl, expected, rtol=0.05, atol=0.02)


def test_activity_is_not_measured_over_a_single_item() -> None:
    with pytest.raises(ValueError, match="measured over items, of which there are 1"):
        activity(exact("pyro"), data().take([0]))


@both
def test_the_kl_of_each_latent_is_that_of_the_posterior_to_the_prior(backend: str) -> None:
    found = activity(exact(backend), data(), draws=400)
    mean, cov = truth().posterior(data().arrays)
    variance = np.diagonal(cov, axis1=1, axis2=2)
    expected = 0.5 * (variance + mean**2 - 1 - np.log(variance)).mean(0)
    np.testing.assert_allclose(found.kl, expected, atol=0.05)
    assert found.active() == 2
    assert "idle" not in found.verdict


@both
def test_contributions_are_the_kl_to_the_posterior_without_the_modality(backend: str) -> None:
    found = modality_contributions.contribution(exact(backend), data(), draws=1500)
    whole = truth().posterior(data().arrays)
    for row, name in zip(found.kl, found.names, strict=True):
        rest = truth().posterior({n: a for n, a in data().arrays.items() if n != name})
        expected = gaussian_kl(whole, rest)
        assert row.mean() == pytest.approx(expected.mean(), abs=0.03)
        assert np.corrcoef(row, expected)[0, 1] > 0.99
    assert found.shares.sum() == pytest.approx(1)
    assert "a " in found.verdict
    assert "ignores" not in found.verdict


def test_what_an_item_lacks_contributes_nothing_to_the_mean() -> None:
    holed = {**data().arrays, "c": np.where(np.arange(ITEMS)[:, None] < 20, np.nan, data().arrays["c"])}
    found = modality_contributions.contribution(exact("pyro"), lg.dataset(truth(), holed), draws=50)
    assert np.isnan(found.kl[2, :20]).all()
    assert np.isfinite(found.kl[2, 20:]).all()
    assert np.isfinite(found.kl[:2]).all()


def test_a_modality_that_the_guide_does_not_read_is_called_ignored() -> None:
    blind = lg.product(truth())
    with torch.no_grad():
        last = blind.encoders.networks["b"][-1]
        last.weight.zero_()
        last.bias.copy_(torch.tensor([0.0, 0.0, 9.0, 9.0]))  # a scale of e⁹ says nothing
    found = modality_contributions.contribution(lg.fitted(truth(), blind, "pyro"), data(), draws=50)
    assert found.shares[1] < 1e-3
    assert "ignores b" in found.verdict


def test_gradient_norms_are_those_of_finite_differences() -> None:
    fitted = lg.fitted(truth(), lg.product(truth(), widen=1.2, shift=0.1), "pyro")
    found = modality_contributions.gradient_balance(fitted, data(), steps=1)
    weight = fitted.vae.model.likelihoods["a"].decoder.weight
    before = [p.detach().clone() for p in fitted.vae.pair.parameters()]
    squares = 0.0
    own = [p for n, p in fitted.vae.model.likelihoods["a"].named_parameters() if p.requires_grad]
    for parameter in own:
        flat = parameter.detach().view(-1)
        for i in range(len(flat)):
            losses = []
            for step in (1e-5, -1e-5):
                flat[i] += step
                losses.append(training_loss(fitted))
                flat[i] -= step
            squares += ((losses[0] - losses[1]) / 2e-5) ** 2
    assert found.norms[0, 0, 0] == pytest.approx(np.sqrt(squares), rel=1e-6)
    assert all(torch.equal(p, q) for p, q in zip(before, fitted.vae.pair.parameters(), strict=True))
    assert weight.grad is None  # the pair that was passed was left alone


def training_loss(fitted: Fitted) -> float:
    """The loss of the first step of training, with the step's own draws."""
    state = fitting.init(fitted.vae, data(), **fitted.settings.model_dump())
    with engine.environment(state.plan.settings):
        engine.seed(0, 0)
        rows = epochs.order(state.plan.settings, ITEMS, 0)[0]
        batch = Batch(engine.put({n: a[rows] for n, a in data().arrays.items()}), {}, ITEMS)
        return engine.loss_by_site(state, batch, 1.0)[0].item()


def test_gradient_balance_is_the_same_whatever_backend_trained_the_pair() -> None:
    one, other = (modality_contributions.gradient_balance(exact(backend), data(), steps=3) for backend in lg.BACKENDS)
    assert np.array_equal(one.norms, other.norms)
    assert one.norms.shape == (3, 2, 3)
    assert (one.norms > 0).all()
    np.testing.assert_allclose(one.shares.sum(1), 1)
    assert "times as hard" in one.verdict


PLAYERS = ("a", "b", "c", "d")
SUBSETS = [frozenset(s) for size in range(5) for s in itertools.combinations(PLAYERS, size)]
games = st.lists(st.floats(-10, 10), min_size=16, max_size=16).map(lambda v: dict(zip(SUBSETS, v, strict=True)))


@given(games)
@settings(deadline=None)
def test_shapley_values_share_out_the_whole(game: dict[frozenset[str], float]) -> None:
    found = modality_contributions.shapley(game.__getitem__, PLAYERS)
    assert sum(found.values()) == pytest.approx(game[frozenset(PLAYERS)] - game[frozenset()], abs=1e-9)


@given(games)
@settings(deadline=None)
def test_shapley_values_are_the_mean_over_orders_of_joining(game: dict[frozenset[str], float]) -> None:
    found = modality_contributions.shapley(game.__getitem__, PLAYERS)
    gains = {name: [] for name in PLAYERS}
    for order in itertools.permutations(PLAYERS):
        for place, name in enumerate(order):
            gains[name].append(game[frozenset(order[: place + 1])] - game[frozenset(order[:place])])
    for name in PLAYERS:
        assert found[name] == pytest.approx(np.mean(gains[name]), abs=1e-9)


@given(games, games, st.floats(-3, 3))
@settings(deadline=None)
def test_shapley_values_are_linear_in_the_game(
    one: dict[frozenset[str], float], other: dict[frozenset[str], float], weight: float
) -> None:
    found = modality_contributions.shapley(lambda s: one[s] + weight * other[s], PLAYERS)
    parts = (
        modality_contributions.shapley(one.__getitem__, PLAYERS),
        modality_contributions.shapley(other.__getitem__, PLAYERS),
    )
    for name in PLAYERS:
        assert found[name] == pytest.approx(parts[0][name] + weight * parts[1][name], abs=1e-8)


@given(games)
@settings(deadline=None)
def test_a_player_who_adds_nothing_gets_nothing_and_equals_get_the_same(game: dict[frozenset[str], float]) -> None:
    found = modality_contributions.shapley(lambda s: game[s - {"a"}], PLAYERS)
    assert found["a"] == 0
    swap = {"b": "c", "c": "b"}
    alike = modality_contributions.shapley(lambda s: game[s] + game[frozenset(swap.get(n, n) for n in s)], PLAYERS)
    assert alike["b"] == pytest.approx(alike["c"], abs=1e-9)


def test_too_many_players_are_refused_before_any_is_asked() -> None:
    with pytest.raises(ValueError, match="at most 12"):
        modality_contributions.shapley(lambda s: 1 / 0, [f"m{i}" for i in range(13)])


@both
def test_shapley_values_of_the_evidence_are_those_of_the_closed_form(backend: str) -> None:
    arrays = data().take(np.arange(10)).arrays
    found = modality_contributions.shapley_evidence(exact(backend), lg.dataset(truth(), arrays), "a", particles=25)

    def value(subset: frozenset[str]) -> np.ndarray:
        rest = {name: arrays[name] for name in sorted(subset)}
        return truth().evidence({**rest, "a": arrays["a"]}) - (truth().evidence(rest) if rest else 0.0)

    expected = modality_contributions.shapley(value, ["b", "c"])
    assert found.names == ("b", "c")
    np.testing.assert_allclose(found.values, np.stack([expected["b"], expected["c"]]), atol=1e-6)
    assert found.verdict.startswith("of a, the others tell")
