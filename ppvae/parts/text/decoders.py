"""Decoders of texts: networks that give the logits of the next token, from the latent and all tokens before it.

``network.begin(z)`` takes latents ``(n, latent)`` and returns a state: a tensor, or tuples of tensors, whose shapes
stay. ``network(state, before)`` takes tokens ``(n, k)`` that follow those the state has seen, and returns the state
after them and the logits of the tokens that come next, ``(n, k, levels)``. The first token before all others is START.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ppvae.language.tokens import PADDING

EMBEDDED = 32  # numbers of a token
HEADS = 4


class GRUDecoder(nn.Module):
    """A gated recurrent network that starts from the latent, and sees it beside each token."""

    def __init__(self, latent: int, levels: int, width: int = 128) -> None:
        super().__init__()
        self.start = nn.Linear(latent, width)
        self.embedding = nn.Embedding(levels, EMBEDDED)
        self.recurrent = nn.GRU(EMBEDDED + latent, width, batch_first=True)
        self.logits = nn.Linear(width, levels)

    def begin(self, z: Any) -> Any:
        return z, self.start(z).tanh()

    def forward(self, state: Any, before: Any) -> tuple[Any, Any]:
        z, hidden = state
        beside = z[:, None].expand(*before.shape, z.shape[-1])
        seen, last = self.recurrent(torch.cat([self.embedding(before), beside], -1), hidden[None])
        return (z, last[0]), self.logits(seen)


class TransformerDecoder(nn.Module):
    """Causal self-attention over the tokens before, to each of which the latent is added.

    Writing token after token, it reads all places again for each: slower than a recurrent network the longer texts are.
    """

    def __init__(self, latent: int, levels: int, positions: int, width: int = 64, layers: int = 2) -> None:
        super().__init__()
        self.lift = nn.Linear(latent, width)
        self.embedding = nn.Embedding(levels, width)
        self.places = nn.Parameter(torch.randn(positions, width))
        self.blocks = attention(width, layers)
        self.logits = nn.Linear(width, levels)

    def begin(self, z: Any) -> Any:
        seen = torch.full((z.shape[0], self.places.shape[0]), PADDING, device=z.device)
        return z, seen, torch.zeros((), dtype=torch.long, device=z.device)

    def forward(self, state: Any, before: Any) -> tuple[Any, Any]:
        z, seen, count = state
        at = (count + torch.arange(before.shape[1], device=z.device)).expand(before.shape)
        seen = seen.scatter(1, at, before)
        later = torch.ones(seen.shape[1], seen.shape[1], dtype=torch.bool, device=z.device).triu(1)
        hidden = self.blocks(self.embedding(seen) + self.places + self.lift(z)[:, None], mask=later)
        chosen = hidden.gather(1, at[..., None].expand(*at.shape, hidden.shape[-1]))
        return (z, seen, count + before.shape[1]), self.logits(chosen)


def attention(width: int, layers: int) -> nn.Module:
    """Blocks of self-attention and a feed-forward network over ``(n, places, width)``, without dropout."""
    block = nn.TransformerEncoderLayer(width, HEADS, 2 * width, dropout=0.0, batch_first=True, norm_first=True)
    return nn.TransformerEncoder(block, layers, norm=nn.LayerNorm(width), enable_nested_tensor=False)
