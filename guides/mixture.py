"""Mixture: the joint posterior as a mixture of the experts that are present."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from ppvae import Modality, Program, dist, pyro
from ppvae.language.batch import Batch
from ppvae.parts import experts
from ppvae.parts.encoders import Encoders


class Mixture(Program):
    """``q(z | x_S) = (1/|S|) Σ_{m∈S} q(z | x_m)``, one expert drawn per item and per draw.

    The mixture of experts of MMVAE (Shi et al. 2019, https://arxiv.org/abs/1911.03393, section 3). Experts are normal
    or Laplace of each dimension, as ``family`` says; where nothing is present z has location 0 and scale 1. Site
    ``z`` is ``(items, latent)`` and its density is the mixture's.

    >>> from ppvae import Batch
    >>> guide = Mixture([Modality("image", (784,)), Modality("sound", (20,))], latent=2)
    >>> tuple(guide(Batch(size=3)).shape)
    (3, 2)
    """

    def __init__(
        self,
        modalities: Sequence[Modality],
        latent: int = 16,
        hidden: Sequence[int] = (256, 256),
        family: Literal["normal", "laplace"] = "normal",
    ) -> None:
        super().__init__()
        self.encoders = Encoders(modalities, latent, hidden)
        self.family = family

    def forward(self, batch: Batch) -> Any:
        loc, scale, present = self.encoders(batch)
        family = dist.Laplace if self.family == "laplace" else None
        mixed = experts.mixture(*experts.singly(loc, scale, present), experts.evenly(present), family)
        with batch.plate():
            return pyro.sample("z", mixed)
