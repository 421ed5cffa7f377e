"""Mixture with private latents: a mixture of the shared experts, and an expert for each private latent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from ppvae import Modality, Program, dist, distribution, ops, pyro
from ppvae.language.batch import Batch
from ppvae.parts import experts
from ppvae.parts.encoders import Encoders
from ppvae.parts.priors import Standard


class MixturePrivate(Program):
    """``q(z | x_S) = (1/|S|) Σ_{m∈S} q(z | x_m)``;  ``w_m ~ q(w_m | x_m)`` for m in S, else ``r_m`` or ``p(w_m)``.

    The guide of MMVAE+ (Palumbo et al. 2023, https://openreview.net/forum?id=sdQGxouELX) and CMVAE (Palumbo et al.
    2024). In training an absent ``w_m`` comes from the auxiliary ``r_m = Normal(0, scale_m)``, its scale learned, so
    that what crosses from one modality to another must go through z; afterwards from the model's ``Normal(0, I)``, as
    the authors of MMVAE+ evaluate. An item with nothing present gets z from the model's prior. Shapes: ``z`` is
    ``(items, latent)``, ``w_NAME`` ``(items, private)``.

    >>> from ppvae import Batch
    >>> guide = MixturePrivate([Modality("image", (784,)), Modality("sound", (20,))], latent=2)
    >>> tuple(guide(Batch(size=3)).shape)
    (3, 2)
    """

    def __init__(
        self,
        modalities: Sequence[Modality],
        latent: int = 16,
        hidden: Sequence[int] = (256, 256),
        private: int = 8,
        model: Program | None = None,
    ) -> None:
        super().__init__()
        self.shared = Encoders(modalities, latent, hidden)
        self.private = Encoders(modalities, private, hidden)
        self.auxiliary = nn.Parameter(torch.zeros(len(modalities), private))
        prior = getattr(model, "prior", None)
        # A prior that attaches to the guide holds its encoders; held in turn by the guide it would close a circle.
        self.prior = Standard(latent) if prior is None or hasattr(prior, "attach") else prior

    def forward(self, batch: Batch) -> Any:
        loc, scale, present = self.shared(batch)
        mixed = experts.mixture(*experts.singly(loc, scale, present), experts.evenly(present))
        prior = self.prior().expand([batch.size])
        with batch.plate():
            z = pyro.sample("z", either(ops.any(present, 0), mixed, prior))
            self.privately(batch)
            return z

    def privately(self, batch: Batch) -> None:
        """Draw the private latents."""
        loc, scale, present = self.private(batch)
        for i, name in enumerate(self.private.networks):
            there = present[i][:, None]
            other = ops.exp(self.auxiliary[i]) if self.training else 1.0
            own = dist.Normal(ops.where(there, loc[i], 0.0), ops.where(there, scale[i], other))
            pyro.sample(f"w_{name}", own.to_event(1))


def either(some: Any, first: Any, second: Any) -> Any:
    """One distribution over vectors where ``some`` is true, ``(items,)`` booleans, and the other elsewhere."""
    return distribution(
        lambda draw: ops.where(some[:, None], draw(first), draw(second)),
        lambda value: ops.where(some, first.log_prob(value), second.log_prob(value)),
        first.batch_shape,
        first.event_shape,
    )
