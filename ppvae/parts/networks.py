"""Networks: the stock encoders and decoders."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Self

import torch
from torch import nn

from ppvae.language.modality import CATEGORIES, COUNTS, Modality
from ppvae.parts import convolutional
from ppvae.parts.text.decoders import GRUDecoder
from ppvae.parts.text.encoders import GRUEncoder


class Standardise(nn.Module):
    """``(x - center) / spread``, of ``log(1 + x)`` for counts."""

    center: torch.Tensor
    spread: torch.Tensor

    def __init__(self, modality: Modality) -> None:
        super().__init__()
        self.counts = modality.likelihood in COUNTS
        for name, value in units(modality).items():
            self.register_buffer(name, value)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.counts:
            x = torch.log1p(x)
        return (x - self.center) / self.spread


class ByName(nn.ModuleDict):
    """Modules by any names: ``nn.ModuleDict`` refuses those of its own attributes, as ``items`` and ``training``."""

    def __init__(self, modules: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self._modules.update(modules)

    def train(self, mode: bool = True) -> Self:
        """As every module's, but a flag and a module called ``training`` do not get in each other's way."""
        self.__dict__["training"] = mode
        for module in self.children():
            module.train(mode)
        return self


class Categories(nn.Module):
    """Values as the integers that they are."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.long()


class Reshaped(nn.Module):
    """The last ``axes`` axes as ``shape``: ``(..., *axes) -> (..., *shape)``."""

    def __init__(self, axes: int, shape: Sequence[int]) -> None:
        super().__init__()
        self.axes, self.shape = axes, tuple(shape)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.reshape(x.shape[: x.ndim - self.axes] + self.shape)


def units(modality: Modality) -> dict[str, torch.Tensor]:
    """Its center and spread, each of the modality's shape: 0 and 1 where neither declared nor estimated."""
    given = {"center": modality.center, "spread": modality.spread}
    known = {"center": 0.0, "spread": 1.0} | {name: value for name, value in given.items() if value is not None}
    dtype = torch.get_default_dtype()
    return {name: torch.as_tensor(v, dtype=dtype).expand(modality.shape).clone() for name, v in known.items()}


def mlp(inputs: int, hidden: Sequence[int], outputs: int) -> nn.Sequential:
    """Linear layers with ReLU between them: ``(..., inputs) -> (..., outputs)``."""
    sizes = [inputs, *hidden, outputs]
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(sizes):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def encoder(modality: Modality, latent: int, hidden: Sequence[int]) -> nn.Module:
    """``(..., *shape) -> (..., 2 * latent)``: location and log scale of the modality's expert.

    The input is standardised; the modality's own encoder takes the place of the stock one, an MLP or a convolutional
    network, and sees categories as they are.
    """
    if modality.encoder is not None:
        own = _built(modality.encoder, latent, modality, "encoder")
        return nn.Sequential(Categories() if modality.likelihood in CATEGORIES else Standardise(modality), own)
    if modality.kind == "text":
        return nn.Sequential(Categories(), GRUEncoder(modality.levels or 0, 2 * latent, half(latent, hidden)))
    axes, size = len(modality.shape), math.prod(modality.shape)
    if not convolved(modality, hidden):
        return nn.Sequential(Standardise(modality), Reshaped(axes, (size,)), mlp(size, hidden, 2 * latent))
    stack, features = convolutional.down(modality.shape, hidden)
    size = math.prod(features)
    return nn.Sequential(Standardise(modality), stack, Reshaped(axes, (size,)), mlp(size, hidden[1:], 2 * latent))


def decoder(modality: Modality, latent: int, hidden: Sequence[int]) -> nn.Module:
    """``(..., latent) -> (..., *shape)``, with one more axis at the end for a categorical or a mixture."""
    if modality.decoder is not None:
        return _built(modality.decoder, latent, modality, "decoder")
    if modality.likelihood == "autoregressive":
        return GRUDecoder(latent, modality.levels or 0, half(latent, hidden))
    shape = output_shape(modality)
    if not convolved(modality, hidden):
        net = mlp(latent, tuple(hidden)[::-1], math.prod(shape))
        return net if len(shape) == 1 else nn.Sequential(net, Reshaped(1, shape))
    stack, features = convolutional.up(modality.shape, hidden, math.prod(shape[len(modality.shape) :]))
    net = mlp(latent, tuple(hidden[1:])[::-1], math.prod(features))
    return nn.Sequential(net, nn.ReLU(), Reshaped(1, features), stack)


def convolved(modality: Modality, hidden: Sequence[int]) -> bool:
    """Whether its stock networks are convolutional: of pictures, sounds and series of more than a few places.

    Without hidden layers all networks are linear.
    """
    return bool(modality.channelled and hidden and max(modality.shape[1:]) > convolutional.FEW)


def half(latent: int, hidden: Sequence[int]) -> int:
    """Half the last of the hidden layers, but at least the latent: the width of networks that read or write texts."""
    return max([latent, *(size // 2 for size in hidden[-1:])])


def output_shape(modality: Modality) -> tuple[int, ...]:
    """The shape of what a decoder returns for one item."""
    each = {"categorical": modality.levels or 0, "logistic_mixture": 3 * modality.components}
    return (*modality.shape, *(each[m] for m in [modality.likelihood] if m in each))


def _built(make: object, latent: int, modality: Modality, part: str) -> nn.Module:
    net = make(latent) if callable(make) and not isinstance(make, nn.Module) else None
    if not isinstance(net, nn.Module):
        raise TypeError(f"the {part} of modality {modality.name!r} must be a function latent -> torch.nn.Module")
    return net
