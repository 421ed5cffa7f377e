"""Conditional: evidence against the integral given the condition, and what may be asked of it."""

from __future__ import annotations

from functools import cache

import numpy as np
import pairs
import pytest
import torch

import ppvae
from ppvae import VAE, Dataset, Modality
from ppvae.guides.conditional import Conditional as Guide
from ppvae.models.conditional import Conditional
from ppvae.objectives import make

both = pytest.mark.parametrize("backend", pairs.BACKENDS)


def views() -> list[Modality]:
    return [*pairs.views(), Modality("c", (2,))]


def arrays() -> dict[str, np.ndarray]:
    """Every pattern of holes among what is explained, with and without the condition, once without half of it."""
    c = np.random.default_rng(5).normal(size=(10, 2))
    c[5:], c[3, 0] = np.nan, np.nan
    return {**pairs.rows(items=2), "c": c}


@cache
def vae() -> VAE:
    torch.manual_seed(2)
    model = Conditional(views(), latent=1, hidden=(4,))
    return pairs.untrained(VAE(model, Guide(views(), 1, (4,), model=model), "elbo"))


@cache
def data() -> Dataset:
    return Dataset(arrays(), modalities=views())


def evidence(given: tuple[str, ...], condition: bool) -> np.ndarray:
    """``log ∫ p(z | c) ∏_m p(x_m | z, c)`` on a grid."""
    model, grid, found = vae().model, pairs.GRID, []
    context = model.context(data().batch(given=["c"] if condition else ["a"])).detach()
    for i, c in enumerate(context):
        total = pairs.log_normal(grid, model.prior(c))
        points = np.concatenate([grid[:, None], np.broadcast_to(c.numpy(), (len(grid), len(c)))], 1)
        for name in given:
            total = total + pairs.log_likelihood(model.likelihoods[name], points, arrays()[name][i])
        found.append(float(pairs.integral(total)))
    return np.array(found)


@pytest.fixture(autouse=True)
def double():
    """The context is computed outside of any run: in its dtype."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@both
@pytest.mark.parametrize(("given", "condition"), [(("a", "b"), True), (("b",), False), ((), True)])
def test_evidence_is_the_integral_given_the_condition(backend: str, given: tuple[str, ...], condition: bool) -> None:
    run = pairs.fitted(vae(), views(), backend)
    seen = data() if condition else data().only(["a", "b"])
    pairs.check_evidence(run, seen, evidence(given, condition), list(given))


def test_the_condition_is_shown_whatever_is_given_and_however_it_is_answered() -> None:
    run = pairs.fitted(vae(), views(), "numpyro")
    named, unnamed = (run.log_evidence(data(), given, particles=500, seed=1) for given in (["b", "c"], ["b"]))
    np.testing.assert_array_equal(named, unnamed)
    corrected = run.log_evidence(data(), ["b"], particles=2500, posterior="corrected")
    assert np.abs(corrected - evidence(("b",), True)).max() < 0.05
    np.testing.assert_array_equal(*(run.to_arviz(data(), g, 30)["log_likelihood"]["b"] for g in (["b", "c"], ["b"])))


def test_both_backends_agree_to_rounding() -> None:
    pairs.check_parity(vae(), data())


@both
def test_rows_answer_alone(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pairs.check_rows_answer_alone(pairs.fitted(vae(), views(), backend), data(), monkeypatch)


@both
@pytest.mark.parametrize("objective", ["iwae", "mvae"])
def test_holes_are_silent_in_the_condition_too(backend: str, objective: str) -> None:
    pairs.check_holes_are_silent(backend, vae(), make(objective), arrays())


@both
def test_predictions_follow_the_condition(backend: str) -> None:
    rng = np.random.default_rng(0)
    c = rng.choice([-1.0, 1.0], size=(200, 1))
    kinds = [Modality("c", (1,)), Modality("x", (2,))]
    train = Dataset({"c": c, "x": 3 * c + 0.3 * rng.normal(size=(200, 2))}, modalities=kinds)
    model = Conditional(kinds, latent=1, hidden=(8,), condition="c")
    pair = VAE(model, Guide(kinds, 1, (8,), model=model))
    run = ppvae.fit(pair, train, backend=backend, epochs=40, batch_size=50, lr=0.02, progress=False)
    drawn = run.query(train.take(slice(0, 20)), given=["c"], draws=50)
    assert set(drawn) == {"x"}
    assert np.abs(drawn["x"].mean(0) - 3 * c[:20]).max() < 0.6
    assert run.history[-1]["loss"] < run.history[0]["loss"] - 1


def test_the_condition_cannot_be_asked_for() -> None:
    run = pairs.fitted(vae(), views(), "pyro")
    with pytest.raises(ValueError, match="the model takes 'c' as given and does not explain it; ask for a, b"):
        run.query(data(), ask=["a", "c"])
    assert set(run.query(data())) == set(run.generate(2)) == set(run.impute(data(), draws=2)) == {"a", "b"}


def test_a_condition_needs_a_name_that_is_there_and_something_to_explain() -> None:
    with pytest.raises(ValueError, match="the condition 'd' must be one of at least two modalities; there are a, b, c"):
        Conditional(views(), condition="d")
    with pytest.raises(ValueError, match="the condition 'a' must be one of at least two modalities; there are a"):
        Conditional(views()[:1])
    assert Conditional(views(), condition="a").conditions == ("a",)
