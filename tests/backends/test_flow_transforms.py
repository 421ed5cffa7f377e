"""Pyro's transform modules are networks on both backends: densities, gradients, inverses, as prior and as guide."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pyro.distributions.transforms as T
import pytest
import torch
from pyro.nn import AutoRegressiveNN
from torch import nn

import ppvae
from ppvae import Batch, Program, dist, pyro
from ppvae.backends import mirror, numpyro_words

SIZE, CONTEXT = 4, 2
TRANSFORMS: dict[str, Callable[[], Any]] = {
    "affine autoregressive": lambda: T.affine_autoregressive(SIZE, [8]),
    "stable autoregressive": lambda: T.AffineAutoregressive(AutoRegressiveNN(SIZE, [8]), stable=True),
    "affine coupling": lambda: T.affine_coupling(SIZE, hidden_dims=[8]),
    "composed": lambda: T.iterated(2, T.affine_autoregressive, SIZE, [8]),
    "elu": T.elu,
    "householder": lambda: T.householder(SIZE, 2),
    "leaky relu": T.leaky_relu,
    "matrix exponential": lambda: T.matrix_exponential(SIZE),
    "neural autoregressive": lambda: T.neural_autoregressive(SIZE, [8]),
    "permute": lambda: T.permute(SIZE),
    "planar": lambda: T.planar(SIZE),
    "polynomial": lambda: T.polynomial(SIZE, [8]),
    "radial": lambda: T.radial(SIZE),
    "spline": lambda: T.spline(SIZE),
    "spline autoregressive": lambda: T.spline_autoregressive(SIZE, [8]),
    "spline coupling": lambda: T.spline_coupling(SIZE, hidden_dims=[8]),
    "sylvester": lambda: T.sylvester(SIZE),
    "conditional affine autoregressive": lambda: T.conditional_affine_autoregressive(SIZE, CONTEXT, [8]),
    "conditional affine coupling": lambda: T.conditional_affine_coupling(SIZE, CONTEXT, hidden_dims=[8]),
    "conditional householder": lambda: T.conditional_householder(SIZE, CONTEXT),
    "conditional matrix exponential": lambda: T.conditional_matrix_exponential(SIZE, CONTEXT),
    "conditional neural autoregressive": lambda: T.conditional_neural_autoregressive(SIZE, CONTEXT, [8]),
    "conditional planar": lambda: T.conditional_planar(SIZE, CONTEXT),
    "conditional radial": lambda: T.conditional_radial(SIZE, CONTEXT),
    "conditional spline": lambda: T.conditional_spline(SIZE, CONTEXT),
    "conditional spline autoregressive": lambda: T.conditional_spline_autoregressive(SIZE, CONTEXT, [8]),
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
        except KeyError:  # Pyro has no inverse of some, but for the values that it has made
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
    net = shaken(Flow(TRANSFORMS[name]()))
    x, context = torch.randn(5, SIZE), torch.randn(CONTEXT)
    here = net(x, context)
    arrays, names = mirror.arrays(net), mirror.aliases(net)

    def total(trained: Any) -> Any:
        p = mirror.Parameters({**arrays, **trained}, names)
        found = mirror.forward(net, p, jnp.asarray(x.numpy()), jnp.asarray(context.numpy()))
        return sum((part**2).sum() for part in found), found

    trained = {label: arrays[label] for label, _ in net.named_parameters()}
    gradients, there = jax.jit(jax.grad(total, has_aux=True))(trained)
    for ours, theirs in zip(there, here, strict=True):
        np.testing.assert_allclose(ours, theirs.detach(), rtol=1e-10, atol=1e-10)
    if trained:
        slopes = torch.autograd.grad(
            sum((part**2).sum() for part in here), list(net.parameters()), allow_unused=True, materialize_grads=True
        )
        for (label, ours), theirs in zip(gradients.items(), sorted_slopes(net, slopes), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-8, atol=1e-9, err_msg=label)


def sorted_slopes(net: nn.Module, slopes: Any) -> list[torch.Tensor]:
    """In the order of JAX's dicts."""
    labels = [label for label, _ in net.named_parameters()]
    return [slope for _, slope in sorted(zip(labels, slopes, strict=True), key=lambda each: each[0])]


class Model(Program):
    """z ~ a spline coupling of noise;  x | z ~ Normal(W z, 1)."""

    def __init__(self) -> None:
        super().__init__()
        self.flow, self.net = T.spline_coupling(2, hidden_dims=[8]), nn.Linear(2, 3)

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
    vae = ppvae.VAE(Model(), Guide(T.affine_autoregressive(2, [8]), T.permute(2), T.spline_autoregressive(2, [8])))
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
    for name in ("guide.flows.0.u", "guide.flows.1.arn.layers.0.weight", "model.flow.nn.layers.0.weight"):
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
