"""State: programs are functions of their parameters, so they hold all of them, and running them changes none."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from ppvae.language.statistics import ADVICE, keeps_statistics
from ppvae.language.traces import log_prob

Held = dict[str, tuple[torch.Tensor, int]]  # each parameter and buffer, and how often it was written to


def prepared(pair: nn.Module) -> Held:
    """What a pair holds, once it is set to train.

    Raises:
        ValueError: a layer keeps running statistics, or has no weights yet.
    """
    for path, module in pair.named_modules():
        if any(map(is_lazy, module.parameters(recurse=False))):
            raise ValueError(
                f"the layer nn.{type(module).__name__} at {path!r} does not know its size before it runs: say it, as "
                "in nn.Linear(8, 3), or run the program once before training"
            )
        if keeps_statistics(module):
            raise ValueError(f"the layer nn.{type(module).__name__} at {path!r} cannot be trained here; {ADVICE}")
    pair.train()
    return _held(pair)


def check_hooks(pair: nn.Module) -> None:
    """Warn where a weight has a hook for its gradient, which the copy that is trained has not."""
    for name, parameter in pair.named_parameters():
        if parameter._backward_hooks or parameter._post_accumulate_grad_hooks:
            warnings.warn(
                f"the weight {name!r} has a hook for its gradient, which takes no part in training: write what it does "
                "into the program, such as weight * mask",
                UserWarning,
                stacklevel=4,  # the call of fit
            )


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


def check_holds(program: nn.Module, sites: Mapping[str, Any], pair: nn.Module) -> None:
    """Raise ValueError where a program's sites, run with gradients, depend on weights that the pair does not hold."""
    known = {id(parameter) for parameter in pair.parameters()}
    for name, site in sites.items():
        values = [site["value"]]
        with suppress(ValueError, NotImplementedError):  # the check of densities has told it
            values.append(log_prob(site))
        for leaf in _leaves(*values):
            if id(leaf) not in known:
                raise ValueError(
                    f"the site {name!r} of {type(program).__name__} depends on weights of shape {tuple(leaf.shape)} "
                    "that the Program does not hold, so that they would not train: make their network an attribute "
                    "that its text reaches by self, with requires_grad_(False) where it is to stay as it is"
                )


def _leaves(*values: torch.Tensor) -> Iterator[torch.Tensor]:
    """The tensors at which gradients of the values end."""
    waiting, seen = [value.grad_fn for value in values], set()
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if (leaf := getattr(node, "variable", None)) is not None:
            yield leaf
        waiting += [following for following, _ in node.next_functions]


def _held(pair: nn.Module) -> Held:
    return {name: (held, held._version) for name, held in (*pair.named_parameters(), *pair.named_buffers())}
