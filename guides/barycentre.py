"""Barycentre: the joint posterior as the Wasserstein barycentre of the experts that are present."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ppvae import Modality, Program, dist, ops, pyro
from ppvae.language.batch import Batch
from ppvae.parts import pools
from ppvae.parts.encoders import Encoders


class Barycentre(Program):
    """``q(z | x_S) = Normal(mean of loc_m, mean of scale_m)`` over m in S.

    The 2-Wasserstein barycentre of diagonal Gaussians with equal weights (WB-VAE: Qiu et al. 2025,
    https://arxiv.org/abs/2412.20487): experts that agree do not make it sharper, unlike a product. Site ``z`` is
    ``(items, latent)``.

    >>> from ppvae import Batch
    >>> guide = Barycentre([Modality("image", (784,)), Modality("sound", (20,))], latent=2)
    >>> tuple(guide(Batch(size=3)).shape)
    (3, 2)
    """

    def __init__(self, modalities: Sequence[Modality], latent: int = 16, hidden: Sequence[int] = (256, 256)) -> None:
        super().__init__()
        self.encoders = Encoders(modalities, latent, hidden)

    def forward(self, batch: Batch) -> Any:
        loc, scale, present = self.encoders(batch)
        loc, scale = pools.barycentres(loc, scale, present, ops.ones((1, len(loc))))
        with batch.plate():
            return pyro.sample("z", dist.Normal(loc[0], scale[0]).to_event(1))
