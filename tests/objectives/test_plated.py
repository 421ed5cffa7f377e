"""Objectives of latents in a plate of the program's own: those of the same latents as an event."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
import torch
from objective_harness import SETTINGS, shares
from torch import nn

from ppvae import VAE, Dataset, Program, dist, pyro
from ppvae.objectives.agreement import crmvae, jmvae, mmjsd, mvtcae
from ppvae.objectives.elbo import elbo
from ppvae.training.checks.inspection import inspect

ITEMS, WORDS = 5, 3


class Seen(Program):
    """A latent for each word, in a plate or of an event, and modalities that show them; its guide adds what it sees."""

    def __init__(self, plated: bool, guide: bool):
        super().__init__()
        self.plated, self.guide, self.slope = plated, guide, nn.Parameter(torch.tensor(0.7))

    def forward(self, batch: Any) -> None:
        given = {name: batch.get(name).T if self.plated else batch.get(name) for name in batch.arrays}
        with batch.plate(), pyro.plate("words", WORDS) if self.plated else nullcontext():
            loc, scale = self.slope * sum(given.values()), torch.full((), 1 / (1 + len(given)))
            z = self.sample(
                "z", *((loc, scale.expand_as(loc)) if self.guide else (torch.zeros_like(loc), torch.ones_like(loc)))
            )
            if not self.guide:
                for name, x in given.items():
                    self.sample(name, z, torch.ones_like(z), obs=x)

    def sample(self, name: str, loc: Any, scale: Any, **options: Any) -> Any:
        fn = dist.Normal(loc, scale)
        return pyro.sample(name, fn if self.plated else fn.to_event(1), **options)


@pytest.mark.parametrize("objective", [elbo(), mmjsd(), mvtcae(), jmvae(), crmvae()], ids=lambda o: o.__qualname__[:6])
def test_latents_in_a_plate_cost_what_those_of_an_event_do(objective: Any) -> None:
    rng = np.random.default_rng(0)
    values = {name: rng.normal(size=(ITEMS, WORDS)) for name in ("x", "y")}
    found = []
    for plated in (True, False):
        vae = VAE(Seen(plated, False), Seen(plated, True))
        inspect(vae, Dataset(values), SETTINGS)
        found.append(shares("pyro", vae, objective, values)["z"])
    assert found[0].shape == (ITEMS,)
    np.testing.assert_allclose(found[0], found[1], rtol=1e-10)
