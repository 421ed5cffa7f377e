"""Likelihoods: each a small Pyro program over the latent, p(x | z), speaking in the data's own units."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from ppvae.language.modality import COUNTS, Modality
from ppvae.language.ppl import dist, items, ops, pyro
from ppvae.language.program import Program
from ppvae.parts import networks
from ppvae.parts.densities import ContinuousBernoulli, DiscretisedLogistic
from ppvae.parts.text.autoregressive import Autoregressive

SHARPEST = math.log(1e-3)  # the smallest learned scale is a thousandth of the spread
FREEDOM = SHARPEST, math.log(98.0)  # degrees of freedom above 2: a t of 100 is nearly normal
MOST_REGULAR = math.log(1e2)  # the largest inverse dispersion is a hundred times 1 + the level: a Poisson to 1 %
REACH = 30.0  # how far the log of a rate may go from the level of the data, either way


class Family(Program):
    """``x ~ family(y)``, elements independent given the predictor ``y``: what a decoder returns for each element.

    ``measured(y, obs=None)`` takes predictors ``(..., items, *shape)`` and returns values of that shape, without the
    levels at the end of a categorical's or the numbers at the end of a mixture's.

    ``center`` and ``spread`` are the modality's; of counts, those of the log of the rate (see :func:`of_log_rate`). A
    learned scale is an element's, or a whole channel's of a picture, sound or series (Rybkin et al. 2021,
    https://arxiv.org/abs/2006.13202); it is never below a thousandth of the spread, so that no constant or copied
    element has infinite density. A scale that was declared is as declared.
    """

    center: torch.Tensor
    spread: torch.Tensor

    def __init__(self, modality: Modality) -> None:
        super().__init__()
        self.name = modality.name
        self.family = FAMILIES[modality.likelihood]
        self.event_dim = len(modality.shape)
        self.shape, self.levels = networks.output_shape(modality), modality.levels
        known = networks.units(modality)
        for key, value in (of_log_rate(**known) if modality.likelihood in COUNTS else known).items():
            self.register_buffer(key, value)
        each = torch.zeros(modality.distinct)
        start = each if modality.scale is None else torch.tensor(modality.scale).log()
        self.learned = modality.scale is None
        if modality.likelihood in DISPERSED:
            self.log_scale = nn.Parameter(start, requires_grad=self.learned)
        if modality.likelihood == "student_t":
            self.log_freedom = nn.Parameter(each + math.log(8.0))
        self.top = modality.top

    def measured(self, y: Any, obs: Any = None) -> Any:
        """The modality's site, given its predictor."""
        fn = self.family(self, y)
        return pyro.sample(self.name, fn.to_event(self.event_dim - fn.event_dim), obs=obs)


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
        y = self.decoded(z) if obs is None else items().decoded(self.name, self.decoded, z)
        return self.measured(y, obs)

    def decoded(self, z: Any) -> Any:
        """What the decoder makes of latents ``(..., latent)``: ``(..., *shape)``. Of texts they are the predictor."""
        if self.family is autoregressive:
            return z
        flat = z.reshape(-1, z.shape[-1])
        y = self.decoder(flat)
        if tuple(y.shape[1:]) != self.shape:
            raise ValueError(
                f"the decoder of modality {self.name!r} maps {tuple(flat.shape)} to {tuple(y.shape)}; "
                f"each item must get {self.shape}"
            )
        return y.reshape(*z.shape[:-1], *self.shape)


def of_log_rate(center: torch.Tensor, spread: torch.Tensor) -> dict[str, torch.Tensor]:
    """From center and spread of ``log(1 + x)`` to those of the log of the rate.

    The rate at the center is ``exp(center) - 1``, the typical count, and a step there is as long in ``log(1 + x)``; but
    at most 1 or the spread, since single counts, far apart as logs, say little of their rate. Large counts keep both,
    and so does a center of 0 or less, which no data have.
    """
    share = torch.where(center > 0, -torch.expm1(-center), 1.0)  # of the count in 1 + count
    return {"center": center + share.log(), "spread": torch.minimum(spread / share, spread.clamp(min=1.0))}


def normal(self: Family, y: Any) -> Any:
    """x ~ Normal(center + spread * y, spread * scale), scale learned or fixed."""
    return items().Normal(ops.addcmul(self.center, self.spread, y), _scale(self))


def laplace(self: Family, y: Any) -> Any:
    """x ~ Laplace(center + spread * y, spread * scale), scale learned or fixed."""
    return dist.Laplace(self.center + self.spread * y, _scale(self))


def student_t(self: Family, y: Any) -> Any:
    """x ~ StudentT(2 + freedom, center + spread * y, spread * scale), freedom above 0 learned as scale is."""
    freedom = _held(self.log_freedom, ops.clamp(self.log_freedom, *FREEDOM))
    return dist.StudentT(2 + ops.exp(freedom), self.center + self.spread * y, _scale(self))


def bernoulli(self: Family, y: Any) -> Any:
    """x ~ Bernoulli(sigmoid(y))."""
    return dist.Bernoulli(logits=y)


def continuous_bernoulli(self: Family, y: Any) -> Any:
    """x in 0..1 with density proportional to exp(x * y)."""
    return ContinuousBernoulli(y)


def categorical(self: Family, y: Any) -> Any:
    """x ~ Categorical(softmax(y)) over the last axis of y, values 0..levels-1."""
    return dist.Categorical(logits=y)


def logistic(self: Family, y: Any) -> Any:
    """x ~ Logistic(center + spread * y, spread * scale) rounded to 0..levels-1, scale learned or fixed."""
    return DiscretisedLogistic(self.center + self.spread * y, _scale(self), self.top)


def logistic_mixture(self: Family, y: Any) -> Any:
    """x ~ Σ_k softmax(a)_k Logistic(center + spread * b_k, spread * exp(c_k)) rounded to 0..levels-1, y = (a, b, c).

    Salimans et al. 2017, PixelCNN++ (https://arxiv.org/abs/1701.05517), without its regression on other channels.
    """
    logits, place, log_scale = ops.chunk(y, 3, -1)
    center, spread = self.center[..., None], self.spread[..., None]
    scale = spread * ops.exp(_held(log_scale, ops.clamp(log_scale, SHARPEST, -SHARPEST)))
    components = DiscretisedLogistic(center + spread * place, scale, self.top)
    return dist.MixtureSameFamily(dist.Categorical(logits=logits), components)


def poisson(self: Family, y: Any) -> Any:
    """x ~ Poisson(exp(center + spread * y)), center and spread of the log of the rate."""
    return dist.Poisson(ops.exp(_log_rate(self, y)))


def negative_binomial(self: Family, y: Any) -> Any:
    """x ~ NegativeBinomial with mean exp(center + spread * y) and a learned inverse dispersion r per element.

    Variance mean + mean^2 / r, as scVI (Lopez et al. 2018) writes it.
    """
    log_total = self.log_scale
    if self.learned:
        log_total = _held(log_total, ops.minimum(log_total, MOST_REGULAR + ops.softplus(self.center)))  # type: ignore[attr-defined]
    return dist.NegativeBinomial(total_count=ops.exp(log_total), logits=_log_rate(self, y) - log_total)


def autoregressive(self: Family, y: Any) -> Any:
    """x_t ~ Categorical(softmax(decoder(y, x_1, ..., x_{t-1}))) up to the end of the text, y the latents."""
    if not hasattr(self, "decoder"):
        raise ValueError(f"text {self.name!r} is written by a decoder, and this model has none: leave it out")
    return Autoregressive(self.decoder, y, self.shape[0], self.levels or 0)


def _log_rate(self: Family, y: Any) -> Any:
    """Kept near the level of the data, so that no rate overflows or vanishes."""
    return self.center + ops.clamp(self.spread * y, -REACH, REACH)


def _scale(self: Family) -> Any:
    log_scale = self.log_scale
    return self.spread * ops.exp(_held(log_scale, ops.clamp(log_scale, min=SHARPEST)) if self.learned else log_scale)


def _held(free: Any, bounded: Any) -> Any:
    """The bounded value with the gradient of the free one, which can so come back from beyond its bound."""
    return free + ops.detach(bounded - free)


FAMILIES = {
    f.__name__: f
    for f in (
        *(normal, laplace, student_t, bernoulli, continuous_bernoulli, categorical),
        *(logistic, logistic_mixture, poisson, negative_binomial, autoregressive),
    )
}
DISPERSED = ("normal", "laplace", "student_t", "logistic", "negative_binomial")
