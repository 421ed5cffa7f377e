"""The linear-Gaussian oracle: evidence, posterior, predictive and ELBO against closed forms, on both backends."""

from __future__ import annotations

import importlib
from functools import cache
from typing import Any

import linear_gaussian as lg
import numpy as np
import pytest

import ppvae
from ppvae import VAE, Dataset
from ppvae.inference.fitted import Fitted
from ppvae.training import fit as fitting

ITEMS = 6

both = pytest.mark.parametrize("backend", lg.BACKENDS)


@cache
def every_subset() -> tuple[lg.LinearGaussian, lg.Arrays]:
    """An orthogonal oracle, and the same items once for every subset of whole modalities, the empty one too."""
    truth = lg.orthogonal()
    values = truth.draw(ITEMS, seed=3)
    chosen = [(), *lg.subsets(truth.names)]
    return truth, {
        name: np.concatenate([array if name in subset else np.full_like(array, np.nan) for subset in chosen])
        for name, array in values.items()
    }


@cache
def every_mask() -> tuple[lg.LinearGaussian, lg.Arrays]:
    """A general oracle, items with elements and whole modalities missing at random, and one item in every subset."""
    truth = lg.general()
    holed, one = lg.with_holes(truth.draw(24, seed=4), seed=5), truth.draw(1, seed=8)
    chosen = lg.subsets(truth.names)
    return truth, {
        name: np.concatenate(
            [holed[name], *(one[name] if name in subset else np.full_like(one[name], np.nan) for subset in chosen)]
        )
        for name in truth.names
    }


def data_of(case: tuple[lg.LinearGaussian, lg.Arrays]) -> Dataset:
    return lg.dataset(*case)


@cache
def exact_product(backend: str) -> Fitted:
    truth, _ = every_subset()
    return lg.fitted(truth, lg.product(truth), backend, "float32")


@cache
def exact_by_hand(backend: str) -> Fitted:
    truth, _ = every_mask()
    return lg.fitted(truth, lg.Exact(truth), backend)


@cache
def inexact(backend: str) -> Fitted:
    """A guide 1.3 times too wide and off by 0.2: its weights vary, but are bounded."""
    truth, _ = every_mask()
    return lg.fitted(truth, lg.Exact(truth, widen=1.3, shift=0.2), backend)


@both
def test_every_particle_of_the_exact_product_weighs_the_evidence_of_every_subset(backend: str) -> None:
    truth, values = every_subset()
    weights = exact_product(backend).log_weights(data_of((truth, values)), particles=20)
    assert weights.dtype == np.float32
    assert np.abs(weights - truth.evidence(values)).max() < 1e-4


@both
def test_every_particle_of_a_hand_written_full_covariance_guide_weighs_the_evidence_of_every_mask(backend: str) -> None:
    truth, values = every_mask()
    weights = exact_by_hand(backend).log_weights(data_of((truth, values)), particles=20)
    assert np.abs(weights - truth.evidence(values)).max() < 1e-10


@both
def test_what_nothing_is_given_has_evidence_one(backend: str) -> None:
    truth, values = every_subset()
    weights = exact_product(backend).log_weights(data_of((truth, values)), given=[], particles=3)
    assert np.array_equal(weights, np.zeros((3, len(values["a"]))))


@both
def test_an_inexact_guide_estimates_the_evidence_of_every_mask_within_three_standard_errors(backend: str) -> None:
    truth, values = every_mask()
    particles = 10_000
    evidence = inexact(backend).log_evidence(data_of((truth, values)), particles=particles, seed=1)
    weights = inexact(backend).log_weights(data_of((truth, values)), particles=1000, seed=2)
    ratios = np.exp(weights - truth.evidence(values))
    error = ratios.std(0, ddof=1) / np.sqrt(particles)
    z = np.expm1(evidence - truth.evidence(values)) / error
    assert (ratios.std(0) > 0.3).all()
    assert np.abs(z).max() < 3.5
    assert (np.abs(z) > 2).mean() < 0.2
    assert np.abs(z.sum()) / np.sqrt(len(z)) < 3


@both
def test_log_evidence_is_the_log_mean_of_the_weights_and_above_their_mean(backend: str) -> None:
    truth, values = every_mask()
    data = lg.dataset(truth, values)
    weights = inexact(backend).log_weights(data, particles=1000)
    evidence = inexact(backend).log_evidence(data, particles=1000)
    assert evidence.dtype == np.float64
    np.testing.assert_allclose(evidence, np.log(np.exp(weights).mean(0)), rtol=1e-12)
    assert (weights.mean(0) < evidence).all()


@both
def test_encode_draws_from_the_posterior_of_every_mask(backend: str) -> None:
    truth, values = every_mask()
    draws = 4000
    z = exact_by_hand(backend).encode(data_of((truth, values)), draws=draws)["z"]
    mean, cov = truth.posterior(values)
    assert z.shape == (draws, len(mean), truth.latent)
    agrees(z, mean, cov)


