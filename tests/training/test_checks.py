"""Refusals: what an objective cannot do with a pair is said before training starts."""

from __future__ import annotations

import numpy as np
import pytest
from torch import nn

import ppvae
from ppvae import VAE, Dataset, Modality
from ppvae.guides.mixture_of_products import MixtureOfProducts
from ppvae.guides.product import Product
from ppvae.models.joint import Joint

SMALL = {"latent": 2, "hidden": (4,)}
BACKENDS = ("pyro", "numpyro")


@pytest.fixture(scope="module")
def data() -> Dataset:
    rng = np.random.default_rng(0)
    return Dataset({name: rng.normal(size=(40, 2)) for name in "abc"})


def fit(vae: VAE, data: Dataset, backend: str = "pyro") -> object:
    return ppvae.fit(vae, data, backend=backend, epochs=1)


@pytest.mark.parametrize("objective", ["stl", "dreg", "mmvae"])
def test_objectives_that_run_the_guide_again_need_the_same_density(objective: str, data: Dataset) -> None:
    drawn = MixtureOfProducts(data.modalities, subsets=2, **SMALL)
    with pytest.raises(ValueError, match=r"this guide gives 'z' another density each time \(dropout, or subsets"):
        fit(VAE(Joint(data.modalities, **SMALL), drawn, objective), data)
    whole = MixtureOfProducts(data.modalities, **SMALL)
    assert fit(VAE(Joint(data.modalities, **SMALL), whole, objective), data)
    assert fit(VAE(Joint(data.modalities, **SMALL), drawn, "iwae"), data)


def test_dropout_in_a_guide_is_refused_by_them(data: Dataset) -> None:
    def dropping(latent: int) -> nn.Module:
        return nn.Sequential(nn.Linear(2, 8), nn.Dropout(0.3), nn.Linear(8, 2 * latent))

    modalities = [Modality("a", (2,), encoder=dropping), *data.modalities[1:]]
    guide = Product(modalities, **SMALL)
    with pytest.raises(ValueError, match="another density each time"):
        fit(VAE(Joint(modalities, **SMALL), guide, "stl"), Dataset(data.arrays, modalities=modalities))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("prior", ["flow", "vamp"])
def test_mmjsd_refuses_a_prior_without_moments(prior: str, backend: str, data: Dataset) -> None:
    with pytest.raises(ValueError, match="by their means and variances, and one of them knows none"):
        fit(ppvae.method("mmjsd", data.modalities, prior=prior, **SMALL), data, backend)


@pytest.mark.parametrize("backend", BACKENDS)
def test_subset_weights_need_every_modality_of_the_guide(backend: str, data: Dataset) -> None:
    code = ppvae.method("code", data.modalities, **SMALL)
    two = data.modalities[:2]
    less = Dataset({m.name: data.arrays[m.name] for m in two}, modalities=two)
    with pytest.raises(ValueError, match="the guide weighs 7 subsets of modalities and the data have 3"):
        fit(VAE(Joint(two, **SMALL), code.guide, "weighted"), less, backend)
