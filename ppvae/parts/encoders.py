"""Encoders: one amortised Gaussian expert per modality, stacked with what is present."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ppvae.language.batch import Batch, over
from ppvae.language.modality import Modality
from ppvae.language.ppl import items, ops
from ppvae.language.program import Program
from ppvae.parts import networks

BOUND = 10.0


class Encoders(Program):
    """``q(z | x_m) = Normal(loc_m, scale_m)`` for every modality m.

    ``forward(batch)`` returns loc and scale ``(modality, items, latent)`` and present ``(modality, items)``. Holes are
    filled with the modality's center before a network sees them; the log scale is kept within ±10. Modalities that
    the batch does not give have loc 0, scale 1 and are not present; with ``given`` they are left out, unless that is
    all of them.
    """

    def __init__(self, modalities: Sequence[Modality], latent: int, hidden: Sequence[int] = (256, 256)) -> None:
        super().__init__()
        self.latent = latent
        self.key = object()  # of what batches remember of these networks
        self.networks = networks.ByName({m.name: networks.encoder(m, latent, hidden) for m in modalities})

    def forward(self, batch: Batch, given: bool = False) -> tuple[Any, Any, Any]:
        names = [name for name in self.networks if not given or name in batch.arrays] or list(self.networks)
        out = ops.stack([self.expert(batch, name) for name in names])
        present = ops.stack([batch.present(name) for name in names])
        loc, log_scale = ops.split(out, self.latent, -1)
        return loc, ops.exp(ops.clamp(log_scale, -BOUND, BOUND)), present

    def expert(self, batch: Batch, name: str) -> Any:
        """Location and log scale of one modality's expert, ``(items, 2 * latent)``; zeros where it is not given.

        What they are in rows where nothing of the modality is present means nothing.
        """
        if name not in batch.arrays:
            return ops.zeros((batch.size, 2 * self.latent), dtype=items().float_dtype())
        return batch.once((self.key, name), lambda whole: self._read(whole, name))

    def _read(self, batch: Batch, name: str) -> Any:
        out = self.networks[name](self.seen(batch, name))
        if tuple(out.shape) != (batch.size, 2 * self.latent):
            raise ValueError(
                f"the encoder of modality {name!r} returns {tuple(out.shape)} for {batch.size} items; "
                f"it must be {(batch.size, 2 * self.latent)}: location and log scale of {self.latent} latents"
            )
        return out

    def seen(self, batch: Batch, name: str) -> Any:
        """The modality's values with something usual in the holes, ``(items, *shape)``; None where it is not given."""
        x, mask = batch.get(name), batch.mask(name)
        return x if x is None or mask is None else ops.where(over(mask, x), x, self.fill(name))

    def fill(self, name: str) -> Any:
        """What stands in a hole: the center, in the data's own units; 0 where a network sees categories."""
        first: Any = self.networks[name][0]  # type: ignore[index]
        if not hasattr(first, "center"):
            return 0.0
        return ops.expm1(first.center) if first.counts else first.center
