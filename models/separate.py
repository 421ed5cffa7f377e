"""Separate: a latent for each modality, independent of the others'."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ppvae import Modality, Program, dist, pyro
from ppvae.language.batch import Batch
from ppvae.parts import networks
from ppvae.parts.likelihoods import Likelihood


class Separate(Program):
    """``z_m ~ Normal(0, I)``;  ``x_m | z_m ~ likelihood_m(decoder_m(z_m))`` for each modality m.

    The decoders of MMVM (Sutter et al. 2024, https://arxiv.org/abs/2403.05300), whose latents have the same size so
    that an expert of one modality can speak for another. MMVM trains them under a prior that depends on the data, the
    mixture of its encoders; what this program states instead is the standard normal. So as a generator its modalities
    are independent: ``generate`` draws them unrelated, and ``log_evidence`` is ``Σ_m log p(x_m)``, which says nothing
    about how modalities hang together. They do so through the guide: a query draws an absent ``z_m`` from the
    experts of the modalities that are present. Shapes: the site ``z_NAME`` is ``(items, latent)``.

    >>> from ppvae import Batch
    >>> model = Separate([Modality("image", (784,), "bernoulli"), Modality("sound", (20,))], latent=2)
    >>> sorted(model(Batch(size=3)))
    ['image', 'sound']
    """

    def __init__(self, modalities: Sequence[Modality], latent: int = 16, hidden: Sequence[int] = (256, 256)) -> None:
        super().__init__()
        self.latent = latent
        self.likelihoods = networks.ByName({m.name: Likelihood(m, latent, hidden) for m in modalities})

    def forward(self, batch: Batch) -> dict[str, Any]:
        with batch.plate():
            each = {name: pyro.sample(f"z_{name}", self.own()) for name in self.likelihoods}
            return {name: self.likelihoods[name](each[name], batch.get(name)) for name in batch.asked(self.likelihoods)}

    def own(self) -> Any:
        """The prior of a modality's latent."""
        return dist.Normal(0.0, 1.0).expand([self.latent]).to_event(1)
