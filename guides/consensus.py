"""Consensus: the joint posterior as the consensus of experts that err alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from ppvae import Modality, Program, dist, ops, pyro
from ppvae.language.batch import Batch
from ppvae.parts import pools
from ppvae.parts.encoders import Encoders


class Consensus(Program):
    """``q(z | x_S) = Normal(var · 1ᵀ Σ⁻¹ μ, √var)``, ``var = 1/(1ᵀ Σ⁻¹ 1)``, ``Σ_ij = ρ σ_i σ_j`` off the diagonal.

    The consensus of dependent experts under a flat prior (CoDE-VAE: Mancisidor et al. 2025,
    https://arxiv.org/abs/2505.01134), each dimension by itself; at ρ = 0 it is the product without a prior. The
    objective ``weighted`` reads the weights of the subsets of modalities from ``subset_logits``, one for each row of
    ``experts.subsets``. Site ``z`` is ``(items, latent)``.

    >>> from ppvae import Batch
    >>> guide = Consensus([Modality("image", (784,)), Modality("sound", (20,))], latent=2)
    >>> tuple(guide(Batch(size=3)).shape), tuple(guide.subset_logits.shape)
    ((3, 2), (3,))

    Args:
        rho: the correlation of the experts' errors, from 0 to below 1; learned, from 0.5, if None.
    """

    def __init__(
        self,
        modalities: Sequence[Modality],
        latent: int = 16,
        hidden: Sequence[int] = (256, 256),
        rho: float | None = 0.5,
    ) -> None:
        super().__init__()
        if rho is not None and not 0 <= rho < 1:
            raise ValueError(f"rho is {rho}; a correlation of experts is from 0 to below 1")
        self.encoders = Encoders(modalities, latent, hidden)
        self.subset_logits = nn.Parameter(torch.zeros(2 ** len(modalities) - 1))
        self.rho = rho
        if rho is None:
            self.rho_logit = nn.Parameter(torch.zeros(()))

    def forward(self, batch: Batch) -> Any:
        rho = ops.sigmoid(self.rho_logit) if self.rho is None else self.rho
        loc, scale, present = self.encoders(batch)
        loc, scale = pools.consensus(loc, scale, present, rho)
        with batch.plate():
            return pyro.sample("z", dist.Normal(loc, scale).to_event(1))
