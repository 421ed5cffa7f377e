"""A linear-Gaussian oracle with shared and private latents, exact experts for it, and runs of programs on a batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import jax
import linear_gaussian as lg
import numpy as np
import numpyro
import torch
from torch import nn

import ppvae
from ppvae import VAE, Batch, Dataset, Modality
from ppvae.backends import mirror
from ppvae.backends.devices.in_torch import defaults
from ppvae.backends.numpyro import environment, programs
from ppvae.inference.fitted import Fitted
from ppvae.objectives.elbo import per_item
from ppvae.runs.settings import Settings
from ppvae.runs.snapshot import Snapshot

SHARED, PRIVATE = 2, 1
NAMES = ("a", "b", "c")
BACKENDS = ("pyro", "numpyro")


def truth(seed: int = 0) -> lg.LinearGaussian:
    """Latents ``[z, w_a, w_b, w_c]``. The columns of ``W_m / s_m`` are orthogonal, so exact posteriors are diagonal."""
    rng = np.random.default_rng(seed)
    weights, biases, scales = {}, {}, {}
    for number, name in enumerate(NAMES):
        size = 3 + number
        scales[name] = rng.uniform(0.5, 1.2, size)
        columns = np.linalg.qr(rng.normal(size=(size, SHARED + PRIVATE)))[0] * rng.uniform(0.7, 1.5, SHARED + PRIVATE)
        weights[name] = np.zeros((size, SHARED + PRIVATE * len(NAMES)))
        weights[name][:, [0, 1, SHARED + number]] = scales[name][:, None] * columns
        biases[name] = rng.normal(size=size)
    return lg.LinearGaussian(weights, biases, scales)


def modalities(oracle: lg.LinearGaussian, prior_in_shared: bool = False) -> list[Modality]:
    """Modalities with the oracle's decoders and exact experts, the private ones with their prior.

    The shared experts are those of a product, without the prior, unless that is asked for.
    """
    return [_modality(oracle, name, prior_in_shared) for name in oracle.names]


def _modality(oracle: lg.LinearGaussian, name: str, prior_in_shared: bool) -> Modality:
    weight, bias, noise = oracle.weights[name], oracle.biases[name], oracle.scales[name]
    own = SHARED + NAMES.index(name)
    shared = partial(expert, weight[:, :SHARED], bias, noise, 1.0 if prior_in_shared else 0.0)
    private = partial(expert, weight[:, [own]], bias, noise, 1.0)
    return Modality(
        name,
        (len(bias),),
        decoder=lambda latent: lg.linear(weight[:, [0, 1, own]], bias),
        encoder=lambda latent: {SHARED: shared, PRIVATE: private}[latent](),
    )


def expert(weight: np.ndarray, bias: np.ndarray, noise: np.ndarray, prior: float) -> nn.Linear:
    """The network whose output is the exact Gaussian expert, with ``prior`` times the standard normal's precision."""
    scaled = weight / noise[:, None] ** 2
    precision = (weight * scaled).sum(0) + prior
    gain = scaled.T / precision[:, None]
    return lg.linear(np.concatenate([gain, 0 * gain]), np.concatenate([-gain @ bias, -0.5 * np.log(precision)]))


def set_scales(model: Any, oracle: lg.LinearGaussian) -> Any:
    """The model in double precision, with the oracle's noise."""
    with torch.no_grad():
        for name, likelihood in model.double().likelihoods.items():
            likelihood.log_scale.data = torch.as_tensor(np.log(oracle.scales[name]))
    return model


def ragged(oracle: lg.LinearGaussian, items: int = 12, seed: int = 1) -> lg.Arrays:
    """Items that each lack some modalities: the first lacks none, the second has nothing."""
    values = oracle.draw(items, seed)
    lost = np.random.default_rng(seed).random((items, len(NAMES))) < 0.4
    lost[0], lost[1] = False, True
    return {name: np.where(lost[:, [i]], np.nan, values[name]) for i, name in enumerate(NAMES)}


def fitted(vae: VAE, modalities: Sequence[Modality], backend: str) -> Fitted:
    """The pair as if it had been trained, in double precision."""
    vae.pair.double().eval()
    settings = Settings(backend=backend, dtype="float64", device="cpu")  # type: ignore[arg-type]
    return Fitted(vae, modalities, settings, [], Snapshot({}))


def dataset(values: Mapping[str, np.ndarray], oracle: lg.LinearGaussian) -> Dataset:
    return Dataset(dict(values), modalities=modalities(oracle))


def repeated(values: Mapping[str, np.ndarray], times: int) -> Batch:
    """Each item so many times in a row."""
    return Batch({name: np.repeat(array, times, 0) for name, array in values.items()})


def shares(vae: VAE, objective: Any, batch: Batch, seed: int = 0) -> dict[str, np.ndarray]:
    """The objective's shares on Pyro, in double precision."""
    with defaults(torch.float64), torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(seed)
        found = objective(vae.model, vae.guide, batch, 1.0)
    return {name: np.asarray(value) for name, value in found.items()}


def gradients(vae: VAE, objective: Any, batch: Batch, backend: str, seed: int = 0) -> dict[str, np.ndarray]:
    """The gradient of the objective per item with respect to every parameter, in training mode, in double precision."""
    vae.pair.double().train()
    named = {name: p for name, p in vae.pair.named_parameters() if p.requires_grad}
    if backend == "pyro":
        with defaults(torch.float64), torch.random.fork_rng():
            torch.manual_seed(seed)
            total = sum(per_item(objective(vae.model, vae.guide, batch, 1.0), batch).values())
        found = torch.autograd.grad(total, list(named.values()), materialize_grads=True)
        return {name: np.asarray(g) for name, g in zip(named, found, strict=True)}
    with environment(Settings(backend="numpyro", dtype="float64", device="cpu")):
        weights, names = mirror.arrays(vae.pair), mirror.aliases(vae.pair)

        def total_of(params: Any) -> Any:
            with numpyro.handlers.seed(rng_seed=seed):
                pair = programs(vae.pair, {**weights, **params}, names, training=True)
                return sum(per_item(objective(*pair, batch, 1.0), batch).values())

        return {n: np.asarray(g) for n, g in jax.jit(jax.grad(total_of))({n: weights[n] for n in named}).items()}


def views() -> Dataset:
    """A ragged corner of mfeat: some rows lack a view, one lacks a few of its elements."""
    whole = ppvae.datasets.load("mfeat").take(slice(0, 2000, 80))
    arrays = {name: whole.arrays[name] for name in ("kar", "pix", "mor")}
    observed = {"kar": np.ones((25, 64), bool), "mor": np.arange(25) % 4 > 0, "pix": np.arange(25) != 0}
    observed["kar"][:5] = False
    observed["kar"][6, 5:] = False
    return Dataset(arrays, observed, modalities=[m for m in whole.modalities if m.name in arrays]).refitted()


def filled(batch: Batch, value: float) -> Batch:
    """The batch as tensors, with this value in the holes."""
    masks = {name: torch.as_tensor(mask) for name, mask in (batch.observed or {}).items()}
    arrays = {name: torch.as_tensor(array, dtype=torch.float64) for name, array in batch.arrays.items()}
    for name, mask in masks.items():
        shown = mask.reshape(mask.shape + (1,) * (arrays[name].ndim - mask.ndim))
        arrays[name] = torch.where(shown, arrays[name], value)
    return Batch(arrays, masks)
