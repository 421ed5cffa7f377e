"""Flow surrogates: a Gaussian given everything, a normalising flow given any single modality."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ppvae import Modality, Program, dist, distribution, ops, pyro
from ppvae.language.batch import Batch
from ppvae.parts import networks
from ppvae.parts.encoders import Encoders
from ppvae.parts.flows import ExpertFlow
from ppvae.parts.joint_network import JointNetwork


class FlowSurrogates(Program):
    """``q(z | X)`` Gaussian; ``q_m(z | x_m)``: ``z = loc_m + scale_m flow_m(noise)``, all given x_m; mixtures between.

    JNF (Senellart et al. 2023, https://arxiv.org/abs/2305.11832), with coupling flows. An item that has everything
    takes the Gaussian, one that has S the mixture ``(1/|S|) Σ_{m∈S} q_m``, one that has nothing N(0, I). The paper
    samples the product of the q_m by MCMC; but importance weights need draws whose density is known and normalised,
    which a mixture has and a product of flows has not. :meth:`product_log_prob` is the product, for a sampler of yours.

    >>> from ppvae import Batch
    >>> guide = FlowSurrogates([Modality("image", (784,)), Modality("sound", (20,))], latent=2)
    >>> tuple(guide(Batch(size=3)).shape)
    (3, 2)
    """

    def __init__(
        self,
        modalities: Sequence[Modality],
        latent: int = 16,
        hidden: Sequence[int] = (256, 256),
        layers: int = 4,
    ) -> None:
        super().__init__()
        self.joint = JointNetwork(modalities, latent, hidden)
        self.encoders = Encoders(modalities, latent, hidden)
        self.flows: Any = networks.ByName({m.name: ExpertFlow(latent, layers, hidden[-1:]) for m in modalities})

    def forward(self, batch: Batch) -> Any:
        given = [name for name in self.flows if name in batch.arrays]
        whole = len(given) == len(self.flows)
        loc, scale = self.joint(batch)
        simple = not given or (whole and not batch.masks())  # then every item has the Gaussian
        q = dist.Normal(loc, scale).to_event(1) if simple else self.mixture(batch, loc, scale, whole)
        with batch.plate():
            return pyro.sample("z", q)

    def mixture(self, batch: Batch, loc: Any, scale: Any, whole: bool) -> Any:
        """The Gaussian where an item has everything or nothing, else the mixture of the flows of what it has."""
        experts = self.experts(batch)
        present = ops.stack([batch.present(name) for name in experts])
        alone = ~ops.any(present, 0) | (ops.all(present, 0) & whole)
        chosen = ops.where(ops.cat([alone[None], present & ~alone]), 1.0, 0.0)
        weights = (chosen / chosen.sum(0)).T

        def sample(draw: Any) -> Any:
            noise, which = draw(dist.Normal(ops.zeros_like(loc), 1.0)), draw(dist.Categorical(probs=weights))
            flowing = [self.flows[name](noise, *expert) for name, expert in experts.items()]
            picked = ops.one_hot(which, len(chosen)) * ops.ones_like(noise[..., :1])  # type: ignore[attr-defined]
            return ops.einsum("...k,...kl->...l", picked, ops.stack([loc + scale * noise, *flowing], -2))

        def log_prob(z: Any) -> Any:
            flowing = [self.flows[name].log_prob(z, *expert) for name, expert in experts.items()]
            each = ops.stack([dist.Normal(loc, scale).log_prob(z).sum(-1), *flowing], -1)
            return ops.logsumexp(each + ops.log(weights), -1)

        return distribution(sample, log_prob, loc.shape[:-1], loc.shape[-1:])

    def experts(self, batch: Batch) -> dict[str, tuple[Any, Any]]:
        """Location and scale of each given modality's flow, ``(items, latent)``, which are also its context."""
        loc, scale, _ = self.encoders(batch)
        return {name: (loc[i], scale[i]) for i, name in enumerate(self.flows) if name in batch.arrays}

    def product_log_prob(self, batch: Batch, z: Any, prior: Any = None) -> Any:
        """``log ∏_{m∈S} q_m(z | x_m)``, unnormalised, less ``(|S| − 1) log p(z)`` given a prior: ``(..., items)``.

        Modalities that are independent given z have the posterior ``∏ p(z | x_m) / p(z)^(|S| − 1)``. Minus its sum
        over items is a potential for Pyro's HMC, which moves all items at once.
        """
        there = {name: batch.present(name) for name in self.flows if name in batch.arrays}
        each = {name: self.flows[name].log_prob(z, *expert) for name, expert in self.experts(batch).items()}
        total = sum(ops.where(there[name], value, 0.0) for name, value in each.items())
        count = sum(ops.where(present, 1.0, 0.0) for present in there.values())
        return total if prior is None else total - (count - 1.0) * prior.log_prob(z)
