"""Priors: programs for p(z) that any model with a shared latent may use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from ppvae.ppl import dist, ops
from ppvae.program import Program


class Standard(Program):
    """``z ~ Normal(0, I)``.

    Like every prior, ``forward()`` returns a distribution over one item's latent: batch shape ``()``, event shape
    ``(latent,)``.
    """

    def __init__(self, latent: int) -> None:
        super().__init__()
        self.latent = latent

    def forward(self) -> Any:
        return dist.Normal(0.0, 1.0).expand([self.latent]).to_event(1)


class Diagonal(Program):
    """``z ~ Normal(loc, scale)``, both learned for each dimension; starts at the standard normal."""

    def __init__(self, latent: int) -> None:
        super().__init__()
        self.loc = nn.Parameter(torch.zeros(latent))
        self.log_scale = nn.Parameter(torch.zeros(latent))

    def forward(self) -> Any:
        return dist.Normal(self.loc, ops.exp(self.log_scale)).to_event(1)


PRIORS: dict[str, Callable[[int], Program]] = {"standard": Standard, "diagonal": Diagonal}


def prior(name: str, latent: int) -> Program:
    """The prior of this name over a latent of this size.

    Raises:
        ValueError: no prior has this name.
    """
    if name not in PRIORS:
        raise ValueError(f"unknown prior {name!r}; choose one of {', '.join(PRIORS)}")
    return PRIORS[name](latent)
