"""Ladder: a chain of latents, each level given all those above it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from ppvae import Modality, Program, dist, pyro
from ppvae.language.batch import Batch
from ppvae.parts import networks
from ppvae.parts.conditionals import Gaussian, joined
from ppvae.parts.likelihoods import Likelihood


class Ladder(Program):
    """``z_L ~ Normal(0, I)``;  ``z_l | z_{>l} ~ Normal(loc_l, scale_l)``;  ``x_m | z_1..z_L ~ likelihood_m``.

    The generative hierarchy of MHVAE (Dorent et al. 2023, https://arxiv.org/abs/2309.08747), which extends the ladder
    VAE (Sønderby et al. 2016) to several modalities. Sites ``z_1`` (the lowest) to ``z_L`` are ``(items, latent)``.

    >>> from ppvae import Batch
    >>> model = Ladder([Modality("image", (784,), "bernoulli"), Modality("sound", (20,))], latent=2)
    >>> sorted(model(Batch(size=3)))
    ['image', 'sound']
    """

    def __init__(
        self, modalities: Sequence[Modality], latent: int = 16, hidden: Sequence[int] = (256, 256), levels: int = 3
    ) -> None:
        super().__init__()
        self.latent, self.depth = latent, levels
        # levels[l - 1] is p(z_l | z_{>l}), for every level below the top.
        self.levels = nn.ModuleList([Gaussian((levels - l) * latent, latent, hidden) for l in range(1, levels)])  # noqa: E741
        self.likelihoods = networks.ByName({m.name: Likelihood(m, levels * latent, hidden) for m in modalities})

    def forward(self, batch: Batch) -> dict[str, Any]:
        with batch.plate():
            top = dist.Normal(0.0, 1.0).expand([self.latent]).to_event(1)
            z = pyro.sample(f"z_{self.depth}", top)
            for level in range(self.depth - 1, 0, -1):
                below = dist.Normal(*self.levels[level - 1](z)).to_event(1)
                z = joined(pyro.sample(f"z_{level}", below), z)
            return {name: self.likelihoods[name](z, batch.get(name)) for name in batch.asked(self.likelihoods)}
