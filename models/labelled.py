"""Labelled: a categorical label and a continuous latent behind all modalities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from ppvae import Modality, Program, dist, pyro
from ppvae.language.batch import Batch
from ppvae.parts import networks
from ppvae.parts.conditionals import joined, one_hot
from ppvae.parts.likelihoods import Likelihood
from ppvae.parts.priors import prior as make_prior

CERTAIN = 1e4  # log odds of the label that is read against any other: a label is read without error


class Labelled(Program):
    """``y ~ Categorical(softmax(logits))``;  ``z ~ prior``;  ``x_m | z, y ~ likelihood_m(decoder_m(z, y))``.

    M2 (Kingma et al. 2014, "Semi-supervised learning with deep generative models"). The label is itself a
    modality, categorical of shape ``(1,)``: it is y, read without error, and y is summed out where it is missing.
    ``label`` names it, by default the only such modality. Shapes: ``y`` is ``(items,)``, ``z`` ``(items, latent)``.

    >>> from ppvae import Batch
    >>> model = Labelled([Modality("image", (784,), "bernoulli"), Modality("digit", (1,), "categorical", levels=10)])
    >>> sorted(model(Batch(size=3)))
    ['digit', 'image']

    Raises:
        ValueError: the modalities hold no such label, or several and none is named.
    """

    def __init__(
        self,
        modalities: Sequence[Modality],
        latent: int = 16,
        hidden: Sequence[int] = (256, 256),
        label: str | None = None,
        prior: str = "standard",
    ) -> None:
        super().__init__()
        chosen = choose(modalities, label)
        self.label, self.levels = chosen.name, chosen.levels or 0
        self.logits = nn.Parameter(torch.zeros(self.levels))
        self.prior = make_prior(prior, latent)
        others = [m for m in modalities if m is not chosen]
        self.likelihoods = networks.ByName({m.name: Likelihood(m, latent + self.levels, hidden) for m in others})

    def forward(self, batch: Batch) -> dict[str, Any]:
        prior = self.prior()
        with batch.plate():
            y = pyro.sample("y", dist.Categorical(logits=self.logits), infer={"enumerate": "parallel"})
            z = pyro.sample("z", prior)
            which = one_hot(y, self.levels)
            given, asked = joined(z, which), batch.asked(self.likelihoods)
            values = {name: self.likelihoods[name](given, batch.get(name)) for name in asked}
            read = dist.Categorical(logits=CERTAIN * which[..., None, :]).to_event(1)
            return {**values, self.label: pyro.sample(self.label, read, obs=batch.get(self.label))}


def choose(modalities: Sequence[Modality], name: str | None) -> Modality:
    """The modality that is the label."""
    fit = [m for m in modalities if m.likelihood == "categorical" and m.shape == (1,) and name in (None, m.name)]
    if len(fit) != 1 or len(modalities) < 2:
        raise ValueError(
            f"a label is one categorical modality of shape (1,) among others, but {len(fit)} fit"
            + (f" the name {name!r}" if name else "; name it by label=")
        )
    return fit[0]
