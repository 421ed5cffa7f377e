"""Pairs: what every model and its guide keep whatever their structure, and integrals over latents of one dimension."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
import objective_harness
import pytest
import torch
from numpyro import handlers
from scipy import stats
from scipy.special import logsumexp
from torch import nn

import ppvae
from ppvae import VAE, Batch, Dataset, Modality
from ppvae.backends import mirror, numpyro
from ppvae.inference import chunks
from ppvae.inference.fitted import Fitted
from ppvae.objectives.elbo import per_item
from ppvae.runs.settings import Settings
from ppvae.runs.snapshot import Snapshot

BACKENDS = ("pyro", "numpyro")
GRID = np.linspace(-9, 9, 241)
LOG_STEP = np.log(GRID[1] - GRID[0])

Arrays = dict[str, np.ndarray]


def views() -> list[Modality]:
    return [Modality("a", (2,)), Modality("b", (1,), center=1.0, spread=2.0)]


def rows(items: int = 1, seed: int = 0) -> Arrays:
    """For every pattern of holes some items: all, without a, without b, without an element of a, with nothing."""
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(5 * items, 2)), 1 + 2 * rng.normal(size=(5 * items, 1))
    a[1::5], b[2::5], a[3::5, 1], a[4::5], b[4::5] = np.nan, np.nan, np.nan, np.nan, np.nan
    return {"a": a, "b": b}


def untrained(vae: VAE) -> VAE:
    """The pair in float64, of one-dimensional latents: the model's weights larger, so that its posteriors are not its
    priors, and the guide's experts wider than these, so that importance weights are bounded."""
    vae.pair.double()
    shared = set(vae.model.modules())
    with torch.no_grad():
        for parameter in vae.model.parameters():
            parameter.mul_(1.4)
        for module in set(vae.guide.modules()) - shared:
            if isinstance(module, nn.Linear) and module.out_features == 2:  # location and log scale
                module.bias[1] += 0.4
    return vae


def fitted(vae: VAE, modalities: list[Modality], backend: str) -> Fitted:
    """The pair as it stands, on a backend, in float64."""
    settings = Settings(backend=backend, dtype="float64", device="cpu")  # type: ignore[arg-type]
    return Fitted(vae, modalities, settings, [], Snapshot({}))


def check_evidence(run: Fitted, data: Dataset, exact: np.ndarray, given: list[str] | None = None) -> None:
    """The importance-weighted evidence is the exact one within five standard errors, which are small, and the grid."""
    weights = run.log_weights(data, given, particles=4000)
    share = np.exp(weights - weights.max(0))
    error = share.std(0) / share.mean(0) / np.sqrt(len(weights))
    assert error.max() < 0.07
    assert (np.abs(logsumexp(weights, 0) - np.log(len(weights)) - exact) < 5 * error + 2e-4).all()


def check_rows_answer_alone(run: Fitted, data: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """An item's answers depend neither on its row nor on how many are answered at once."""
    order = np.random.default_rng(0).permutation(len(data))
    base, moved = _answers(run, data), _answers(run, data.take(order))
    for name, values in base.items():
        np.testing.assert_allclose(moved[name], values[:, order], rtol=1e-9, atol=1e-9)
    monkeypatch.setattr(chunks, "ROWS", 6)
    np.testing.assert_allclose(run.log_weights(data, particles=3), base["weights"], rtol=1e-9, atol=1e-9)


def _answers(run: Fitted, data: Dataset) -> Arrays:
    return {**run.query(data, draws=3), "weights": run.log_weights(data, particles=3)}


def check_holes_are_silent(backend: str, vae: VAE, objective: Any, arrays: Mapping[str, np.ndarray]) -> None:
    """What stands in a hole moves neither the objective nor its gradient, and no gradient is infinite."""
    masks = {name: ~np.isnan(array) for name, array in arrays.items()}
    evaluate, found = _evaluator(backend, vae, objective, masks), []
    for value in (0.0, 1e9, np.nan):
        shares, gradients = evaluate({name: np.where(masks[name], array, value) for name, array in arrays.items()})
        found.append({**shares, **{f"gradient {name}": gradient for name, gradient in gradients.items()}})
    for name, values in found[0].items():
        assert np.isfinite(values).all(), name
        for other in found[1:]:
            np.testing.assert_array_equal(other[name], values, err_msg=name)


def _evaluator(backend: str, vae: VAE, objective: Any, masks: Arrays) -> Any:
    """From arrays to shares and gradients, compiled once where the backend compiles."""
    if backend == "pyro":
        return lambda arrays: objective_harness.evaluate(backend, vae, objective, arrays, masks, gradients=True)
    with numpyro.environment(objective_harness.SETTINGS):
        weights, names = mirror.arrays(vae.pair), mirror.aliases(vae.pair)
    trained = {name: weights[name] for name, p in vae.pair.named_parameters() if p.requires_grad}

    def loss(params: Any, arrays: Any) -> tuple[Any, Any]:
        batch = Batch(arrays, masks)
        with handlers.seed(rng_seed=0):
            found = objective(*numpyro.programs(vae.pair, {**weights, **params}, names), batch, 1.0)
        return sum(per_item(found, batch).values()), found

    gradient = jax.jit(jax.grad(loss, has_aux=True))

    def evaluate(arrays: Arrays) -> tuple[Arrays, Arrays]:
        with numpyro.environment(objective_harness.SETTINGS):
            slopes, found = gradient(trained, numpyro.put(arrays))
        return tuple({name: np.asarray(value) for name, value in part.items()} for part in (found, slopes))

    return evaluate


def check_parity(vae: VAE, data: Dataset) -> None:
    report = ppvae.parity(vae, data.batch(), dtype="float64")
    assert report["ok"], report
    assert set(report["parameters"]) == {name for name, p in vae.pair.named_parameters() if p.requires_grad}


def log_normal(x: np.ndarray, parameters: tuple[Any, Any]) -> np.ndarray:
    """Log densities of x under loc and scale as a network gives them, ``(..., 1)``: without the last axis."""
    loc, scale = (part.detach().numpy()[..., 0] for part in parameters)
    return stats.norm.logpdf(x, loc, scale)


def log_likelihood(likelihood: Any, z: np.ndarray, x: np.ndarray) -> np.ndarray:
    """``log p(x | z)`` of one item's measured elements at latents ``(points, latent)``: ``(points,)``."""
    with torch.no_grad():
        y = likelihood.decoder(torch.as_tensor(z)).numpy()
    center, spread = likelihood.center.numpy(), likelihood.spread.numpy()
    scale = spread * likelihood.log_scale.detach().exp().numpy()
    each = stats.norm.logpdf(x, center + spread * y, scale)
    return np.where(np.isnan(x), 0.0, each).sum(-1)


def integral(log_values: np.ndarray) -> Any:
    """The log of the integral over the grid on the last axis."""
    return logsumexp(log_values, -1) + LOG_STEP
