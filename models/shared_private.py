"""Shared and private: one latent behind all modalities, and one more behind each of them alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ppvae import Modality, Program, dist, ops, pyro
from ppvae.language.batch import Batch
from ppvae.parts import networks
from ppvae.parts.likelihoods import Likelihood
from ppvae.parts.priors import prior as make_prior


class SharedPrivate(Program):
    """``z ~ prior``;  ``w_m ~ Normal(0, I)``;  ``x_m | z, w_m ~ likelihood_m(decoder_m([z, w_m]))``.

    What modalities have in common goes through ``z``, what only one of them shows through its own ``w_m``: the
    generative side of DMVAE (Lee & Pavlovic 2021) and MMVAE+ (Palumbo et al. 2023,
    https://openreview.net/forum?id=sdQGxouELX). Shapes: ``z`` is ``(items, latent)``, the site ``w_NAME`` of each
    modality ``(items, private)``. A modality's own decoder is made for ``latent + private`` inputs.

    >>> from ppvae import Batch
    >>> model = SharedPrivate([Modality("image", (784,), "bernoulli"), Modality("sound", (20,))], latent=2, private=1)
    >>> sorted(model(Batch(size=3)))
    ['image', 'sound']
    """

    def __init__(
        self,
        modalities: Sequence[Modality],
        latent: int = 16,
        hidden: Sequence[int] = (256, 256),
        private: int = 8,
        prior: str = "standard",
    ) -> None:
        super().__init__()
        self.private = private
        self.prior = make_prior(prior, latent, modalities)
        self.likelihoods = networks.ByName({m.name: Likelihood(m, latent + private, hidden) for m in modalities})

    def forward(self, batch: Batch) -> dict[str, Any]:
        prior = self.prior()
        with batch.plate():
            z = pyro.sample("z", prior)
            each = {name: pyro.sample(f"w_{name}", self.own()) for name in self.likelihoods}
            return {
                name: self.likelihoods[name](joined(z, each[name]), batch.get(name))
                for name in batch.asked(self.likelihoods)
            }

    def own(self) -> Any:
        """The prior of a private latent."""
        return dist.Normal(0.0, 1.0).expand([self.private]).to_event(1)


def joined(z: Any, w: Any) -> Any:
    """Shared and private latents side by side: ``(..., latent + private)``."""
    shape = ops.broadcast_shapes(z.shape[:-1], w.shape[:-1])
    return ops.cat([ops.broadcast_to(part, (*shape, part.shape[-1])) for part in (z, w)], -1)
