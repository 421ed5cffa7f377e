"""Mixture of products: the joint posterior as a mixture over subsets of what is present."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from ppvae import Modality, Program, ops, pyro
from ppvae.language.batch import Batch
from ppvae.parts import experts
from ppvae.parts.encoders import Encoders


class MixtureOfProducts(Program):
    """``q(z | x_S) = (1/(2^|S|−1)) Σ_{T⊆S, T≠∅} PoE_T``, one subset drawn per item and per draw.

    MoPoE (Sutter et al. 2021, https://arxiv.org/abs/2105.02470); all subsets are formed at once. Site
    ``z`` is ``(items, latent)`` and its density is the mixture's.

    With ``subsets=k`` every run of the guide draws k subsets, the same for all its items, and mixes the products of
    what each shares with S (S itself where they share nothing): cheaper, and still a proper posterior. Objectives
    that run a guide again at the same latents (``dreg``, ``stl``, ``mmvae``) refuse it.

    >>> from ppvae import Batch
    >>> guide = MixtureOfProducts([Modality("image", (784,)), Modality("sound", (20,))], latent=2)
    >>> tuple(guide(Batch(size=3)).shape)
    (3, 2)
    """

    members: torch.Tensor

    def __init__(
        self,
        modalities: Sequence[Modality],
        latent: int = 16,
        hidden: Sequence[int] = (256, 256),
        subsets: int | None = None,
    ) -> None:
        super().__init__()
        self.encoders = Encoders(modalities, latent, hidden)
        self.drawn = None if subsets is None or subsets >= 2 ** len(modalities) - 1 else subsets
        if self.drawn is None:
            members = torch.tensor(experts.subsets(len(modalities)), dtype=torch.get_default_dtype())
            self.register_buffer("members", members)

    def forward(self, batch: Batch) -> Any:
        loc, scale, present = self.encoders(batch)
        if self.drawn is None:
            weights = experts.uniform(experts.present_subsets(present, self.members))
            loc, scale = experts.products(loc, scale, present, self.members, prior=False)
        else:
            loc, scale = experts.shared_products(loc, scale, present, experts.random_subsets(self.drawn, len(loc)))
            weights = ops.ones((self.drawn, batch.size)) / self.drawn
        with batch.plate():
            return pyro.sample("z", experts.mixture(loc, scale, weights))
