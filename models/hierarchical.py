"""Hierarchical: a shared latent above one latent per modality."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ppvae import Modality, Program, dist, pyro
from ppvae.language.batch import Batch
from ppvae.parts import networks
from ppvae.parts.conditionals import Gaussian
from ppvae.parts.likelihoods import Likelihood
from ppvae.parts.priors import prior as make_prior


class Hierarchical(Program):
    """``z ~ prior``;  ``z_m | z ~ Normal(loc_m(z), scale_m(z))``;  ``x_m | z_m ~ likelihood_m(decoder_m(z_m))``.

    The two levels of Nexus (Vasco et al. 2022, "Leveraging hierarchy in multimodal generative models for effective
    cross-modality inference"). Shapes: site ``z`` is ``(items, latent)``, site ``z_NAME`` of the modality NAME
    ``(items, bottom)``, ``x_m`` ``(items, *shape_m)``.

    >>> from ppvae import Batch
    >>> model = Hierarchical([Modality("image", (784,), "bernoulli"), Modality("sound", (20,))], latent=2)
    >>> sorted(model(Batch(size=3)))
    ['image', 'sound']
    """

    def __init__(
        self,
        modalities: Sequence[Modality],
        latent: int = 16,
        hidden: Sequence[int] = (256, 256),
        bottom: int = 16,
        prior: str = "standard",
    ) -> None:
        super().__init__()
        self.prior = make_prior(prior, latent, modalities)
        self.levels = networks.ByName({m.name: Gaussian(latent, bottom, hidden) for m in modalities})
        self.likelihoods = networks.ByName({m.name: Likelihood(m, bottom, hidden) for m in modalities})

    def forward(self, batch: Batch) -> dict[str, Any]:
        prior = self.prior()
        with batch.plate():
            z = pyro.sample("z", prior)
            below = {name: self.below(name, z) for name in self.levels}
            return {name: self.likelihoods[name](below[name], batch.get(name)) for name in batch.asked(self.levels)}

    def below(self, name: str, z: Any) -> Any:
        """A modality's own latent."""
        return pyro.sample(f"z_{name}", dist.Normal(*self.levels[name](z)).to_event(1))
