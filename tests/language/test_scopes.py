"""Pyro's ``scope`` and ``name_count`` name the sites of both backends alike."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from pyro.contrib.autoname import name_count, scope
from torch import nn

import ppvae
from ppvae import VAE, Dataset, Program, dist, pyro

DATA = Dataset({"x": np.random.default_rng(0).normal(size=(12, 5))})
DRAWN = ["a/part/z", "a__1/part/z"]


@scope
def part() -> Any:
    z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
    pyro.deterministic("twice", z * 2.0, event_dim=1)
    pyro.factor("short", -(z.sum(-1) ** 2))
    return z


class Parts(Program):
    """Two draws by one text."""

    def __init__(self) -> None:
        super().__init__()
        self.out = nn.Linear(4, 5)

    @name_count
    def forward(self, batch):
        with batch.plate():
            z = []
            for _ in range(2):
                with scope(prefix="a"):
                    z.append(part())
            pyro.sample("x", dist.Normal(self.out(torch.cat(z, -1)), 1.0).to_event(1), obs=batch.get("x"))


class Named(Program):
    """Their guide, which says the names in full."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(5, 8)

    def forward(self, batch):
        with batch.plate():
            for name, found in zip(DRAWN, self.layer(batch.get("x")).chunk(2, -1), strict=True):
                pyro.sample(name, dist.Normal(found[..., :2], found[..., 2:].exp()).to_event(1))


def test_densities_are_those_of_pyro() -> None:
    found = ppvae.parity(VAE(Parts(), Named()), DATA.batch(), dtype="float64")
    assert found["ok"]
    assert found["sites"].keys() == {
        "x",
        *(name for z in DRAWN for name in (z, f"guide {z}", z.removesuffix("z") + "short")),
    }


@pytest.mark.parametrize("backend", ["pyro", "numpyro"])
def test_a_pair_trains_and_answers(backend: str) -> None:
    run = ppvae.fit(VAE(Parts(), Named()), DATA, backend=backend, epochs=2, progress=False)
    drawn = run.encode(DATA, draws=2)
    assert sorted(drawn) == DRAWN
    assert run.query(DATA, draws=3)["x"].shape == (3, 12, 5)
