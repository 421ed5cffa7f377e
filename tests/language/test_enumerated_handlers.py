"""What is summed out is under handlers what it is in Pyro: its chances know no mask, and scales weigh the sum."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyro as library
import pytest
import torch
from pyro.infer import TraceEnum_ELBO

import ppvae
from ppvae import VAE, Dataset, Modality, Program, dist, pyro

STEPS = np.array([[1, 1, 1], [1, 1, 0], [1, 0, 0], [0, 0, 0], [1, 1, 1]], float)
X = np.random.default_rng(0).normal(size=STEPS.shape)
MODALITIES = [Modality("x", (3,)), Modality("steps", (3,), "bernoulli")]
DATA = Dataset({"x": X, "steps": STEPS}, modalities=MODALITIES)
both = pytest.mark.parametrize("backend", ["pyro", "numpyro"])


class Chain(Program):
    """A chain of two states, masked after the end of each sequence."""

    conditions = ("steps",)

    def __init__(self, scale: float = 1.0, other: float | None = None) -> None:
        super().__init__()
        self.scale, self.other = scale, scale if other is None else other

    def forward(self, batch: Any) -> None:
        x, there, z = batch.get("x"), batch.get("steps") > 0.5, 0
        chances = torch.tensor([[0.3, 0.7], [0.6, 0.4]])
        with pyro.plate("items", len(x)):
            for t in pyro.markov(range(3)):
                with pyro.poutine.mask(mask=there[:, t]):
                    with pyro.poutine.scale(scale=self.scale):
                        z = pyro.sample(f"z{t}", dist.Categorical(chances[z]), infer={"enumerate": "parallel"})
                    with pyro.poutine.scale(scale=self.other):
                        pyro.sample(f"x_{t}", dist.Normal(2.0 * z, 1.0), obs=x[:, t])


class Nothing(Program):
    def forward(self, batch: Any) -> None:
        pass


class Guess(Program):
    """The first state by the guide, under the same handlers."""

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        self.scale, self.logits = scale, torch.nn.Parameter(torch.tensor([0.3, -0.4]))

    def forward(self, batch: Any) -> None:
        with pyro.plate("items", batch.size), pyro.poutine.scale(scale=self.scale):
            pyro.sample("z0", dist.Categorical(logits=self.logits), infer={"enumerate": "parallel"})


def trained(vae: VAE, backend: str) -> Any:
    return ppvae.fit(vae, DATA, backend=backend, dtype="float64", epochs=1, lr=1e-9, progress=False)


def pyros(model: Program, guide: Program) -> float:
    """The loss of an item by Pyro's own estimator, which runs the same text."""
    batch = DATA.batch()
    with library.settings.context(validate_poutine=False):
        return TraceEnum_ELBO(max_plate_nesting=1).loss(model, guide, batch) / len(DATA)


@both
@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_the_loss_is_that_of_pyros_own_estimator(backend: str, scale: float) -> None:
    found = trained(VAE(Chain(scale), Nothing()), backend).history[0]["loss"]
    assert found == pytest.approx(pyros(Chain(scale), Nothing()), rel=1e-5)


@both
def test_so_it_is_where_the_guide_enumerates(backend: str) -> None:
    found = trained(VAE(Chain(0.5), Guess(0.5)), backend).history[0]["loss"]
    assert found == pytest.approx(pyros(Chain(0.5), Guess(0.5)), rel=1e-5)


@both
def test_steps_after_the_end_count_nothing_in_the_evidence(backend: str) -> None:
    found = trained(VAE(Chain(0.5), Nothing()), backend).log_evidence(DATA, particles=1)
    exact = []
    for x, there in zip(X, STEPS > 0.5, strict=True):
        forward = np.array([0.3, 0.7])
        for t in np.flatnonzero(there):
            forward = forward if t == 0 else forward @ np.array([[0.3, 0.7], [0.6, 0.4]])
            forward = forward * np.exp(-0.5 * (x[t] - np.array([0.0, 2.0])) ** 2) / np.sqrt(2 * np.pi)
        exact.append(np.log(forward.sum()))
    np.testing.assert_allclose(found, exact, rtol=1e-9, atol=1e-12)


@both
def test_scales_that_differ_are_refused(backend: str) -> None:
    with pytest.raises(ValueError, match=r"poutine\.scale is not one number for"):
        trained(VAE(Chain(0.5, 0.25), Nothing()), backend)