@both
def test_query_draws_from_the_predictive_of_every_mask(backend: str) -> None:
    truth, values = every_mask()
    drawn = exact_by_hand(backend).query(data_of((truth, values)), ask=["a", "c"], draws=4000)
    assert set(drawn) == {"a", "c"}
    for name, x in drawn.items():
        agrees(x, *truth.predictive(name, values))


@both
def test_query_given_one_modality_ignores_the_others(backend: str) -> None:
    truth, values = every_mask()
    drawn = exact_by_hand(backend).query(data_of((truth, values)), given=["b"], ask=["a"], draws=4000)
    agrees(drawn["a"], *truth.predictive("a", {"b": values["b"]}))


@both
def test_generate_draws_from_the_prior_predictive(backend: str) -> None:
    truth, _ = every_mask()
    drawn = exact_by_hand(backend).generate(800, seed=1)
    for name, x in drawn.items():
        weight = truth.weights[name]
        cov = weight @ weight.T + np.diag(truth.scales[name] ** 2)
        agrees(x[:, None], truth.biases[name][None], cov[None])


def agrees(draws: np.ndarray, mean: np.ndarray, cov: np.ndarray) -> None:
    """Means and covariances over draws ``(draws, items, n)`` are the given ones, up to Monte Carlo error."""
    count = len(draws)
    cov = np.broadcast_to(cov, (*mean.shape, mean.shape[-1]))
    variance = np.diagonal(cov, axis1=-2, axis2=-1)
    centred = draws - mean
    z = centred.mean(0) / np.sqrt(variance / count)
    assert np.abs(z).max() < 4.5
    assert (z**2).mean() < 1 + 4 * np.sqrt(2 / z.size)
    products = np.einsum("dni,dnj->nij", centred, centred) / count
    noise = np.sqrt((variance[..., :, None] * variance[..., None, :] + cov**2) / count)
    assert np.abs((products - cov) / noise).max() < 4.5


def loss(backend: str, vae: VAE, data: Dataset, particles: int) -> float:
    """The training objective's loss on all of the data, in nats per item, at the weights as they are."""
    state = fitting.init(vae, data, backend=backend, dtype="float64", particles=particles, device="cpu")
    engine = importlib.import_module(f"ppvae.backends.{backend}")
    with engine.environment(state.plan.settings):
        return engine.validate(state, engine.put(data.arrays), engine.put(data.observed), 0)


def pair(objective: str) -> tuple[VAE, np.ndarray, np.ndarray, lg.LinearGaussian, lg.Arrays]:
    """An inexact product pair on whole modalities with mixed patterns, and its guide's moments, in closed form."""
    truth, values = every_subset()
    widen, shift = 1.3, 0.2
    vae = VAE(lg.joint(truth), lg.product(truth, widen, shift), objective)
    precision, signal = np.ones((len(values["a"]), 2)), np.zeros((len(values["a"]), 2))
    for name in truth.names:
        weight, noise = truth.weights[name], truth.scales[name]
        expert = np.maximum((weight**2 / noise[:, None] ** 2).sum(0), 3e-9)
        present = ~np.isnan(values[name][:, :1])
        residual = np.nan_to_num(values[name] - truth.biases[name])
        loc = residual @ (weight / noise[:, None] ** 2) / expert + shift
        precision = precision + present * expert / widen**2
        signal = signal + present * expert / widen**2 * loc
    return vae, signal / precision, precision**-0.5, truth, values


@both
@pytest.mark.parametrize("objective", ["elbo", "mean_field_elbo"])
def test_the_training_objective_is_the_elbo_and_below_the_evidence(backend: str, objective: str) -> None:
    vae, loc, scale, truth, values = pair(objective)
    expected = truth.elbo(values, loc, scale).mean()
    found = -loss(backend, vae, data_of((truth, values)), particles=300)
    assert found == pytest.approx(expected, abs=0.04)
    assert expected < truth.evidence(values).mean() - 0.1


@both
def test_the_training_objective_of_the_exact_guide_is_the_evidence_with_one_particle(backend: str) -> None:
    truth, values = every_mask()
    vae = VAE(lg.joint(truth), lg.Exact(truth))
    found = -loss(backend, vae, data_of((truth, values)), particles=1)
    assert found == pytest.approx(truth.evidence(values).mean(), abs=1e-10)


@both
def test_training_from_the_exact_pair_stays_there(backend: str) -> None:
    truth = lg.orthogonal()
    data = lg.dataset(truth, truth.draw(64, seed=6))
    vae = VAE(lg.joint(truth), lg.product(truth))
    options: dict[str, Any] = {"epochs": 1, "batch_size": 32, "optimizer": "sgd", "lr": 1e-9, "dtype": "float64"}
    fitted = ppvae.fit(vae, data, backend=backend, progress=False, **options)
    assert -fitted.history[0]["loss"] == pytest.approx(truth.evidence(data.arrays).mean(), abs=1e-5)
