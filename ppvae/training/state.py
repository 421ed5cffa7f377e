"""State: programs are functions of their parameters, so running them may change nothing that they hold."""

from __future__ import annotations

import torch
from torch import nn

from ppvae.language.statistics import ADVICE, keeps_statistics

Held = dict[str, tuple[torch.Tensor, int]]  # each parameter and buffer, and how often it was written to


def prepared(pair: nn.Module) -> Held:
    """What a pair holds, once it is set to train.

    Raises:
        ValueError: a layer keeps running statistics.
    """
    for path, module in pair.named_modules():
        if keeps_statistics(module):
            raise ValueError(f"the layer nn.{type(module).__name__} at {path!r} cannot be trained here; {ADVICE}")
    pair.train()
    return _held(pair)


def check_unchanged(pair: nn.Module, before: Held) -> None:
    """Raise ValueError where running the programs has written to a parameter or buffer, or replaced it."""
    for name, (tensor, version) in _held(pair).items():
        old, count = before.get(name, (tensor, version))
        if tensor is not old or version != count:
            path, _, own = name.rpartition(".")
            layer = type(pair.get_submodule(path)).__name__
            raise ValueError(
                f"the layer {layer} at {path!r} changes its {own!r} whenever it runs, which training alone may do: "
                "use a layer that keeps nothing, such as nn.LayerNorm or a parametrization by weight_norm"
            )


def _held(pair: nn.Module) -> Held:
    return {name: (held, held._version) for name, held in (*pair.named_parameters(), *pair.named_buffers())}
