"""Plain Pyro: a pair as two functions of a batch that state their weights by ``pyro.param``, with no engine around."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn
from torch.func import functional_call

from ppvae.backends.pyro_items import stated
from ppvae.inference.plain import Plain
from ppvae.language.batch import Batch
from ppvae.runs.vae import VAE


def programs(vae: VAE) -> Plain:
    """Model, guide and their weights, a copy of the pair's."""
    vae = copy.deepcopy(vae)
    vae.pair.to(torch.empty(()).device, torch.get_default_dtype()).eval()
    trained = {name: p for name, p in vae.pair.named_parameters() if p.requires_grad}
    model, guide = (_stating(vae.pair[role], vae.weights_of(role)) for role in ("model", "guide"))
    return Plain(model, guide, {name: p.detach().clone() for name, p in trained.items()})


def _stating(program: nn.Module, weights: Mapping[str, tuple[str, nn.Parameter]]) -> Callable[[Batch], Any]:
    """The program as a function; ``weights`` are its parameters by name, with their names in the pair."""

    def plain(batch: Batch) -> Any:
        return functional_call(program, {own: stated(full, p) for own, (full, p) in weights.items()}, (batch,))

    plain.__name__ = type(program).__name__
    return plain
