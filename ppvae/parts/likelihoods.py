"""Likelihoods: each a small Pyro program over the latent, p(x | z), speaking in the data's own units."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from ppvae.language.modality import Modality
from ppvae.language.ppl import dist, ops, pyro
from ppvae.language.program import Program
from ppvae.parts import networks


class Family(Program):
    """``x ~ family(y)``, elements independent given the predictor ``y``: what a decoder returns for each element.

    ``measured(y, obs=None)`` takes predictors ``(..., items, *shape)`` and returns values of that shape, without the
    levels at the end of a categorical's.
    """

    center: torch.Tensor
    spread: torch.Tensor

    def __init__(self, modality: Modality) -> None:
        super().__init__()
        self.name = modality.name
        self.family = FAMILIES[modality.likelihood]
        self.event_dim = len(modality.shape)
        self.shape = networks.output_shape(modality)
        for key in ("center", "spread"):
            value = torch.as_tensor(getattr(modality, key), dtype=torch.get_default_dtype())
            self.register_buffer(key, value.expand(modality.shape).clone())
        start = torch.zeros(modality.shape) if modality.scale is None else torch.tensor(modality.scale).log()
        if modality.likelihood in DISPERSED:
            self.log_scale = nn.Parameter(start, requires_grad=modality.scale is None)

    def measured(self, y: Any, obs: Any = None) -> Any:
        """The modality's site, given its predictor."""
        return pyro.sample(self.name, self.family(self, y).to_event(self.event_dim), obs=obs)


class Likelihood(Family):
    """``x ~ family(decoder(z))``, elements independent given ``z``.

    ``forward(z, obs=None)`` takes latents ``(..., items, latent)`` and returns values ``(..., items, *shape)``. The
    decoder sees one leading dimension, as torch's convolutions ask.

    Raises:
        ValueError: the decoder's output has another shape.
    """

    def __init__(self, modality: Modality, latent: int, hidden: Sequence[int] = (256, 256)) -> None:
        super().__init__(modality)
        self.decoder = networks.decoder(modality, latent, hidden)

    def forward(self, z: Any, obs: Any = None) -> Any:
        return self.measured(self.decoded(z), obs)

    def decoded(self, z: Any) -> Any:
        """What the decoder makes of latents ``(..., latent)``: ``(..., *shape)``."""
        flat = z.reshape(-1, z.shape[-1])
        y = self.decoder(flat)
        if tuple(y.shape[1:]) != self.shape:
            raise ValueError(
                f"the decoder of modality {self.name!r} maps {tuple(flat.shape)} to {tuple(y.shape)}; "
                f"each item must get {self.shape}"
            )
        return y.reshape(*z.shape[:-1], *self.shape)


def normal(self: Family, y: Any) -> Any:
    """x ~ Normal(center + spread * y, spread * scale), scale learned per element or fixed."""
    return dist.Normal(self.center + self.spread * y, self.spread * ops.exp(self.log_scale))


def laplace(self: Family, y: Any) -> Any:
    """x ~ Laplace(center + spread * y, spread * scale), scale learned per element or fixed."""
    return dist.Laplace(self.center + self.spread * y, self.spread * ops.exp(self.log_scale))


def bernoulli(self: Family, y: Any) -> Any:
    """x ~ Bernoulli(sigmoid(y))."""
    return dist.Bernoulli(logits=y)


def categorical(self: Family, y: Any) -> Any:
    """x ~ Categorical(softmax(y)) over the last axis of y, values 0..levels-1."""
    return dist.Categorical(logits=y)


def poisson(self: Family, y: Any) -> Any:
    """x ~ Poisson(exp(center + spread * y)): center and spread are of log(1 + x)."""
    return dist.Poisson(_rate(self, y))


def negative_binomial(self: Family, y: Any) -> Any:
    """x ~ NegativeBinomial with mean exp(center + spread * y) and a learned inverse dispersion r per element.

    Variance mean + mean^2 / r, as scVI (Lopez et al. 2018) writes it.
    """
    total = ops.exp(self.log_scale)
    return dist.NegativeBinomial(total_count=total, logits=ops.log(_rate(self, y)) - self.log_scale)


def _rate(self: Family, y: Any) -> Any:
    """exp, with the exponent clamped so that no rate overflows or vanishes."""
    return ops.exp(ops.clamp(self.center + self.spread * y, -15.0, 15.0))


FAMILIES = {f.__name__: f for f in (normal, laplace, bernoulli, categorical, poisson, negative_binomial)}
DISPERSED = ("normal", "laplace", "negative_binomial")
