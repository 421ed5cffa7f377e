"""Joint: one latent behind all modalities, which are independent given it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ppvae import Modality, Program, pyro
from ppvae.language.batch import Batch
from ppvae.parts import networks
from ppvae.parts.likelihoods import Likelihood
from ppvae.parts.priors import prior as make_prior


class Joint(Program):
    """``z ~ prior``;  ``x_m | z ~ likelihood_m(decoder_m(z))`` for each modality m.

    The generative side of the VAE (Kingma & Welling 2014, https://arxiv.org/abs/1312.6114), shared by MVAE, MMVAE
    and MoPoE, which differ in their guides. Shapes: ``z`` is ``(items, latent)``, ``x_m`` is ``(items, *shape_m)``.

    >>> from ppvae import Batch
    >>> model = Joint([Modality("image", (784,), "bernoulli"), Modality("sound", (20,))], latent=2)
    >>> sorted(model(Batch(size=3)))
    ['image', 'sound']
    """

    def __init__(
        self,
        modalities: Sequence[Modality],
        latent: int = 16,
        hidden: Sequence[int] = (256, 256),
        prior: str = "standard",
    ) -> None:
        super().__init__()
        self.prior = make_prior(prior, latent, modalities)
        self.likelihoods = networks.ByName({m.name: Likelihood(m, latent, hidden) for m in modalities})

    def forward(self, batch: Batch) -> dict[str, Any]:
        prior = self.prior()
        with batch.plate():
            z = pyro.sample("z", prior)
            return {name: self.likelihoods[name](z, batch.get(name)) for name in batch.asked(self.likelihoods)}
