"""A model with a discrete latent that is summed out beside a positive one, and its guide."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from ppvae import VAE, Dataset, Modality, Program, dist, pyro
from ppvae.inference.fitted import Fitted
from ppvae.runs.settings import Settings
from ppvae.runs.snapshot import Snapshot


class Mixed(Program):
    """c ~ Categorical(0.3, 0.7);  z ~ LogNormal(c, 1);  x ~ Normal(z + c, scale)."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("probs", torch.tensor([0.3, 0.7], dtype=torch.float64))
        self.scale = nn.Parameter(torch.tensor(0.5, dtype=torch.float64))

    def forward(self, batch: Any) -> Any:
        with batch.plate():
            c = pyro.sample("c", dist.Categorical(self.probs), infer={"enumerate": "parallel"})
            z = pyro.sample("z", dist.LogNormal(1.0 * c, 1.0))
            return pyro.sample("x", dist.Normal((z + c)[..., None], self.scale).to_event(1), obs=batch.get("x"))


class Marked(Program):
    """c ~ Categorical(0.5, 0.5);  z ~ LogNormal(c, 1), c summed out."""

    def __init__(self, enumerate: bool = True) -> None:
        super().__init__()
        self.register_buffer("probs", torch.tensor([0.5, 0.5], dtype=torch.float64))
        self.infer = {"enumerate": "parallel"} if enumerate else {}

    def forward(self, batch: Any) -> Any:
        with batch.plate():
            c = pyro.sample("c", dist.Categorical(self.probs), infer=self.infer)
            return pyro.sample("z", dist.LogNormal(1.0 * c, 1.0))


def case(guide: Program) -> tuple[Fitted, Dataset]:
    parts = [Modality("x", (1,))]
    data = Dataset({"x": np.array([[0.5], [3.0]])}, modalities=parts)
    settings = Settings(backend="pyro", dtype="float64", device="cpu")
    return Fitted(VAE(Mixed(), guide), parts, settings, [], Snapshot({})), data
