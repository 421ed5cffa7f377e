"""The objectives' harness: shares and gradients of an objective at the weights as they are, on either backend."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
import torch
from numpyro import handlers

from ppvae import VAE, Batch
from ppvae.backends import mirror, numpyro, pyro
from ppvae.objectives.elbo import per_item
from ppvae.runs.settings import Settings

Arrays = dict[str, np.ndarray]
BACKENDS = ("pyro", "numpyro")
SETTINGS = Settings(dtype="float64", device="cpu")


def evaluate(
    backend: str,
    vae: VAE,
    objective: Any,
    arrays: Mapping[str, np.ndarray],
    observed: Mapping[str, np.ndarray] | None = None,
    *,
    beta: float = 1.0,
    seed: int = 0,
    total: int | None = None,
    gradients: bool = False,
) -> tuple[Arrays, Arrays]:
    """Shares by name, as the objective returns them, and the gradient of their sum in nats per item by parameter.

    NaN are holes; arrays with ``observed`` masks are passed as tensors, whatever stands in their holes.
    """
    holes = {name: ~np.isnan(array) for name, array in arrays.items() if np.isnan(array).any()}
    masks = dict(observed or {}) or holes
    run = {"pyro": _on_pyro, "numpyro": _on_numpyro}[backend]
    return run(vae, objective, dict(arrays), masks, beta, seed, total, gradients)


def shares(backend: str, vae: VAE, objective: Any, arrays: Mapping[str, np.ndarray], **options: Any) -> Arrays:
    return evaluate(backend, vae, objective, arrays, **options)[0]


def gradients(backend: str, vae: VAE, objective: Any, arrays: Mapping[str, np.ndarray], **options: Any) -> Arrays:
    return evaluate(backend, vae, objective, arrays, gradients=True, **options)[1]


def many(
    backend: str, vae: VAE, objective: Any, arrays: Mapping[str, np.ndarray], repeats: int
) -> tuple[Arrays, Arrays]:
    """Shares and gradients of so many independent evaluations, stacked; compiled on NumPyro."""
    if backend == "pyro":
        runs = [evaluate(backend, vae, objective, arrays, seed=seed, gradients=True) for seed in range(repeats)]
        found, slopes = ([run[i] for run in runs] for i in (0, 1))
        return _stacked(found), _stacked(slopes)
    with numpyro.environment(SETTINGS):
        loss, params = _loss(vae, objective, Batch(numpyro.put(arrays)), 1.0)
        gradient = jax.jit(jax.vmap(jax.grad(loss, has_aux=True), (None, 0)))
        slopes, found = gradient(params, jax.numpy.arange(repeats))
        return _numpy(found), _numpy(slopes)


def _stacked(runs: list[Arrays]) -> Arrays:
    return {name: np.stack([run[name] for run in runs]) for name in runs[0]}


def _on_pyro(
    vae: VAE, objective: Any, arrays: Arrays, masks: Arrays, beta: float, seed: int, total: int | None, grad: bool
) -> tuple[Arrays, Arrays]:
    with pyro.environment(SETTINGS), torch.set_grad_enabled(grad):
        pyro.seed(seed)
        batch = Batch(pyro.put(arrays), pyro.put(masks), total)
        found = objective(vae.model, vae.guide, batch, beta)
        named = {name: p for name, p in vae.pair.named_parameters() if p.requires_grad}
        slopes: Any = []
        if grad:
            loss = sum(per_item(found, batch).values())
            slopes = torch.autograd.grad(loss, list(named.values()), allow_unused=True, materialize_grads=True)
        return _numpy(found), _numpy(dict(zip(named, slopes, strict=False)))


def _on_numpyro(
    vae: VAE, objective: Any, arrays: Arrays, masks: Arrays, beta: float, seed: int, total: int | None, grad: bool
) -> tuple[Arrays, Arrays]:
    with numpyro.environment(SETTINGS):
        batch = Batch(numpyro.put(arrays), numpyro.put(masks), total)
        loss, params = _loss(vae, objective, batch, beta)
        if not grad:
            return _numpy(loss(params, seed)[1]), {}
        slopes, found = jax.grad(loss, has_aux=True)(params, seed)
        return _numpy(found), _numpy(slopes)


def _loss(vae: VAE, objective: Any, batch: Batch, beta: float) -> tuple[Any, Any]:
    """A function of the trained parameters and a seed, and those parameters."""
    weights, names = mirror.arrays(vae.pair), mirror.aliases(vae.pair)

    def loss(params: Any, seed: Any) -> Any:
        pair = numpyro.programs(vae.pair, {**weights, **params}, names)
        with handlers.seed(rng_seed=seed):
            found = objective(*pair, batch, beta)
        return sum(per_item(found, batch).values()), found

    return loss, {name: weights[name] for name, p in vae.pair.named_parameters() if p.requires_grad}


def _numpy(arrays: Mapping[str, Any]) -> Arrays:
    return {
        name: value.detach().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)
        for name, value in arrays.items()
    }


def total(found: Mapping[str, np.ndarray]) -> np.ndarray:
    """The sum of the local shares, ``(items,)``."""
    return sum(value for value in found.values() if np.ndim(value))  # type: ignore[return-value]


def z_scores(estimates: np.ndarray, expected: Any) -> np.ndarray:
    """How many standard errors the mean of independent ``estimates`` ``(repeats, ...)`` is off."""
    error = estimates.std(0, ddof=1) / np.sqrt(len(estimates))
    return (estimates.mean(0) - expected) / np.maximum(error, 1e-10)


def assert_unbiased(estimates: np.ndarray, expected: Any) -> None:
    """Each mean is within 4.5 standard errors of what is expected, and together they are as noise would have it."""
    z = z_scores(estimates, expected)
    varying = estimates.std(0) > 1e-9
    assert np.abs(z).max() < 4.5
    if varying.any():
        noise = z[varying]
        assert abs(noise.mean()) < 4 / np.sqrt(noise.size)
        assert (noise**2).mean() < 1 + 5 * np.sqrt(2 / noise.size)
