"""Levels: counts of any size, from one in a hundred items to ten billions an item, are predicted at their means."""

from __future__ import annotations

import numpy as np
import pyro
import pytest
import torch

import ppvae
from ppvae import Dataset, Modality

CASES = [
    *(("pyro", family, level) for family in ("poisson", "negative_binomial") for level in (1e-2, 1e10)),
    ("numpyro", "poisson", 1e10),
    ("numpyro", "negative_binomial", 1e-2),
]


def counts(level: float, items: int = 1000) -> np.ndarray:
    """Counts whose rates differ from item to item by a factor of four."""
    rng = np.random.default_rng(0)
    return rng.poisson(level * rng.permuted(np.geomspace(0.5, 2.0, items)))[:, None]


@pytest.mark.parametrize(("backend", "family", "level"), CASES)
def test_predicted_means_are_right_at_every_level(backend: str, family: str, level: float) -> None:
    data = Dataset({"x": counts(level)}, modalities=[Modality("x", (1,), family)])
    vae = ppvae.method("vae", data.modalities, latent=1, hidden=(8,))
    options = {"epochs": 20, "batch_size": 100, "lr": 0.03, "schedule": "cosine", "progress": False}
    run = ppvae.fit(vae, data, backend=backend, **options)
    z = torch.as_tensor(run.encode(data.take(np.arange(200)), draws=20)["z"])
    rates = pyro.poutine.trace(run.vae.model.likelihoods["x"]).get_trace(z).nodes["x"]["fn"].mean
    np.testing.assert_allclose(rates.mean().item(), data.arrays["x"].mean(), rtol=0.05)
