"""Encoders: one amortised Gaussian expert per modality, stacked with what is present."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from ppvae import nets
from ppvae.batch import Batch
from ppvae.modality import Modality
from ppvae.ppl import items, ops
from ppvae.program import Program

BOUND = 10.0


class Encoders(Program):
    """``q(z | x_m) = Normal(loc_m, scale_m)`` for every modality m.

    ``forward(batch)`` returns loc and scale ``(modality, items, latent)`` and present ``(modality, items)``. Holes are
    filled with the modality's center before a network sees them; the log scale is kept within ±10. Modalities that
    the batch does not give have loc 0, scale 1 and are not present.
    """

    def __init__(self, modalities: Sequence[Modality], latent: int, hidden: Sequence[int] = (256, 256)) -> None:
        super().__init__()
        self.latent = latent
        self.networks = nn.ModuleDict({m.name: nets.encoder(m, latent, hidden) for m in modalities})

    def forward(self, batch: Batch) -> tuple[Any, Any, Any]:
        experts = [self.expert(batch, name) for name in self.networks]
        present = ops.stack([batch.present(name) for name in self.networks])
        return ops.stack([loc for loc, _ in experts]), ops.stack([scale for _, scale in experts]), present

    def expert(self, batch: Batch, name: str) -> tuple[Any, Any]:
        """Location and scale of one modality's expert, each ``(items, latent)``."""
        x = batch.get(name)
        if x is None:
            shape, dtype = (batch.size, self.latent), items().float_dtype()
            return ops.zeros(shape, dtype=dtype), ops.ones(shape, dtype=dtype)
        mask = batch.mask(name)
        if mask is not None:
            mask = mask.reshape(mask.shape + (1,) * (x.ndim - mask.ndim))
            x = ops.where(mask, x, self.fill(name))
        out = self.networks[name](x)
        if tuple(out.shape) != (batch.size, 2 * self.latent):
            raise ValueError(
                f"the encoder of modality {name!r} returns {tuple(out.shape)} for {batch.size} items; "
                f"it must be {(batch.size, 2 * self.latent)}: location and log scale of {self.latent} latents"
            )
        log_scale = ops.clamp(out[..., self.latent :], -BOUND, BOUND)
        return out[..., : self.latent], ops.exp(log_scale)

    def fill(self, name: str) -> Any:
        """What stands in a hole: the center, in the data's own units."""
        standardise = self.networks[name][0]
        return ops.expm1(standardise.center) if standardise.counts else standardise.center
