"""Product: the joint posterior as a product of the experts that are present."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ppvae import Modality, Program, dist, pyro
from ppvae.language.batch import Batch
from ppvae.parts import experts
from ppvae.parts.encoders import Encoders


class Product(Program):
    """``q(z | x_S) ∝ p(z) ∏_{m∈S} q(z | x_m)`` with ``prior_expert=True``, without ``p(z)`` otherwise.

    Experts are diagonal Gaussians, so the product is one (MVAE: Wu & Goodman 2018,
    https://arxiv.org/abs/1802.05335, section 2.2). Site ``z`` is ``(items, latent)``.

    >>> from ppvae import Batch
    >>> guide = Product([Modality("image", (784,)), Modality("sound", (20,))], latent=2)
    >>> tuple(guide(Batch(size=3)).shape)
    (3, 2)
    """

    def __init__(
        self,
        modalities: Sequence[Modality],
        latent: int = 16,
        hidden: Sequence[int] = (256, 256),
        prior_expert: bool = True,
    ) -> None:
        super().__init__()
        self.encoders = Encoders(modalities, latent, hidden)
        self.prior_expert = prior_expert

    def forward(self, batch: Batch) -> Any:
        loc, scale, present = self.encoders(batch, given=True)
        loc, scale = experts.product(loc, scale, present, self.prior_expert)
        with batch.plate():
            return pyro.sample("z", dist.Normal(loc, scale).to_event(1))
