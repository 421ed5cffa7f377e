"""Pyro's transform modules are networks on both backends: densities, gradients, inverses, as prior and as guide."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
import pyro.distributions.transforms as T
import pytest
import torch
from mirror_oracle import assert_mirrors
from pyro.nn import AutoRegressiveNN
from scipy import stats
from scipy.special import logsumexp
from torch import nn

import ppvae
from ppvae import Batch, Program, dist, pyro
from ppvae.backends import mirror, numpyro_words
from ppvae.backends.parity import log_probs
from ppvae.runs.settings import Settings

SIZE, CONTEXT = 3, 2
TRANSFORMS: dict[str, Callable[[], Any]] = {
    "affine autoregressive": lambda: T.affine_autoregressive(SIZE, [8]),
    "stable autoregressive": lambda: T.AffineAutoregressive(AutoRegressiveNN(SIZE, [8]), stable=True),
    "affine coupling": lambda: T.affine_coupling(SIZE, hidden_dims=[8]),
    "composed": lambda: T.iterated(2, T.affine_autoregressive, SIZE, [8]),
    "householder": lambda: T.householder(SIZE, 2),
    "leaky relu": T.leaky_relu,
    "matrix exponential": lambda: T.matrix_exponential(SIZE),
    "neural autoregressive": lambda: T.neural_autoregressive(SIZE, [8]),
    "permute": lambda: T.permute(SIZE),
    "planar": lambda: T.planar(SIZE),
    "polynomial": lambda: T.polynomial(SIZE, [8]),
    "radial": lambda: T.radial(SIZE),
    "spline": lambda: T.spline(SIZE, count_bins=3),
    "spline autoregressive": lambda: T.spline_autoregressive(SIZE, [4], count_bins=2),
    "spline coupling": lambda: T.spline_coupling(SIZE, hidden_dims=[4], count_bins=2),
    "sylvester": lambda: T.sylvester(SIZE),
    "conditional affine autoregressive": lambda: T.conditional_affine_autoregressive(SIZE, CONTEXT, [8]),
    "conditional affine coupling": lambda: T.conditional_affine_coupling(SIZE, CONTEXT, hidden_dims=[8]),
    "conditional householder": lambda: T.conditional_householder(SIZE, CONTEXT),
    "conditional matrix exponential": lambda: T.conditional_matrix_exponential(SIZE, CONTEXT),
    "conditional neural autoregressive": lambda: T.conditional_neural_autoregressive(SIZE, CONTEXT, [8]),
    "conditional planar": lambda: T.conditional_planar(SIZE, CONTEXT),
    "conditional radial": lambda: T.conditional_radial(SIZE, CONTEXT),
    "conditional spline": lambda: T.conditional_spline(SIZE, CONTEXT, count_bins=3),
}
assert numpyro_words  # what it imports rewrites the passages that look at values


class Flow(nn.Module):
    """What a transform makes of noise, and what it says of values whose noise it does not remember."""

    def __init__(self, transform: Any) -> None:
        super().__init__()
        self.transform = transform

    def forward(self, x: torch.Tensor, context: torch.Tensor) -> list[Any]:
        t = self.transform.condition(context) if hasattr(self.transform, "condition") else self.transform
        flow = dist.TransformedDistribution(dist.Normal(torch.zeros(SIZE), 1.0).to_event(1), [t])
        z = t(x)
        found = [z, t.log_abs_det_jacobian(x, z), flow.log_prob(z)]
        try:
            return [*found, t.inv(z * 1.0), flow.log_prob(z + 0.1)]
        except mirror.MirrorError:
            raise
        except (KeyError, NotImplementedError):  # Pyro has no inverse of some, but for the values that it has made
            return found


@pytest.fixture(autouse=True)
def double() -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    with jax.enable_x64(True), torch.random.fork_rng():
        torch.manual_seed(1)
        yield
    torch.set_default_dtype(before)


def shaken(module: nn.Module) -> Any:
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return module


@pytest.mark.parametrize("name", TRANSFORMS)
def test_a_transform_and_its_gradients_are_the_same_on_both(name: str) -> None:
    assert_mirrors(shaken(Flow(TRANSFORMS[name]())), torch.randn(5, SIZE), torch.randn(CONTEXT))


class Model(Program):
    """z ~ an affine coupling of noise;  x | z ~ Normal(W z, 1)."""

    def __init__(self) -> None:
        super().__init__()
        self.flow, self.net = T.affine_coupling(2, hidden_dims=[8]), nn.Linear(2, 3)

    def forward(self, batch: Batch) -> None:
        with batch.plate():
            noise = dist.Normal(torch.zeros(2), torch.ones(2)).to_event(1)
            z = pyro.sample("z", dist.TransformedDistribution(noise, [self.flow]))
            pyro.sample("x", dist.Normal(self.net(z), 1.0).to_event(1), obs=batch.get("x"))


class Guide(Program):
    """z | x ~ transforms of a Gaussian."""

    def __init__(self, *flows: Any) -> None:
        super().__init__()
        self.flows, self.net = nn.ModuleList(flows), nn.Linear(3, 2)

    def forward(self, batch: Batch) -> None:
        with batch.plate():
            noise = dist.Normal(self.net(batch.get("x")), 0.7).to_event(1)
            pyro.sample("z", dist.TransformedDistribution(noise, list(self.flows)))


def data() -> Any:
    return ppvae.Dataset({"x": np.random.default_rng(0).normal(size=(12, 3))})


def test_flows_serve_as_prior_and_as_guide_on_both() -> None:
    vae = ppvae.VAE(Model(), Guide(T.affine_autoregressive(2, [8]), T.spline(2, count_bins=3)))
    found = ppvae.parity(vae, data().batch(), dtype="float64")
    assert found["max_logprob_difference"] < 1e-10
    assert found["max_gradient_difference"] < 1e-9


@pytest.mark.parametrize("backend", ["pyro", "numpyro"])
def test_a_guide_without_an_inverse_is_trained_by_what_it_remembers(backend: str) -> None:
    """Pyro's planar flow cannot be inverted: a density that forgot how its value was made would raise."""
    vae = ppvae.VAE(Model(), Guide(T.planar(2), T.affine_autoregressive(2, [8])))
    before = {name: value.clone() for name, value in vae.pair.state_dict().items()}
    fitted = ppvae.fit(vae, data(), backend=backend, epochs=2, batch_size=6)
    assert np.isfinite([epoch["loss"] for epoch in fitted.history]).all()
    after = fitted.vae.pair.state_dict()
    for name in ("guide.flows.0.u", "guide.flows.1.arn.layers.0.weight", "model.net.weight"):
        assert (before[name] != after[name].to(before[name])).any(), name


