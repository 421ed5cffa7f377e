"""Encoders of texts: networks from tokens ``(..., positions)`` to numbers; what PADDING they see changes nothing."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ppvae.language.tokens import PADDING
from ppvae.parts.text.decoders import EMBEDDED, attention


class GRUEncoder(nn.Module):
    """``(..., positions) -> (..., outputs)`` by a gated recurrent network's state after the last token."""

    def __init__(self, levels: int, outputs: int, width: int = 128) -> None:
        super().__init__()
        self.embedding = nn.Embedding(levels, EMBEDDED)
        self.recurrent = nn.GRU(EMBEDDED, width, batch_first=True)
        self.head = nn.Linear(width, outputs)

    def forward(self, x: Any) -> Any:
        flat = x.reshape(-1, x.shape[-1])
        states, _ = self.recurrent(self.embedding(flat))
        there = (flat != PADDING).long()
        last = (there.cumsum(-1) == there.sum(-1, keepdim=True)) & (there > 0)
        final = torch.where(last[..., None], states, 0.0).sum(1)
        return self.head(final).reshape(*x.shape[:-1], -1)


class TransformerEncoder(nn.Module):
    """``(..., positions) -> (..., outputs)`` by self-attention, read at a place of its own before the first token."""

    def __init__(self, levels: int, outputs: int, positions: int, width: int = 64, layers: int = 2) -> None:
        super().__init__()
        self.summary = nn.Parameter(torch.randn(width))
        self.embedding = nn.Embedding(levels, width)
        self.places = nn.Parameter(torch.randn(positions, width))
        self.blocks = attention(width, layers)
        self.head = nn.Linear(width, outputs)

    def forward(self, x: Any) -> Any:
        flat = x.reshape(-1, x.shape[-1])
        tokens = self.embedding(flat) + self.places[: x.shape[-1]]
        summary = self.summary.expand(flat.shape[0], 1, -1)
        padding = torch.nn.functional.pad(flat == PADDING, (1, 0))
        seen = self.blocks(torch.cat([summary, tokens], 1), src_key_padding_mask=padding)
        return self.head(seen[:, 0]).reshape(*x.shape[:-1], -1)
