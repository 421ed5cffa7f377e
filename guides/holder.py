"""Hölder: the joint posterior as the Hölder pool of the experts that are present."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ppvae import Modality, Program, dist, pyro
from ppvae.language.batch import Batch
from ppvae.parts import pools
from ppvae.parts.encoders import Encoders


class Holder(Program):
    """``q(z | x_S) ∝ (Σ_{m∈S} √q(z | x_m))²``, between a product and a mixture.

    The Hölder pool with α = 1/2: ``exact``, a mixture of M + M(M−1)/2 Gaussians (Vo, Martínez-García & Valera 2026,
    https://arxiv.org/abs/2606.13381), or else the Gaussian with its mean and variance, in the spirit of HELVAE (Vo &
    Valera 2026, https://arxiv.org/abs/2601.06572). Draws of the exact pool have exact pathwise gradients, through the
    weights too. Site ``z`` is ``(items, latent)``.

    >>> from ppvae import Batch
    >>> guide = Holder([Modality("image", (784,)), Modality("sound", (20,))], latent=2)
    >>> tuple(guide(Batch(size=3)).shape)
    (3, 2)
    """

    def __init__(
        self,
        modalities: Sequence[Modality],
        latent: int = 16,
        hidden: Sequence[int] = (256, 256),
        exact: bool = True,
    ) -> None:
        super().__init__()
        self.encoders = Encoders(modalities, latent, hidden)
        self.exact = exact

    def forward(self, batch: Batch) -> Any:
        each = self.encoders(batch)
        q = pools.holder(*each) if self.exact else dist.Normal(*pools.holder_matched(*each)).to_event(1)
        with batch.plate():
            return pyro.sample("z", q)
