"""Labelled: a classifier for the label, and experts that also read the label."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ppvae import Modality, Program, dist, ops, pyro
from ppvae.language.batch import Batch
from ppvae.parts import experts, networks
from ppvae.parts.conditionals import Features, Heads, along, one_hot

CERTAIN = 100.0  # log odds of a label that was measured


class Labelled(Program):
    """``q(y | x_S) ∝ p(y) ∏_{m∈S} f_m(y; x_m)``;  ``q(z | x_S, y) ∝ N(z; 0, I) ∏_{m∈S} q(z | x_m, y)``.

    M2 (Kingma et al. 2014, "Semi-supervised learning with deep generative models"), its networks written
    as products so that any subset may be missing. A measured label is y. Sites: ``y`` is ``(items,)``, enumerated
    wherever that is wanted; ``z`` is ``(items, latent)``.

    >>> from ppvae import Batch, method
    >>> parts = [Modality("image", (784,)), Modality("digit", (1,), "categorical", levels=10)]
    >>> tuple(method("m2", parts, latent=2).guide(Batch(size=3)).shape)
    (3, 2)
    """

    def __init__(
        self, modalities: Sequence[Modality], latent: int = 16, hidden: Sequence[int] = (256, 256), *, model: Any
    ) -> None:
        super().__init__()
        self.label, self.levels, self.logits = model.label, model.levels, model.logits
        others = [m for m in modalities if m.name != self.label]
        self.classifiers = Features(others, latent, hidden)
        self.votes = networks.ByName({m.name: networks.mlp(2 * latent, (), self.levels) for m in others})
        self.features = Features(others, latent, hidden)
        self.heads = Heads([m.name for m in others], 2 * latent, self.levels, latent, hidden)

    def forward(self, batch: Batch) -> Any:
        features, present = self.features(batch)
        logits = self.classified(batch)
        with batch.plate():
            y = pyro.sample("y", dist.Categorical(logits=logits), infer={"enumerate": "parallel"})
            loc, scale = self.heads(features, one_hot(y, self.levels))
            loc, scale = experts.product(loc, scale, along(present, loc), prior=True)
            return pyro.sample("z", dist.Normal(loc, scale).to_event(1))

    def classified(self, batch: Batch) -> Any:
        """Log odds of the labels, ``(items, levels)``."""
        features, present = self.classifiers(batch)
        votes = ops.stack([self.votes[name](features[i]) for i, name in enumerate(self.votes)])
        logits = self.logits + ops.where(present[..., None], votes, 0.0).sum(0)
        if self.label not in batch.arrays:
            return logits
        measured = CERTAIN * one_hot(batch.get(self.label)[..., 0], self.levels)
        return ops.where(batch.present(self.label)[:, None], measured, logits)
