"""State: programs are functions of their parameters, so running them may change nothing that they hold."""

from __future__ import annotations

import torch
from torch import nn

from ppvae.language.statistics import ADVICE, keeps_statistics


def prepared(pair: nn.Module) -> dict[str, torch.Tensor]:
    """Copies of all parameters and buffers of a pair, which is set to train.

    Raises:
        ValueError: a layer keeps running statistics.
    """
    for path, module in pair.named_modules():
        if keeps_statistics(module):
            raise ValueError(f"the layer nn.{type(module).__name__} at {path!r} cannot be trained here; {ADVICE}")
    pair.train()
    return {name: value.detach().clone() for name, value in (*pair.named_parameters(), *pair.named_buffers())}


def check_unchanged(pair: nn.Module, before: dict[str, torch.Tensor]) -> None:
    """Raise ValueError where running the programs has changed a parameter or buffer."""
    for name, value in (*pair.named_parameters(), *pair.named_buffers()):
        if name in before and not torch.equal(value.nan_to_num(), before[name].nan_to_num()):
            path, _, own = name.rpartition(".")
            layer = type(pair.get_submodule(path)).__name__
            raise ValueError(
                f"the layer {layer} at {path!r} changes its {own!r} whenever it runs, which training alone may do: "
                "use a layer that keeps nothing, such as nn.LayerNorm or a parametrization by weight_norm"
            )
