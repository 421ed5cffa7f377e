"""Modules that a text reaches other than by an attribute train on NumPyro as on Pyro: in lists, partials, objects."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyro.distributions.transforms as T
import pyro.infer
import pytest
import torch
from torch import nn

import ppvae
from ppvae import VAE, Dataset, Program, dist, pyro


class Net(nn.Module):
    """As Pyro's users write a pair: one module with a method for each program."""

    def __init__(self) -> None:
        super().__init__()
        self.flows = [T.affine_autoregressive(2, hidden_dims=[4]), T.affine_coupling(2, hidden_dims=[4])]
        self.held = nn.ModuleList(self.flows)
        self.out, self.loc = nn.Linear(2, 3), nn.Linear(3, 4)

    def model(self, x: Any) -> None:
        pyro.module("net", self)
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(self.out(z), 1.0).to_event(1), obs=x)

    def guide(self, x: Any) -> None:
        pyro.module("net", self)
        loc, scale = self.loc(x).chunk(2, -1)
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.TransformedDistribution(dist.Normal(loc, scale.exp()), self.flows))


class Told(Program):
    """A function of the data that belongs to a network."""

    def __init__(self, net: Net, function: Any):
        super().__init__()
        self.net, self.function = net, function

    def forward(self, batch):
        (self.function["it"] if isinstance(self.function, dict) else self.function)(batch.get("x"))


WAYS: dict[str, Any] = {
    "a method": lambda method: method,
    "a partial": partial,
    "a handler's": pyro.infer.config_enumerate,
    "in a dict": lambda method: {"it": method, "other": [1, (2.0, "three")]},
}


@pytest.mark.parametrize("way", WAYS)
def test_a_module_held_otherwise_has_the_same_gradients_on_both_backends(way: str) -> None:
    net = Net()
    vae = VAE(model=Told(net, WAYS[way](net.model)), guide=Told(net, WAYS[way](net.guide)))
    found = ppvae.parity(vae, Dataset({"x": np.random.default_rng(0).normal(size=(6, 3))}).batch(), dtype="float64")
    assert found["max_logprob_difference"] < 1e-12
    assert found["max_gradient_difference"] < 1e-12
    assert len(found["parameters"]) == len(list(net.parameters()))


class Kept(Program):
    """Its distributions are made of a module that only an object reaches."""

    def __init__(self, net: Net):
        super().__init__()
        self.net = net
        self.kept = SimpleNamespace(flows=net.flows)

    def forward(self, batch):
        with batch.plate():
            pyro.sample(
                "x", dist.TransformedDistribution(dist.Normal(torch.zeros(2), 1.0), self.kept.flows), obs=batch.get("x")
            )


class Nothing(Program):
    """The guide of a model without latents."""

    def forward(self, batch):
        pass


def test_a_distribution_remembers_what_stands_for_the_tensors_of_its_text() -> None:
    vae = VAE(model=Kept(Net()), guide=Nothing())
    found = ppvae.parity(vae, Dataset({"x": np.random.default_rng(0).normal(size=(6, 2))}).batch(), dtype="float64")
    assert found["max_gradient_difference"] < 1e-12


class Object:
    """A pair as an object that is no module, which holds networks."""

    def __init__(self, net: Net) -> None:
        self.out, self.loc = net.out, net.loc

    def model(self, x: Any) -> None:
        decoder = pyro.module("decoder", self.out)
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(decoder(z), 1.0).to_event(1), obs=x)

    def guide(self, x: Any) -> None:
        loc, scale = pyro.module("encoder", self.loc)(x).chunk(2, -1)
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(loc, scale.exp()).to_event(1))


def test_pyros_module_takes_one_that_the_text_reaches_by_an_object() -> None:
    net = Net()
    vae = VAE(model=Told(net, Object(net).model), guide=Told(net, Object(net).guide))
    found = ppvae.parity(vae, Dataset({"x": np.random.default_rng(0).normal(size=(6, 3))}).batch(), dtype="float64")
    assert found["ok"]
    assert {"model.net.out.weight", "model.net.loc.bias"} <= set(found["parameters"])


def test_parity_knows_programs_without_a_gradient_at_their_latents() -> None:
    class Point(Program):
        def forward(self, batch):
            pyro.sample("level", dist.Delta(pyro.param("point", torch.tensor(0.5))))

    class Level(Program):
        def forward(self, batch):
            level = pyro.sample("level", dist.Normal(0.0, 1.0))
            with batch.plate():
                pyro.sample("x", dist.Normal(level, 1.0).expand([batch.size, 2]).to_event(1), obs=batch.get("x"))

    found = ppvae.parity(VAE(model=Level(), guide=Point()), Dataset({"x": np.ones((4, 2))}).batch(), dtype="float64")
    assert found["ok"]
    assert found["parameters"] == {"guide.pyro_params.point": 0.0}


def test_what_a_guide_is_sure_of_is_compared_by_value() -> None:
    class Point(Program):
        def forward(self, batch):
            start = torch.linspace(0.1, 0.4, 12).reshape(4, 3)
            shares = pyro.param("point", start / start.sum(-1, keepdim=True), constraint=dist.constraints.simplex)
            pyro.sample("shares", dist.Delta(shares).to_event(2))

    class Shares(Program):
        def forward(self, batch):
            shares = pyro.sample("shares", dist.Dirichlet(torch.ones(4, 3)).to_event(1))
            with batch.plate():
                pyro.sample("x", dist.Normal(shares.sum(0), 1.0).to_event(1), obs=batch.get("x"))

    data = Dataset({"x": np.random.default_rng(0).normal(size=(20, 3))})
    found = ppvae.parity(VAE(model=Shares(), guide=Point()), data.batch(), dtype="float64")
    assert found["ok"]
    ends = [
        ppvae.fit(VAE(model=Shares(), guide=Point()), data, backend=backend, epochs=3).history[-1]["loss"]
        for backend in ("pyro", "numpyro")
    ]
    assert ends[0] == pytest.approx(ends[1], rel=1e-4)
