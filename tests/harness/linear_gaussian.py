"""The linear-Gaussian oracle: ppvae programs that equal the closed forms of :mod:`ppvae.datasets.linear_gaussian`."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from ppvae import VAE, Dataset, Modality, Program, dist, ops, pyro
from ppvae.datasets.linear_gaussian import Arrays, LinearGaussian, linear_gaussian
from ppvae.guides.product import Product
from ppvae.inference.fitted import Fitted
from ppvae.models.joint import Joint
from ppvae.runs.settings import Settings
from ppvae.runs.snapshot import Snapshot

BACKENDS = ("pyro", "numpyro")


CENTERS = {"a": 2.0, "b": -1.0, "c": 0.5}
SPREADS = {"a": 3.0, "b": 0.5, "c": 1.0}


def orthogonal(seed: int = 0) -> LinearGaussian:
    """Three modalities of a two-dimensional latent, each of whose exact experts is a diagonal Gaussian.

    The columns of ``W_m / s_m`` are orthogonal; ``b`` says nothing about the second latent.
    """
    rng = np.random.default_rng(seed)
    sizes, lengths = {"a": 4, "b": 1, "c": 3}, {"a": [1.5, 0.8], "b": [1.2, 0.0], "c": [0.6, 2.0]}
    weights, biases, scales = {}, {}, {}
    for name, size in sizes.items():
        scales[name] = rng.uniform(0.4, 1.2, size)
        basis = np.zeros((size, 2))
        basis[:, : min(size, 2)] = np.linalg.qr(rng.normal(size=(size, min(size, 2))))[0]
        weights[name] = scales[name][:, None] * basis * np.array(lengths[name])
        biases[name] = rng.normal(size=size)
    return LinearGaussian(weights, biases, scales)


def general(seed: int = 1) -> LinearGaussian:
    """Three modalities of a two-dimensional latent with correlated posteriors."""
    return linear_gaussian({"a": 3, "b": 2, "c": 1}, latent=2, seed=seed)


def linear(weight: np.ndarray, bias: np.ndarray) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0], dtype=torch.float64)
    with torch.no_grad():
        layer.weight.copy_(torch.as_tensor(weight))
        layer.bias.copy_(torch.as_tensor(bias))
    return layer


def modalities(truth: LinearGaussian, widen: float = 1.0, shift: float = 0.0) -> list[Modality]:
    """Modalities whose decoders are the oracle's, and whose experts are exact where the oracle is orthogonal.

    Centers and spreads differ from 0 and 1, so that units matter. ``widen`` multiplies the experts' scales and
    ``shift`` is added to their locations.
    """
    return [_modality(truth, name, widen, shift) for name in truth.names]


def _modality(truth: LinearGaussian, name: str, widen: float, shift: float) -> Modality:
    center, spread = CENTERS[name], SPREADS[name]
    weight, bias = truth.weights[name] / spread, (truth.biases[name] - center) / spread
    scaled = weight / (truth.scales[name] / spread)[:, None] ** 2
    precision = np.maximum((weight * scaled).sum(0), 3e-9)
    gain = scaled.T / precision[:, None]
    encoder = linear(
        np.concatenate([gain, np.zeros_like(gain)]),
        np.concatenate([shift - gain @ bias, np.log(widen) - 0.5 * np.log(precision)]),
    )
    return Modality(
        name,
        (len(bias),),
        center=center,
        spread=spread,
        decoder=lambda latent: linear(weight, bias),
        encoder=lambda latent: encoder,
    )


def joint(truth: LinearGaussian) -> Joint:
    """The oracle's generative program."""
    model = Joint(modalities(truth), latent=truth.latent).double()
    with torch.no_grad():
        for name, likelihood in model.likelihoods.items():
            likelihood.log_scale.copy_(torch.as_tensor(np.log(truth.scales[name] / SPREADS[name])))
    return model


def product(truth: LinearGaussian, widen: float = 1.0, shift: float = 0.0) -> Product:
    """The product guide: exact for every subset of whole modalities of an orthogonal oracle, with the defaults."""
    return Product(modalities(truth, widen, shift), latent=truth.latent).double()


class Exact(Program):
    """The posterior of a linear-Gaussian oracle for whatever elements each item has, written by hand.

    ``widen`` and ``shift`` spoil it: they multiply its standard deviations and are added to its mean.
    """

    def __init__(self, truth: LinearGaussian, widen: float = 1.0, shift: float = 0.0) -> None:
        super().__init__()
        self.widen, self.shift = widen, shift
        self.latent, self.names = truth.latent, tuple(truth.names)
        for name in self.names:
            self.register_buffer(f"weight_{name}", torch.as_tensor(truth.weights[name]))
            self.register_buffer(f"bias_{name}", torch.as_tensor(truth.biases[name]))
            self.register_buffer(f"precision_{name}", torch.as_tensor(truth.scales[name] ** -2))

    def forward(self, batch: Any) -> Any:
        precision = ops.eye(self.latent) + ops.zeros((batch.size, 1, 1))
        signal = ops.zeros((batch.size, self.latent))
        for name in self.names:
            if name in batch.arrays:
                each = self.weigh(batch, name)
                weight = getattr(self, f"weight_{name}")
                precision = precision + ops.einsum("nd,dk,dl->nkl", each, weight, weight)
                signal = signal + ops.einsum(
                    "nd,dk->nk", each * (batch.get(name) - getattr(self, f"bias_{name}")), weight
                )
        loc = ops.linalg.solve(precision, signal[..., None])[..., 0]
        with batch.plate():
            spoilt = dist.MultivariateNormal(loc + self.shift, precision_matrix=precision / self.widen**2)
            return pyro.sample("z", spoilt)

    def weigh(self, batch: Any, name: str) -> Any:
        """The precision of each element, zero where it was not measured: ``(items, elements)``."""
        each = getattr(self, f"precision_{name}") * ops.ones_like(batch.get(name))
        mask = batch.mask(name)
        if mask is None:
            return each
        return ops.where(mask[:, None] if mask.ndim == 1 else mask, each, ops.zeros_like(each))


def fitted(truth: LinearGaussian, guide: Program, backend: str, dtype: str = "float64") -> Fitted:
    """The pair as if it had been trained: its answers, without training."""
    vae = VAE(joint(truth).to(getattr(torch, dtype)), guide.to(getattr(torch, dtype)))
    settings = Settings(backend=backend, dtype=dtype, device="cpu")  # type: ignore[arg-type]
    return Fitted(vae, modalities(truth), settings, [], Snapshot({}))


def dataset(truth: LinearGaussian, values: Mapping[str, np.ndarray]) -> Dataset:
    return Dataset(values, modalities=[m for m in modalities(truth) if m.name in values])


def with_holes(values: Mapping[str, np.ndarray], seed: int, fraction: float = 0.4) -> Arrays:
    """The values with single elements and whole modalities missing at random; one item has everything, one nothing."""
    rng = np.random.default_rng(seed)
    holed = {}
    for name, array in values.items():
        hole = (rng.random(array.shape) < fraction) | (rng.random((len(array), 1)) < 0.25)
        hole[0], hole[1] = False, True
        holed[name] = np.where(hole, np.nan, array)
    return holed


def subsets(names: Sequence[str]) -> list[tuple[str, ...]]:
    """Every non-empty subset of the names."""
    return [chosen for size in range(1, len(names) + 1) for chosen in itertools.combinations(names, size)]
