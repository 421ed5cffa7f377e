"""Product with private latents: a product of the shared experts, and an expert for each private latent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ppvae import Modality, Program, dist, ops, pyro
from ppvae.language.batch import Batch
from ppvae.parts import experts
from ppvae.parts.encoders import Encoders


class ProductPrivate(Program):
    """``q(z | x_S) ∝ p(z) ∏_{m∈S} q(z | x_m)``;  ``w_m ~ q(w_m | x_m)`` for m in S, ``Normal(0, I)`` for the others.

    The guide of DMVAE (Lee & Pavlovic 2021); without ``prior_expert`` the product leaves out ``p(z)``. Shared and
    private experts have networks of their own. Shapes: ``z`` is ``(items, latent)``, ``w_NAME`` ``(items, private)``.

    >>> from ppvae import Batch
    >>> guide = ProductPrivate([Modality("image", (784,)), Modality("sound", (20,))], latent=2)
    >>> tuple(guide(Batch(size=3)).shape)
    (3, 2)
    """

    def __init__(
        self,
        modalities: Sequence[Modality],
        latent: int = 16,
        hidden: Sequence[int] = (256, 256),
        private: int = 8,
        prior_expert: bool = True,
    ) -> None:
        super().__init__()
        self.shared = Encoders(modalities, latent, hidden)
        self.private = Encoders(modalities, private, hidden)
        self.prior_expert = prior_expert

    def forward(self, batch: Batch) -> Any:
        loc, scale, present = self.shared(batch)
        loc, scale = experts.product(loc, scale, present, self.prior_expert)
        with batch.plate():
            z = pyro.sample("z", dist.Normal(loc, scale).to_event(1))
            self.privately(batch)
            return z

    def privately(self, batch: Batch) -> None:
        """Draw the private latents."""
        loc, scale, present = self.private(batch)
        loc, scale = ops.where(present[..., None], loc, 0.0), ops.where(present[..., None], scale, 1.0)
        for i, name in enumerate(self.private.networks):
            pyro.sample(f"w_{name}", dist.Normal(loc[i], scale[i]).to_event(1))
