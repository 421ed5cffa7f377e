"""Convolutional: stacks that halve pictures, sounds and series down to a few places, and stacks that undo it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import nn

FEW = 4  # places along an axis that is halved no more
CONVOLUTIONS = {1: (nn.Conv1d, nn.ConvTranspose1d), 2: (nn.Conv2d, nn.ConvTranspose2d)}


class Leading(nn.Module):
    """A network of items ``(items, *event)`` for any number of leading dimensions, the event having ``axes``."""

    def __init__(self, axes: int, net: nn.Module) -> None:
        super().__init__()
        self.axes, self.net = axes, net

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        lead = x.shape[: x.ndim - self.axes]
        y = self.net(x.reshape(-1, *x.shape[x.ndim - self.axes :]))
        return y.reshape(*lead, *y.shape[1:])


class Residual(nn.Module):
    """``x + f(x)``, f two convolutions of three places with group norms before them (He et al. 2016, identity maps)."""

    def __init__(self, channels: int, dims: int) -> None:
        super().__init__()
        convolution = CONVOLUTIONS[dims][0]
        self.net = nn.Sequential(
            *(nn.GroupNorm(groups(channels), channels), nn.ReLU(), convolution(channels, channels, 3, padding=1)),
            *(nn.GroupNorm(groups(channels), channels), nn.ReLU(), convolution(channels, channels, 3, padding=1)),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.net(x)


def groups(channels: int) -> int:
    """Of a group norm: up to 8, as many as divide the channels."""
    return next(n for n in range(8, 0, -1) if channels % n == 0)


def halvings(sizes: Sequence[int]) -> list[tuple[int, ...]]:
    """The sizes of a picture and of its halves, down to a few places an axis: ``[(28, 9), (14, 4), (7, 4), ...]``."""
    found = [tuple(sizes)]
    while max(found[-1]) > FEW:
        found.append(tuple(n // 2 if n > FEW else n for n in found[-1]))
    return found


def widths(halved: int, hidden: Sequence[int], dims: int) -> list[int]:
    """Channels after each halving: they double, from a sixteenth of the first hidden layer (an eighth in one dim)."""
    return [min(max(hidden[0] // (8 * dims) * 2**i, 1), max(hidden[0] // 4, 1)) for i in range(halved)]


def down(shape: Sequence[int], hidden: Sequence[int], residual: bool = False) -> tuple[nn.Module, tuple[int, ...]]:
    """A stack ``(..., *shape) -> (..., *features)``, and the shape of its features, ``(channels, *few places)``.

    Args:
        shape: channels, then one or two sizes.
        hidden: widths of hidden layers, whose first sets the channels.
        residual: a residual block after each halving.
    """
    sizes, dims = halvings(shape[1:]), len(shape) - 1
    channels = [shape[0], *widths(len(sizes) - 1, hidden, dims)]
    layers: list[nn.Module] = []
    for (i, o), (n, m) in zip(pairwise(channels), pairwise(sizes), strict=True):
        layers += [CONVOLUTIONS[dims][0](i, o, **steps(n, m)), nn.ReLU()]
        layers += [Residual(o, dims) for _ in range(residual)]
    return Leading(dims + 1, nn.Sequential(*layers)), (channels[-1], *sizes[-1])


def up(
    shape: Sequence[int], hidden: Sequence[int], levels: int = 1, residual: bool = False
) -> tuple[nn.Module, tuple[int, ...]]:
    """What undoes :func:`down`, ``(..., *features) -> (..., *shape)``, and the shape of the features.

    With several ``levels`` they are one more axis at the end.
    """
    sizes, dims = halvings(shape[1:]), len(shape) - 1
    channels = [shape[0] * levels, *widths(len(sizes) - 1, hidden, dims)]
    layers: list[nn.Module] = []
    for (o, i), (n, m) in reversed(list(zip(pairwise(channels), pairwise(sizes), strict=True))):
        odd: Any = tuple(whole - 2 * part if whole != part else 0 for whole, part in zip(n, m, strict=True))
        layers += [Residual(i, dims) for _ in range(residual)]
        layers += [CONVOLUTIONS[dims][1](i, o, **steps(n, m), output_padding=odd), nn.ReLU()]
    last = [LevelsLast(levels)] if levels > 1 else []
    return Leading(dims + 1, nn.Sequential(*layers[:-1], *last)), (channels[-1], *sizes[-1])


def steps(whole: Sequence[int], half: Sequence[int]) -> dict[str, Any]:
    """Kernel, stride and padding of the convolution that halves some axes and leaves the others."""
    halved = [n != m for n, m in zip(whole, half, strict=True)]
    return {
        "kernel_size": tuple(4 if each else 3 for each in halved),
        "stride": tuple(2 if each else 1 for each in halved),
        "padding": (1,) * len(halved),
    }


class LevelsLast(nn.Module):
    """``(items, channels * levels, *sizes)`` to ``(items, channels, *sizes, levels)``."""

    def __init__(self, levels: int) -> None:
        super().__init__()
        self.levels = levels

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        items, channels, *sizes = x.shape
        return x.reshape(items, channels // self.levels, self.levels, *sizes).movedim(2, -1)
