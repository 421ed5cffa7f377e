"""Flows without an inverse: as a guide they are trained and compared, as a prior they are refused before training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
import pyro.distributions.transforms as T
import pytest
import torch
from torch import nn
from torch.distributions import constraints

import ppvae
from ppvae import VAE, Dataset, Program, dist, pyro
from ppvae.backends import mirror

DATA = Dataset({"x": np.random.default_rng(0).normal(size=(12, 3))})
sinc = torch.sinc


class Own(torch.distributions.Transform):
    """``x + f(x) / 4``, which its author has not inverted."""

    domain = codomain = constraints.real_vector
    bijective = True

    def __init__(self, function: Any = torch.tanh) -> None:
        super().__init__(cache_size=1)
        self.function = function

    def _call(self, x: Any) -> Any:
        return x + self.function(x) / 4

    def log_abs_det_jacobian(self, x: Any, y: Any) -> Any:
        return torch.log1p((1 - torch.tanh(x) ** 2) / 4).sum(-1)


class Model(Program):
    """z ~ N(0, I), carried through a transform if there is one;  x ~ N(net(z), 1)."""

    def __init__(self, transform: Any = None) -> None:
        super().__init__()
        self.net, self.parts = nn.Linear(2, 3), [transform] if transform else []

    def forward(self, batch: Any) -> None:
        base = dist.Normal(torch.zeros(2), 1.0).to_event(1)
        with batch.plate():
            z = pyro.sample("z", dist.TransformedDistribution(base, self.parts) if self.parts else base)
            pyro.sample("x", dist.Normal(self.net(z), 1.0).to_event(1), obs=batch.get("x"))


class Guide(Program):
    """z ~ Normal(net(x), 1), carried through a list of transforms."""

    def __init__(self, transform: Any) -> None:
        super().__init__()
        self.net, self.parts = nn.Linear(3, 2), [T.permute(2, torch.tensor([1, 0])), transform]
        self.held = nn.ModuleList([part for part in self.parts if isinstance(part, nn.Module)])

    def forward(self, batch: Any) -> None:
        base = dist.Normal(self.net(batch.get("x")), 1.0).to_event(1)
        with batch.plate():
            pyro.sample("z", dist.TransformedDistribution(base, self.parts))


FLOWS: dict[str, Callable[[], Any]] = {
    "planar": lambda: T.planar(2),
    "radial": lambda: T.radial(2),
    "sylvester": lambda: T.sylvester(2),
    "neural": lambda: T.neural_autoregressive(2, [4]),
    "own": Own,
}


@pytest.mark.parametrize("name", FLOWS)
def test_a_guide_is_compared_at_a_draw_of_its_own(name: str) -> None:
    torch.manual_seed(0)
    found = ppvae.parity(VAE(Model(), Guide(FLOWS[name]())), DATA.batch(), dtype="float64")
    assert found["ok"], found
    assert found["sites"].keys() == {"z", "x", "guide z"}


def test_a_guide_that_differs_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(mirror.FUNCTIONS, sinc, lambda x: jnp.cos(x))
    vae = VAE(Model(), Guide(Own(lambda x: sinc(x) - sinc(x * 0))))
    with pytest.raises(ValueError, match=r"^the guide's site 'z' is not the same on NumPyro as on Pyro"):
        ppvae.fit(vae, DATA, epochs=1, backend="numpyro", progress=False)


def test_a_list_of_transforms_that_are_no_modules_trains() -> None:
    run = ppvae.fit(VAE(Model(), Guide(Own())), DATA, epochs=2, backend="pyro", progress=False)
    assert np.isfinite(run.log_evidence(DATA, particles=3)).all()


@pytest.mark.parametrize("backend", ["pyro", "numpyro"])
@pytest.mark.parametrize("name", ["planar", "own"])
def test_a_prior_is_refused_in_one_sentence(name: str, backend: str) -> None:
    class Plain(Program):
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Linear(3, 2)

        def forward(self, batch: Any) -> None:
            with batch.plate():
                pyro.sample("z", dist.Normal(self.net(batch.get("x")), 1.0).to_event(1))

    with pytest.raises(ValueError, match=r"^the model's site 'z' has no density: the flow of the site 'z' has no inv"):
        ppvae.fit(VAE(Model(FLOWS[name]()), Plain()), DATA, epochs=1, backend=backend, progress=False)


class Called(dist.TorchDistribution):
    """A normal that draws and knows its density at once, by a call alone, as wrappers of other libraries' flows do."""

    has_rsample = True

    def __init__(self, loc: Any) -> None:
        self.loc, self.known = loc, {}
        super().__init__(loc.shape[:-1], loc.shape[-1:], validate_args=False)

    def __call__(self, sample_shape: Any = ()) -> Any:
        own = dist.Normal(self.loc, 1.0).to_event(1)
        x = own.rsample(sample_shape)
        self.known[x] = own.log_prob(x)
        return x

    def log_prob(self, value: Any) -> Any:
        return self.known[value] if value in self.known else dist.Normal(self.loc, 1.0).to_event(1).log_prob(value)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        return Called(self.loc.expand(*batch_shape, self.loc.shape[-1]))


class Calling(Program):
    def __init__(self, role: str) -> None:
        super().__init__()
        self.role, self.net = role, nn.Linear(2, 2)

    def forward(self, batch: Any) -> None:
        x = batch.get("x")
        with batch.plate():
            z = pyro.sample("z", Called(torch.zeros(2)) if self.role == "model" else Called(self.net(x)))
            if self.role == "model":
                pyro.sample("x", dist.Normal(self.net(z), 1.0).to_event(1), obs=x)


@pytest.mark.parametrize("backend", ["pyro", "numpyro"])
def test_a_distribution_that_draws_by_a_call_is_drawn_on_both(backend: str) -> None:
    data, vae = Dataset({"x": np.random.default_rng(0).normal(size=(8, 2))}), VAE(Calling("model"), Calling("guide"))
    assert ppvae.parity(vae, data.batch(), dtype="float64")["max_gradient_difference"] < 1e-10
    run = ppvae.fit(vae, data, backend=backend, epochs=2, progress=False)
    assert np.isfinite(run.log_evidence(data, particles=5)).all()
    assert run.generate(3, seed=1)["x"].shape == (3, 2)
