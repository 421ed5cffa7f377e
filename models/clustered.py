"""Clustered: a shared latent that falls into clusters, and a private latent behind each modality."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ppvae import Modality, Program, dist, ops, pyro
from ppvae.language.batch import Batch
from ppvae.parts import networks
from ppvae.parts.likelihoods import Likelihood
from ppvae.parts.priors import Mixture


class Clustered(Program):
    """``z ~ Σ_c π_c Normal(loc_c, scale_c)``;  ``w_m ~ Normal(0, I)``;  ``x_m ~ likelihood_m(decoder_m([z, w_m]))``.

    The generative side of CMVAE (Palumbo et al. 2024, https://openreview.net/forum?id=k5THrhXDV3). The site
    ``cluster``, ``(items,)``, is c: summed out exactly in training and in evidence, so guides leave it out, and drawn
    when items are generated. Weights, locations and scales of the clusters are learned; locations start as draws of
    N(0, I), so that no two are the same. Shapes of ``z`` and ``w_NAME``: ``(items, latent)`` and ``(items, private)``.
    A modality's own decoder is made for ``latent + private`` inputs.

    >>> from ppvae import Batch
    >>> model = Clustered([Modality("image", (784,), "bernoulli"), Modality("sound", (20,))], latent=2, clusters=4)
    >>> sorted(model(Batch(size=3)))
    ['image', 'sound']
    """

    def __init__(
        self,
        modalities: Sequence[Modality],
        latent: int = 16,
        hidden: Sequence[int] = (256, 256),
        private: int = 8,
        clusters: int = 10,
    ) -> None:
        super().__init__()
        self.private = private
        self.prior = Mixture(latent, clusters)
        self.likelihoods = networks.ByName({m.name: Likelihood(m, latent + private, hidden) for m in modalities})

    def forward(self, batch: Batch) -> dict[str, Any]:
        loc, scale = self.prior.loc, ops.exp(self.prior.log_scale)
        with batch.plate():
            c = pyro.sample("cluster", dist.Categorical(logits=self.prior.logits), infer={"enumerate": "parallel"})
            z = pyro.sample("z", dist.Normal(loc[c], scale[c]).to_event(1))
            each = {name: pyro.sample(f"w_{name}", self.own()) for name in self.likelihoods}
            return {
                name: self.likelihoods[name](joined(z, each[name]), batch.get(name))
                for name in batch.asked(self.likelihoods)
            }

    def own(self) -> Any:
        """The prior of a private latent."""
        return dist.Normal(0.0, 1.0).expand([self.private]).to_event(1)

    def responsibilities(self, z: Any) -> Any:
        """``p(cluster | z)`` of latents ``(..., latent)``: ``(..., clusters)``, summing to one."""
        each = dist.Normal(self.prior.loc, ops.exp(self.prior.log_scale)).to_event(1)
        return ops.softmax(self.prior.logits + each.log_prob(z[..., None, :]), -1)


def joined(z: Any, w: Any) -> Any:
    """Shared and private latents side by side: ``(..., latent + private)``."""
    shape = ops.broadcast_shapes(z.shape[:-1], w.shape[:-1])
    return ops.cat([ops.broadcast_to(part, (*shape, part.shape[-1])) for part in (z, w)], -1)
