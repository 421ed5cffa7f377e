"""Rows: a plate that draws some of its rows draws them once for guide and model, under every objective."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import ppvae
from ppvae import VAE, Dataset, Program, dist, pyro

ALL, SOME = 30, 4


class Words(Program):
    """A number for each word, known to be the word's own; only some words are looked at in each run."""

    def __init__(self) -> None:
        super().__init__()
        self.loc = torch.nn.Parameter(torch.zeros(()))

    def forward(self, batch):
        with pyro.plate("words", ALL, subsample_size=SOME) as rows:
            pyro.sample("w", dist.Normal(100.0 * rows, 1.0))
        with batch.plate():
            z = pyro.sample("z", dist.Normal(self.loc, 1.0))
            pyro.sample("x", dist.Normal(z[..., None], 1.0).to_event(1), obs=batch.get("x"))


class Guess(Words):
    """Its guide, which is sure of each word."""

    def forward(self, batch):
        with pyro.plate("words", ALL, subsample_size=SOME) as rows:
            pyro.sample("w", dist.Normal(100.0 * rows, 1.0))
        with batch.plate():
            pyro.sample("z", dist.Normal(self.loc, 1.0))


@pytest.mark.parametrize("backend", ["pyro", "numpyro"])
@pytest.mark.parametrize("objective", ["elbo", "iwae", "renyi"])
def test_rows_are_drawn_once(objective: Any, backend: str) -> None:
    data = Dataset({"x": np.zeros((20, 1))})
    vae = VAE(model=Words(), guide=Guess(), objective=objective)
    fitted = ppvae.fit(vae, data, backend=backend, epochs=2, batch_size=10)
    assert fitted.history[-1]["loss"] < 10  # other words are 5,000 nats away
    assert np.abs(fitted.log_evidence(data, particles=5)).max() < 10


def test_they_are_the_same_on_both_backends() -> None:
    found = ppvae.parity(VAE(model=Words(), guide=Guess()), Dataset({"x": np.zeros((6, 1))}).batch(), dtype="float64")
    assert found["ok"]
