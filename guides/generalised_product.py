"""Generalised product: the joint posterior as a product of powers of the experts that are present."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import nn

from ppvae import Modality, Program, dist, ops, pyro
from ppvae.language.batch import Batch
from ppvae.parts import experts, networks
from ppvae.parts.encoders import Encoders


class GeneralisedProduct(Program):
    """``q(z | x_S) ∝ p(z) ∏_{m∈S} q(z | x_m)^a_m``, ``Σ_{m∈S} a_m = 1``, without ``p(z)`` if so asked.

    The generalised product of experts (Cao & Fleet 2014, https://arxiv.org/abs/1410.7827), whose powers keep experts
    that share what they know from being counted twice. The powers are a softmax over the modalities present, of
    numbers learned for each modality, for each modality and latent dimension, or by a linear map of each modality's
    standardised values, as ``weights`` says. Site ``z`` is ``(items, latent)``.

    >>> from ppvae import Batch
    >>> guide = GeneralisedProduct([Modality("image", (784,)), Modality("sound", (20,))], latent=2)
    >>> tuple(guide(Batch(size=3)).shape)
    (3, 2)
    """

    def __init__(
        self,
        modalities: Sequence[Modality],
        latent: int = 16,
        hidden: Sequence[int] = (256, 256),
        weights: Literal["modality", "dimension", "input"] = "modality",
        prior_expert: bool = True,
    ) -> None:
        super().__init__()
        self.encoders = Encoders(modalities, latent, hidden)
        self.weights, self.prior_expert = weights, prior_expert
        if weights == "input":
            self.powers = nn.ModuleDict({m.name: power(m) for m in modalities})
        else:
            self.logits = nn.Parameter(torch.zeros(len(modalities), 1, latent if weights == "dimension" else 1))

    def forward(self, batch: Batch) -> Any:
        loc, scale, present = self.encoders(batch)
        logits = ops.stack([self.power(batch, m) for m in self.powers]) if self.weights == "input" else self.logits
        loc, scale = experts.generalised_product(loc, scale, present, logits, self.prior_expert)
        with batch.plate():
            return pyro.sample("z", dist.Normal(loc, scale).to_event(1))

    def power(self, batch: Batch, name: str) -> Any:
        """The logit of a modality's power from its values, ``(items, 1)``; zero where it is not given."""
        if name not in batch.arrays:
            return ops.zeros((batch.size, 1))
        return self.powers[name](self.encoders.seen(batch, name))


def power(modality: Modality) -> nn.Sequential:
    """A linear map of standardised values: ``(items, *shape)`` to ``(items, 1)``."""
    size = math.prod(modality.shape)
    flat = networks.Reshaped(len(modality.shape), (size,))
    return nn.Sequential(networks.Standardise(modality), flat, nn.Linear(size, 1))