def test_batch_norm_is_refused_with_advice() -> None:
    vae = ppvae.VAE(Model(), Guide(T.batchnorm(2)))
    with pytest.raises(ValueError, match="running statistics"):
        ppvae.fit(vae, data(), backend="numpyro", epochs=1)


class Mixture(Program):
    """c ~ one-hot, summed out;  x | c ~ Normal(c W, 1)."""

    def __init__(self) -> None:
        super().__init__()
        self.logits, self.loc = nn.Parameter(torch.randn(3)), nn.Parameter(torch.randn(3, 2))

    def forward(self, batch: Batch) -> None:
        with batch.plate():
            c = pyro.sample("c", dist.OneHotCategorical(logits=self.logits), infer={"enumerate": "parallel"})
            z = pyro.sample("z", dist.Normal(0.0, 1.0).expand([2]).to_event(1))
            pyro.sample("x", dist.Normal(c @ self.loc + z, 1.0).to_event(1), obs=batch.get("x"))


class Beside(Program):
    """A guide of z alone."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(2, 2)

    def forward(self, batch: Batch) -> None:
        with batch.plate():
            pyro.sample("z", dist.Normal(self.net(batch.get("x")), 1.0).to_event(1))


def test_a_one_hot_latent_is_summed_out_exactly_and_trained_on_both() -> None:
    torch.manual_seed(0)
    vae, x = ppvae.VAE(Mixture(), Beside()), np.random.default_rng(0).normal(size=(12, 2))
    rows = ppvae.Dataset({"x": x})
    batch = rows.batch()
    found = ppvae.parity(vae, batch, dtype="float64")
    assert found["max_logprob_difference"] < 1e-10
    assert found["max_gradient_difference"] < 1e-9
    with torch.no_grad():
        z = np.random.default_rng(1).normal(size=(12, 2))
        loc = vae.model.double().loc.numpy()
        by_hand = logsumexp(
            torch.log_softmax(vae.model.logits, 0).numpy()
            + stats.norm.logpdf(x[:, None], loc + z[:, None], 1.0).sum(-1),
            axis=1,
        )
    for backend in ("pyro", "numpyro"):
        engine = importlib.import_module(f"ppvae.backends.{backend}")
        with engine.environment(Settings(dtype="float64", device="cpu")), torch.no_grad():
            pair = (vae.model, vae.guide)
            if backend == "numpyro":
                pair = engine.programs(vae.pair, mirror.arrays(vae.pair), mirror.aliases(vae.pair))
            sites = log_probs(*pair, batch, engine.put({"z": z}))
        np.testing.assert_allclose(np.asarray(sites["x"]).ravel(), by_hand, rtol=1e-10)
        run = ppvae.fit(ppvae.VAE(Mixture(), Beside()), rows, backend=backend, epochs=2, batch_size=6)
        assert np.isfinite([epoch["loss"] for epoch in run.history]).all()
