"""torch networks: the views of an item as a practised user of torch would write them."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

import torch
import torch.nn.functional as F
from torch import nn
from torch_bounds import HALF_LOG_TAU

from ppvae.language.tokens import PADDING, START


def mlp(*sizes: int) -> nn.Sequential:
    """Linear layers with ReLU between them."""
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(sizes):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


class Normal(nn.Module):
    """A view of numbers: any encoder and decoder, a normal likelihood of a learned scale."""

    def __init__(
        self, encoder: nn.Module, decoder: nn.Module, center: torch.Tensor, spread: torch.Tensor, scales: Sequence[int]
    ) -> None:
        super().__init__()
        self.encoder, self.decoder = encoder, decoder
        self.log_scale = nn.Parameter(torch.zeros(*scales))
        self.register_buffer("center", center)
        self.register_buffer("spread", spread)
        self.register_buffer("constant", spread.log() + HALF_LOG_TAU)

    def seen(self, x: torch.Tensor) -> torch.Tensor:
        """What the networks see."""
        return (x - self.center) / self.spread

    def log_likelihood(self, x: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        """``(..., items)``, given what is seen and latents ``(..., items, latent)``."""
        y = self.decoder(z.flatten(0, -2)).view(*z.shape[:-1], *self.center.shape)
        residual = ((x - y) * torch.exp(-self.log_scale)).flatten(z.ndim - 1)
        return -0.5 * residual.square().sum(-1) - (self.log_scale + self.constant).sum()


class Text(nn.Module):
    """A view of tokens, read and written by GRUs."""

    def __init__(self, latent: int, levels: int, embedded: int, width: int) -> None:
        super().__init__()
        self.encoder, self.decoder = (
            Reader(levels, 2 * latent, embedded, width),
            Writer(latent, levels, embedded, width),
        )

    def seen(self, x: torch.Tensor) -> torch.Tensor:
        """What the networks see."""
        return x.long()

    def log_likelihood(self, x: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        """``(items,)``, given tokens ``(items, positions)`` and latents ``(items, latent)``."""
        logits = self.decoder(z, x)
        return -F.cross_entropy(logits.mT, x, ignore_index=PADDING, reduction="none").sum(-1)


class Reader(nn.Module):
    """The state of a GRU after the last token."""

    def __init__(self, levels: int, outputs: int, embedded: int, width: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(levels, embedded)
        self.recurrent = nn.GRU(embedded, width, batch_first=True)
        self.head = nn.Linear(width, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        states, _ = self.recurrent(self.embedding(x))
        last = (x != PADDING).sum(-1) - 1
        return self.head(states[torch.arange(len(x), device=x.device), last])


class Writer(nn.Module):
    """The logits of each token given the latent and the tokens before it."""

    def __init__(self, latent: int, levels: int, embedded: int, width: int) -> None:
        super().__init__()
        self.start = nn.Linear(latent, width)
        self.embedding = nn.Embedding(levels, embedded)
        self.recurrent = nn.GRU(embedded + latent, width, batch_first=True)
        self.logits = nn.Linear(width, levels)
        never = torch.zeros(levels)
        never[[PADDING, START]] = -torch.inf
        self.register_buffer("never", never)

    def forward(self, z: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        before = F.pad(x[:, :-1], (1, 0), value=START)
        beside = z[:, None].expand(-1, x.shape[1], -1)
        states, _ = self.recurrent(torch.cat([self.embedding(before), beside], -1), self.start(z).tanh()[None])
        return self.logits(states) + self.never


def halved(*sizes: int) -> nn.Sequential:
    """Of pictures 28 pixels wide: three convolutions down to three by three places, then an MLP.

    ``sizes`` are the channels before and after each, and then the widths of the MLP.
    """
    convolutions = [m for i, o in itertools.pairwise(sizes[:4]) for m in (nn.Conv2d(i, o, 4, 2, 1), nn.ReLU())]
    return nn.Sequential(*convolutions, nn.Flatten(), *mlp(9 * sizes[3], *sizes[4:]))


def doubled(*sizes: int) -> nn.Sequential:
    """What undoes it: the widths of the MLP, then the channels."""
    odd = (1, 0, 0)
    layers: list[nn.Module] = [*mlp(*sizes[:-4], 9 * sizes[-4]), nn.ReLU(), nn.Unflatten(1, (sizes[-4], 3, 3))]
    for (i, o), rest in zip(itertools.pairwise(sizes[-4:]), odd, strict=True):
        layers += [nn.ConvTranspose2d(i, o, 4, 2, 1, output_padding=rest), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def copy(to: Iterable[torch.Tensor], source: Iterable[torch.Tensor]) -> None:
    """Copy tensors one by one."""
    with torch.no_grad():
        for a, b in zip(to, source, strict=True):
            a.copy_(b)
