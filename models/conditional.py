"""Conditional: all modalities but one, given that one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ppvae import Modality, Program, dist, ops, pyro
from ppvae.language.batch import Batch
from ppvae.parts import networks
from ppvae.parts.conditionals import Features, Gaussian, joined
from ppvae.parts.likelihoods import Likelihood


class Context(Program):
    """What networks are told of the condition: ``(items, 2 * width + 1)``, features and whether it was measured.

    An item without the condition has zeros throughout.
    """

    def __init__(self, modality: Modality, width: int, hidden: Sequence[int] = (256, 256)) -> None:
        super().__init__()
        self.features = Features([modality], width, hidden)

    def forward(self, batch: Batch) -> Any:
        features, present = self.features(batch)
        there = ops.where(present[0], 1.0, 0.0)[:, None]
        return joined(ops.where(there > 0, features[0], 0.0), there)


class Conditional(Program):
    """``z | c ~ Normal(loc(c), scale(c))``;  ``x_m | z, c ~ likelihood_m(decoder_m(z, c))`` for all others m.

    The conditional VAE (Sohn et al. 2015, "Learning structured output representation using deep conditional generative
    models"). The condition c is taken as given and not explained; ``condition`` names it, by default the last
    modality. Items without it are explained by the model of a missing condition. Shapes: ``z`` is
    ``(items, latent)``, ``x_m`` ``(items, *shape_m)``.

    >>> from ppvae import Batch
    >>> model = Conditional([Modality("image", (784,), "bernoulli"), Modality("sound", (20,))], latent=2)
    >>> sorted(model(Batch(size=3))), model.conditions
    (['image'], ('sound',))

    Raises:
        ValueError: no modality has the condition's name, or there is no other modality to explain.
    """

    def __init__(
        self,
        modalities: Sequence[Modality],
        latent: int = 16,
        hidden: Sequence[int] = (256, 256),
        condition: str | None = None,
    ) -> None:
        super().__init__()
        known = {m.name: m for m in modalities}
        name = modalities[-1].name if condition is None else condition
        if name not in known or len(known) < 2:
            others = ", ".join(known)
            raise ValueError(f"the condition {name!r} must be one of at least two modalities; there are {others}")
        self.conditions = (name,)
        self.context = Context(known.pop(name), latent, hidden)
        width = 2 * latent + 1
        self.prior = Gaussian(width, latent, hidden)
        self.likelihoods = networks.ByName({m.name: Likelihood(m, latent + width, hidden) for m in known.values()})

    def forward(self, batch: Batch) -> dict[str, Any]:
        c = self.context(batch)
        with batch.plate():
            z = pyro.sample("z", dist.Normal(*self.prior(c)).to_event(1))
            given = joined(z, c)
            return {name: self.likelihoods[name](given, batch.get(name)) for name in batch.asked(self.likelihoods)}
