"""Conditional: experts that also read the condition, times the model's prior given it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ppvae import Modality, Program, dist, ops, pyro
from ppvae.language.batch import Batch
from ppvae.parts import experts
from ppvae.parts.conditionals import Features, Heads


class Conditional(Program):
    """``q(z | x_S, c) ∝ p(z | c) ∏_{m∈S} q(z | x_m, c)``, the recognition network of a conditional VAE.

    Sohn et al. 2015, "Learning structured output representation using deep conditional generative models", have one
    network over everything; the product takes any subset, and leaves the model's own ``p(z | c)`` where nothing else
    was measured. Site ``z`` is ``(items, latent)``.

    >>> from ppvae import Batch, method
    >>> guide = method("cvae", [Modality("image", (784,)), Modality("sound", (20,))], latent=2).guide
    >>> tuple(guide(Batch(size=3)).shape)
    (3, 2)
    """

    def __init__(
        self, modalities: Sequence[Modality], latent: int = 16, hidden: Sequence[int] = (256, 256), *, model: Any
    ) -> None:
        super().__init__()
        explained = [m for m in modalities if m.name not in model.conditions]
        self.context, self.prior = model.context, model.prior
        self.features = Features(explained, latent, hidden)
        self.heads = Heads([m.name for m in explained], 2 * latent, 2 * latent + 1, latent, hidden)

    def forward(self, batch: Batch) -> Any:
        c = self.context(batch)
        features, present = self.features(batch)
        loc, scale = self.heads(features, c)
        prior_loc, prior_scale = self.prior(c)
        loc, scale = ops.cat([loc, prior_loc[None]]), ops.cat([scale, prior_scale[None]])
        there = ops.cat([present, ops.ones_like(present[:1])])
        with batch.plate():
            return pyro.sample("z", dist.Normal(*experts.product(loc, scale, there, prior=False)).to_event(1))
