"""Program: a torch module whose ``forward(batch)`` is a Pyro program, the same text on both backends."""

from __future__ import annotations

import copy
from contextlib import nullcontext
from typing import Any

import torch
from torch import nn

from ppvae.language import ppl
from ppvae.language.batch import Batch


class Program(nn.Module):
    """A generative model, a guide, or a part of one.

    Write ``forward`` with the words of :mod:`ppvae.language.ppl` (``pyro``, ``dist``, ``ops``). On Pyro it runs as it
    stands; on NumPyro the same ``forward`` runs on a mirror of the instance. Declare parameters as ``nn.Parameter`` or
    sub-modules, not with ``pyro.param``.

    Where the batch has holes, observed sites named after a modality are masked there, per item or per element.

    Attributes:
        conditions: modalities that a model takes as given and does not explain.
    """

    conditions: tuple[str, ...] = ()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        with holes(*args, *kwargs.values()):
            return super().__call__(*args, **kwargs)

    def __deepcopy__(self, memo: dict[int, Any]) -> Program:
        """A copy, without the graph behind what a transform remembers of its last value."""
        for module in self.modules():
            held = (
                part for value in vars(module).values() for part in (value if isinstance(value, tuple) else (value,))
            )
            memo |= {id(x): x.detach() for x in held if isinstance(x, torch.Tensor) and not x.is_leaf}
        new = memo[id(self)] = object.__new__(type(self))
        new.__dict__ = copy.deepcopy(self.__dict__, memo)
        return new


def holes(*args: Any) -> Any:
    """The handler that masks what the batch among the arguments did not observe; a null context without holes."""
    masks = {name: mask for arg in args if isinstance(arg, Batch) for name, mask in arg.masks().items()}
    return ppl.items().Holes(masks) if masks else nullcontext()
