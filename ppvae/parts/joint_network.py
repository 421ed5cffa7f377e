"""Joint network: one amortised Gaussian posterior from all modalities at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from ppvae.language.batch import Batch
from ppvae.language.modality import Modality
from ppvae.language.ppl import ops
from ppvae.language.program import Program
from ppvae.parts import networks
from ppvae.parts.encoders import BOUND, Encoders


class JointNetwork(Program):
    """``q(z | X) = Normal(loc, scale)``, one network over all modalities and which of them an item has.

    Each modality's encoder turns its standardised values, holes filled with the center, into features; they and the
    presences go into one MLP. ``forward(batch)`` returns loc and scale ``(items, latent)``. What is not present counts
    as zeros; an item with nothing present gets loc 0, scale 1.
    """

    def __init__(self, modalities: Sequence[Modality], latent: int, hidden: Sequence[int] = (256, 256)) -> None:
        super().__init__()
        self.latent = latent
        width = networks.half(latent, hidden)
        self.features = Encoders(modalities, width, hidden)
        inputs = len(modalities) * (2 * width + 1)
        self.head = nn.Sequential(nn.ReLU(), networks.mlp(inputs, hidden[-1:], 2 * latent))

    def forward(self, batch: Batch) -> tuple[Any, Any]:
        names = list(self.features.networks)
        present = ops.stack([batch.present(name) for name in names], -1)
        each = ops.stack([self.features.expert(batch, name) for name in names], -2)
        features = ops.flatten(ops.where(present[..., None], each, 0.0), -2)
        seen = ops.cat([features, ops.where(present, 1.0, 0.0)], -1)
        loc, log_scale = ops.split(self.head(seen), self.latent, -1)
        some = ops.any(present, -1)[..., None]
        scale = ops.exp(ops.clamp(log_scale, -BOUND, BOUND))
        return ops.where(some, loc, 0.0), ops.where(some, scale, 1.0)
