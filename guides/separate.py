"""Separate: an expert for each modality's own latent; what is absent borrows the experts that are present."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ppvae import Modality, Program, ops, pyro
from ppvae.language.batch import Batch
from ppvae.parts import experts
from ppvae.parts.encoders import Encoders


class Separate(Program):
    """``z_m ~ q_m(z | x_m)`` where x_m is present, ``z_m ~ (1/|S|) Σ_{n∈S} q_n(z | x_n)`` where it is not.

    S is what an item has; with nothing present every ``z_m`` is standard normal. MMVM (Sutter et al. 2024,
    https://arxiv.org/abs/2403.05300) trains the experts towards their mixture, so that one can stand in for another.
    Sites ``z_NAME`` are ``(items, latent)``, drawn independently, and a mixture's density is the mixture's.

    >>> from ppvae import Batch
    >>> guide = Separate([Modality("image", (784,)), Modality("sound", (20,))], latent=2)
    >>> sorted(guide(Batch(size=3)))
    ['image', 'sound']
    """

    def __init__(self, modalities: Sequence[Modality], latent: int = 16, hidden: Sequence[int] = (256, 256)) -> None:
        super().__init__()
        self.encoders = Encoders(modalities, latent, hidden)

    def forward(self, batch: Batch) -> dict[str, Any]:
        loc, scale, present = self.encoders(batch)
        each = ops.eye(loc.shape[0])
        loc, scale = experts.singly(loc, scale, present)
        borrowed = experts.evenly(present)
        with batch.plate():
            return {
                name: pyro.sample(f"z_{name}", self.expert(loc, scale, present[i], each[i], borrowed))
                for i, name in enumerate(self.encoders.networks)
            }

    def expert(self, loc: Any, scale: Any, there: Any, own: Any, borrowed: Any) -> Any:
        """The mixture with all of its weight on the modality's own expert where that is present."""
        return experts.mixture(loc, scale, ops.where(there, own[:, None], borrowed))
