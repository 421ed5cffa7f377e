"""Set encoder: the joint posterior from a network over the set of modalities that are present."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from torch import nn

from ppvae import Modality, Program, dist, distribution, ops, pyro
from ppvae.language.batch import Batch
from ppvae.parts import experts, networks
from ppvae.parts.encoders import BOUND, Encoders
from ppvae.parts.flows import ExpertFlow


class SetEncoder(Program):
    """``q(z | x_S) = Normal(ρ(Σ_{m∈S} h_m))``, ``h_m = χ_m(x_m)``; or ``ρ(Σ a_m h_m)`` with attention.

    The permutation-invariant encoders of Hirt et al. 2024 (https://arxiv.org/abs/2309.00380), learned where products
    and mixtures are fixed. ``pool="sum"`` is a deep set (Zaheer et al. 2017); with ``"attention"`` the features are
    weighed by a softmax over the modalities present of ``⟨u, h_m⟩``, u learned. Features ``h_m`` have ``2 * width``
    elements. With nothing present z is standard normal. Site ``z`` is ``(items, latent)``.

    ``family="full"`` gives the normal a covariance ``L Lᵀ``, ``L`` a lower triangle that ρ returns too, and ``"flow"``
    moves its noise by couplings given location and scale, as :class:`ppvae.parts.flows.ExpertFlow` does: posteriors of
    latents that stand in for each other are no diagonal Gaussians.

    >>> from ppvae import Batch
    >>> guide = SetEncoder([Modality("image", (784,)), Modality("sound", (20,))], latent=2)
    >>> tuple(guide(Batch(size=3)).shape)
    (3, 2)
    """

    def __init__(
        self,
        modalities: Sequence[Modality],
        latent: int = 16,
        hidden: Sequence[int] = (256, 256),
        pool: Literal["sum", "attention"] = "sum",
        width: int = 64,
        family: Literal["diagonal", "full", "flow"] = "diagonal",
    ) -> None:
        super().__init__()
        self.latent = latent
        self.features = Encoders(modalities, width, hidden)
        self.attention = nn.Linear(2 * width, 1, bias=False) if pool == "attention" else None
        self.sizes = [latent, latent, latent**2 if family == "full" else 0]
        self.joint = nn.Sequential(nn.ReLU(), networks.mlp(2 * width, hidden[-1:], sum(self.sizes)))
        self.flow = ExpertFlow(latent, hidden=hidden[-1:]) if family == "flow" else None

    def forward(self, batch: Batch) -> Any:
        approximation = self.approximation(batch)
        with batch.plate():
            return pyro.sample("z", approximation)

    def approximation(self, batch: Batch) -> Any:
        """The posterior of each item, of the family."""
        features = ops.stack([self.features.expert(batch, name) for name in self.features.networks])
        present = ops.stack([batch.present(name) for name in self.features.networks])
        there = ops.any(present, 0)
        out = ops.where(there[:, None], self.joint(self.pooled(features, present)), 0.0)
        loc, log_scale, below = ops.split(out, self.sizes, -1)
        scale = ops.exp(ops.clamp(log_scale, -BOUND, BOUND))
        if self.sizes[-1]:
            triangle = ops.tril(below.reshape(*loc.shape, self.latent), -1)
            return dist.MultivariateNormal(loc, scale_tril=ops.diag_embed(scale) + scale[..., None] * triangle)
        return dist.Normal(loc, scale).to_event(1) if self.flow is None else self.flowing(self.flow, loc, scale, there)

    def flowing(self, flow: ExpertFlow, loc: Any, scale: Any, there: Any) -> Any:
        """The flow where an item has anything, else the normal that it starts from."""
        normal = dist.Normal(loc, scale).to_event(1)

        def sample(draw: Any) -> Any:
            noise = draw(dist.Normal(ops.zeros_like(loc), 1.0))
            return ops.where(there[:, None], flow(noise, loc, scale), noise)

        def log_prob(z: Any) -> Any:
            return ops.where(there, flow.log_prob(z, loc, scale), normal.log_prob(z))

        return distribution(sample, log_prob, loc.shape[:-1], loc.shape[-1:])

    def pooled(self, features: Any, present: Any) -> Any:
        """The sum of the features of what is present, or their weighted mean: ``(items, 2 * width)``."""
        there = present[..., None]
        features = ops.where(there, features, 0.0)
        if self.attention is None:
            return features.sum(0)
        share = ops.softmax(ops.where(there, self.attention(features), experts.NEVER), 0)
        return (share * features).sum(0)
