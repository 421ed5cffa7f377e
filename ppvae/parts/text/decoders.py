"""Decoders of texts: networks that give the logits of the next token, from the latent and all tokens before it.

``network.begin(z)`` takes latents ``(n, latent)`` and returns a state: a tensor, or tuples of tensors, whose shapes
stay. ``network(state, before)`` takes tokens ``(n, k)`` that follow those the state has seen, and returns the state
after them and the logits of the tokens that come next, ``(n, k, levels)``. The first token before all others is START.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

EMBEDDED = 32  # numbers of a token


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
