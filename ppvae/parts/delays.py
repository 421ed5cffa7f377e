"""Delays: series that see a path later, each by a lag of its own."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from ppvae.language.batch import Batch, over
from ppvae.language.modality import Modality
from ppvae.language.ppl import dist, ops
from ppvae.language.program import Program
from ppvae.parts import networks
from ppvae.parts.likelihoods import Family
from ppvae.parts.trajectories import stretches

WIDTH = 9  # times that a convolution sees
SUFFIX = "_lag"  # after the name of a series: the modality that is its lag


class Choice(Program):
    """``lag ~ Categorical(softmax(logits))``, uniform at the start."""

    def __init__(self, levels: int) -> None:
        super().__init__()
        self.levels = levels
        self.logits = nn.Parameter(torch.zeros(levels))

    def forward(self) -> Any:
        """The distribution of a lag."""
        return dist.Categorical(logits=self.logits)


class Series(Family):
    """``x[t] ~ family(decoder(z[t − lag]))``, readings ``(channels, times)`` independent given the path and the lag."""

    def __init__(self, modality: Modality, latent: int, hidden: Sequence[int]) -> None:
        super().__init__(modality)
        self.times = modality.shape[1]
        self.decoder = networks.mlp(latent, hidden, math.prod(self.shape) // self.times)

    def seen(self, z: Any, lags: int) -> Any:
        """Predictors at every lag, of paths ``(..., latent, grid)``: ``(..., times, width, lags)``."""
        return stretches(self.decoder(ops.transpose(z, -1, -2)), self.times, lags)

    def arranged(self, y: Any) -> Any:
        """Predictors ``(..., times, width)`` as the family takes them: ``(..., channels, times)``, and levels."""
        levels = self.shape[2:]
        apart = y.reshape(*y.shape[:-1], self.shape[0], *levels)
        return ops.transpose(apart, -2 - len(levels), -1 - len(levels))

    def heard(self, batch: Batch, z: Any, lags: int) -> Any:
        """``log p(x | z, lag)`` of what was measured, for every lag: ``(..., items, lags)``."""
        x, mask = batch.get(self.name), batch.mask(self.name)
        each = self.family(self, self.arranged(ops.movedim(self.seen(z, lags), -1, 0))).log_prob(x)
        each = each if mask is None else ops.where(over(mask, x), each, 0.0)
        return ops.movedim(each.sum((-2, -1)), 0, -1)


def told_apart(modalities: Sequence[Modality]) -> tuple[list[Modality], Mapping[str, int]]:
    """The series, and by their names the number of values that their lags take.

    Raises:
        ValueError: a modality is neither a series, as long as the others, nor the lag of one.
    """
    named = {m.name: m for m in modalities}
    series = [m for m in modalities if m.name.removesuffix(SUFFIX) not in named or not m.name.endswith(SUFFIX)]
    lags = {m.name: named[m.name + SUFFIX] for m in series if m.name + SUFFIX in named}
    for m in series:
        if len(m.shape) != 2 or m.kind not in ("vector", "series") or m.encoder or m.decoder:
            raise ValueError(
                f"modality {m.name!r} of shape {m.shape} is no series (channels, times) with stock networks, and not "
                f"the lag of one, which is named like it with {SUFFIX!r} at the end"
            )
        if m.shape[1] != series[0].shape[1]:
            raise ValueError(
                f"the series {m.name!r} has {m.shape[1]} times and {series[0].name!r} {series[0].shape[1]}: give all "
                "the same clock, with holes where one has ended"
            )
    for m in lags.values():
        if m.likelihood != "categorical" or m.shape != (1,):
            raise ValueError(f"the lag {m.name!r} is {m.likelihood} of shape {m.shape}; it must be categorical of (1,)")
    return series, {name: m.levels or 0 for name, m in lags.items()}


def convolutions(inputs: int, channels: Sequence[int], outputs: int) -> nn.Sequential:
    """Over time, with ReLU between them: ``(items, inputs, grid) -> (items, outputs, grid)``."""
    sizes, layers = [inputs, *channels], list[nn.Module]()
    for before, after in zip(sizes, channels, strict=False):
        layers += [nn.Conv1d(before, after, WIDTH, padding="same"), nn.ReLU()]
    return nn.Sequential(*layers, nn.Conv1d(sizes[-1], outputs, 1))
