"""Refusals: what an objective cannot do with a pair is said before training starts."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

import ppvae
from ppvae import VAE, Dataset, Modality
from ppvae.guides.mixture_of_products import MixtureOfProducts
from ppvae.guides.product import Product
from ppvae.models.joint import Joint
from ppvae.training.fit import init

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


class Counter(nn.Module):
    """Counts its calls."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return x


class Shrinking(nn.Module):
    """Embeds signs by vectors that it makes shorter in place."""

    def __init__(self) -> None:
        super().__init__()
        self.signs = nn.Embedding(2, 4, max_norm=0.1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.signs((x[..., 0] > 0).long())


def around(layer: Callable[[], nn.Module], data: Dataset) -> VAE:
    """A pair whose encoder of a modality holds a layer of width 4."""
    wide = lambda latent: nn.Sequential(nn.Linear(2, 4), layer(), nn.Linear(4, 2 * latent))  # noqa: E731
    modalities = [Modality("a", (2,), encoder=wide), *data.modalities[1:]]
    return VAE(Joint(modalities, **SMALL), Product(modalities, **SMALL))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("layer", "said"),
    [
        (lambda: nn.BatchNorm1d(4), r"nn.BatchNorm1d at 'guide\.encoders\.networks\.a\.1\.1' .* use nn.GroupNorm or"),
        (lambda: nn.InstanceNorm1d(4, track_running_stats=True), r"nn.InstanceNorm1d at .* use nn.GroupNorm or"),
        (lambda: parametrizations.spectral_norm(nn.Linear(4, 4)), r"_SpectralNorm at '.*' changes its '_[uv]'"),
        (lambda: nn.utils.spectral_norm(nn.Linear(4, 4)), r"Linear at 'guide.*\.1\.1' changes its 'weight_[uv]'"),
        (Counter, r"Counter at '.*\.1\.1' changes its 'calls' .* use a layer that keeps nothing"),
        (Shrinking, r"Embedding at '.*\.1\.1\.signs' changes its 'weight'"),
    ],
)
def test_layers_that_change_as_they_run_are_refused(
    layer: Callable[[], nn.Module], said: str, backend: str, data: Dataset
) -> None:
    vae = around(layer, data)
    vae.pair.eval()
    before = copy.deepcopy(vae.pair.state_dict())
    with pytest.raises(ValueError, match=said):
        fit(vae, data, backend)
    assert all(torch.equal(value, before[name]) for name, value in vae.pair.state_dict().items())
    assert not vae.pair.training


def test_a_layer_without_a_size_is_refused(data: Dataset) -> None:
    with pytest.raises(
        ValueError, match=r"nn\.LazyLinear at '.*\.1\.1' does not know its size .* run the program once"
    ):
        init(around(lambda: nn.LazyLinear(4), data), data)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_hook_for_a_gradient_is_told(backend: str, data: Dataset) -> None:
    vae = around(lambda: nn.Linear(4, 4), data)
    vae.guide.encoders.networks["a"][1][1].weight.register_hook(torch.zeros_like)
    with pytest.warns(UserWarning, match=r"weight 'guide.*\.1\.1\.weight' has a hook for its gradient, .* \* mask"):
        init(vae, data, backend=backend)


class Halved(nn.Module):
    """Halves, by a buffer that is not saved."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("by", torch.tensor(0.5), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.by


@pytest.mark.parametrize("backend", BACKENDS)
def test_buffers_that_are_not_saved_are_the_programs_own(backend: str, data: Dataset, tmp_path: Path) -> None:
    vae = around(Halved, data)
    options: dict[str, Any] = {"backend": backend, "batch_size": 5, "progress": False}
    through = ppvae.fit(vae, data, epochs=2, **options)
    assert not [name for name in through.snapshot.weights if name.endswith(".by")]
    ppvae.fit(vae, data, epochs=1, out=tmp_path / "run", **options)
    resumed = ppvae.fit(vae, data, epochs=2, out=tmp_path / "run", resume=True, **options)
    assert resumed.history[-1]["loss"] == through.history[-1]["loss"]


@pytest.mark.parametrize("backend", BACKENDS)
def test_two_items_are_enough(backend: str, data: Dataset) -> None:
    assert len(fit(ppvae.method("mvae", data.modalities, **SMALL), data.take([0, 1]), backend).history) == 1


@pytest.mark.parametrize("backend", BACKENDS)
def test_init_leaves_the_pair_and_random_numbers_as_they_were(backend: str, data: Dataset) -> None:
    vae = around(lambda: nn.LayerNorm(4), data)
    vae.pair.eval()
    before, flags = copy.deepcopy(vae.pair.state_dict()), [p.requires_grad for p in vae.pair.parameters()]
    init(vae, data, backend=backend)
    randomness = torch.get_rng_state(), np.random.get_state()[1]
    init(vae, data, backend=backend)
    assert torch.equal(torch.get_rng_state(), randomness[0])
    assert np.array_equal(np.random.get_state()[1], randomness[1])
    assert all(torch.equal(value, before[name]) for name, value in vae.pair.state_dict().items())
    assert [p.requires_grad for p in vae.pair.parameters()] == flags
    assert not vae.pair.training
