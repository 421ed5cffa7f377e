"""Mixture of barycentres: the joint posterior as a mixture over all subsets of what is present."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from ppvae import Modality, Program, pyro
from ppvae.language.batch import Batch
from ppvae.parts import experts, pools
from ppvae.parts.encoders import Encoders


class MixtureOfBarycentres(Program):
    """``q(z | x_S) = (1/(2^|S|−1)) Σ_{T⊆S, T≠∅} barycentre_T``, one subset drawn per item and per draw.

    The mixture of Wasserstein barycentres (MWB-VAE: Qiu et al. 2025, https://arxiv.org/abs/2412.20487); all subsets
    are formed at once. Site ``z`` is ``(items, latent)`` and its density is the mixture's.

    >>> from ppvae import Batch
    >>> guide = MixtureOfBarycentres([Modality("image", (784,)), Modality("sound", (20,))], latent=2)
    >>> tuple(guide(Batch(size=3)).shape)
    (3, 2)
    """

    members: torch.Tensor

    def __init__(self, modalities: Sequence[Modality], latent: int = 16, hidden: Sequence[int] = (256, 256)) -> None:
        super().__init__()
        self.encoders = Encoders(modalities, latent, hidden)
        subsets = torch.tensor(experts.subsets(len(modalities)), dtype=torch.get_default_dtype())
        self.register_buffer("members", subsets)

    def forward(self, batch: Batch) -> Any:
        loc, scale, present = self.encoders(batch)
        weights = experts.uniform(experts.present_subsets(present, self.members))
        loc, scale = pools.barycentres(loc, scale, present, self.members)
        with batch.plate():
            return pyro.sample("z", experts.mixture(loc, scale, weights))
