"""Texts that say single precision are compared in double, digit by digit, and train."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import ppvae
from ppvae import VAE, Program, dist, pyro

DATA = ppvae.Dataset({"x": np.random.default_rng(0).normal(size=(12, 4))})

WAYS: dict[str, Callable[[Any, torch.Tensor], torch.Tensor]] = {
    "float": lambda net, x: x.float(),
    "to": lambda net, x: x.to(x.device, dtype=torch.float32),
    "type": lambda net, x: x.type("torch.FloatTensor"),
    "one_hot": lambda net, x: F.one_hot((x > 0).long().sum(-1) % 4, 4).float() @ net.turn.weight,
    "made": lambda net, x: x + torch.tensor([1, 2, 3, 4], dtype=torch.float) @ torch.eye(4, dtype=torch.float32),
    "numpy's": lambda net, x: x @ torch.from_numpy(np.ones((4, 4), np.float32)),
    "held": lambda net, x: x + (x @ net.held[0])[..., None],
}


class Turned(nn.Module):
    """A network that turns its input to single precision in a way of its own."""

    def __init__(self, way: str):
        super().__init__()
        self.way, self.turn, self.held = way, nn.Linear(4, 4), [torch.linspace(0, 1, 4)]

    def forward(self, x: torch.Tensor) -> Any:
        return self.turn(WAYS[self.way](self, x)).chunk(2, -1)


class Model(Program):
    def __init__(self) -> None:
        super().__init__()
        self.decoder = nn.Linear(2, 4)

    def forward(self, batch: Any) -> None:
        with batch.plate():
            z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(self.decoder(z), 1.0).to_event(1), obs=batch.get("x"))


class Guide(Program):
    def __init__(self, way: str):
        super().__init__()
        self.encoder = Turned(way)

    def forward(self, batch: Any) -> None:
        loc, log_scale = self.encoder(batch.get("x"))
        with batch.plate():
            pyro.sample("z", dist.Normal(loc, log_scale.exp()).to_event(1))


@pytest.mark.parametrize("way", WAYS)
def test_texts_that_say_single_precision_are_compared_in_double(way: str) -> None:
    torch.manual_seed(0)
    found = ppvae.parity(VAE(Model(), Guide(way)), DATA.batch(), dtype="float64")
    assert found["ok"], found


@pytest.mark.parametrize("way", ["one_hot", "held"])
def test_and_train_on_numpyro(way: str) -> None:
    run = ppvae.fit(VAE(Model(), Guide(way)), DATA, backend="numpyro", epochs=1, progress=False)
    assert np.isfinite(run.history[0]["loss"])
