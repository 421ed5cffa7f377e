"""Program: a torch module whose ``forward(batch)`` is a Pyro program, the same text on both backends."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from pickle import PickleError
from types import MappingProxyType, ModuleType
from typing import Any
from urllib.parse import unquote

import torch
from torch import nn
from torch.distributions import Distribution, Transform

from ppvae.language import ppl
from ppvae.language.batch import Batch
from ppvae.language.plates import Layout, around, within


class Program(nn.Module):
    """A generative model, a guide, or a part of one.

    Write ``forward`` with the words of :mod:`ppvae.language.ppl` (``pyro``, ``dist``, ``ops``). On Pyro it runs as it
    stands; on NumPyro the same ``forward`` runs on a mirror of the instance. Declare parameters as ``nn.Parameter`` or
    sub-modules, or by ``pyro.param(name, init, constraint=...)``: the check before training then gives the program an
    ``nn.Parameter``, named ``pyro_params.NAME`` among the weights, that holds the unconstrained value.

    A plate of any name that is as long as the batch, in the last dimension, is ``batch.plate()``. Where the batch has
    holes, observed sites named after a modality are masked there, per item or per element. Called
    by Pyro's own ``SVI``, a program names its parameters to it, as ``pyro.module`` would.

    Attributes:
        conditions: modalities that a model takes as given and does not explain.
        other_plates: names of plates that may be as long as a batch and do not go over its items; the check before
            training finds them.
        plate_layout: where the plates of the pair are that this program is of; the check before training finds it.
        stand_ins: the shapes of the modalities without which the text does not run, though a model takes nothing else
            from them but what it observes, or a guide nothing else for what all items share; zeros then stand for what
            is not there. The check before training finds it.
    """

    conditions: tuple[str, ...] = ()
    other_plates: frozenset[str] = frozenset()
    plate_layout: Layout = Layout()
    stand_ins: Mapping[str, tuple[int, ...]] = MappingProxyType({})

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        batches = [arg for arg in (*args, *kwargs.values()) if isinstance(arg, Batch)]
        if within(batches, self.other_plates):  # what a program holds within is captured with it
            return super().__call__(*args, **kwargs)
        if ppl.backend() == "pyro":
            ppl.items().captured(self)
        plates = around(batches[0] if batches else None, self.other_plates, self.plate_layout)
        with holes(batches), plates, ppl.items().declared(self):
            return super().__call__(*args, **kwargs)

    def __deepcopy__(self, memo: dict[int, Any]) -> Program:
        """A copy, without the graph behind what a transform remembers of its last value.

        Raises:
            ValueError: it holds what has no copy, such as a file.
        """
        for x in (x for module in self.modules() for x in _held(vars(module))):
            if isinstance(x, SHARED) or not x.is_leaf:
                memo[id(x)] = x if isinstance(x, SHARED) else x.detach()
        new = memo[id(self)] = object.__new__(type(self))
        try:
            new.__dict__ = copy.deepcopy(self.__dict__, memo)
        except (TypeError, PickleError) as error:
            raise ValueError(
                f"{type(self).__name__} holds what has no copy ({error}), and programs are copied to be compared: "
                "make it in the text, or outside of the program"
            ) from error
        return new


SHARED = (ModuleType, torch.jit.ScriptFunction)  # which a copy holds as well


def _held(held: Any) -> Iterator[Any]:
    """The tensors, and what copies share, in containers, transforms and distributions, which are no modules."""
    waiting, seen = [held], set()
    while waiting:
        value = waiting.pop()
        if id(value) in seen:  # a transform and its inverse hold each other
            continue
        seen.add(id(value))
        if type(value) is torch.Tensor or isinstance(value, SHARED):  # what stands in for one on NumPyro has no graph
            yield value
        elif isinstance(value, Transform | Distribution):
            waiting.append(vars(value))
        elif isinstance(value, Mapping | list | tuple):
            waiting += value.values() if isinstance(value, Mapping) else value


def holes(batches: Sequence[Batch]) -> Any:
    """The handler that masks what the batches did not observe; a null context without holes."""
    masks = {name: mask for batch in batches for name, mask in batch.masks().items()}
    names = frozenset(name for batch in batches for name in batch.arrays)
    return ppl.items().Holes(masks, names) if masks else nullcontext()


PARAMETERS = "pyro_params"


def parameters(program: nn.Module) -> dict[str, Any]:
    """The unconstrained values of what a program's text has declared by ``pyro.param``, by name."""
    module = program._modules.get(PARAMETERS)
    return {} if module is None else {spelled(name): held for name, held in module._parameters.items()}


def declare(program: nn.Module, name: str, parameter: nn.Parameter) -> None:
    """Give a program the parameter that its text calls ``name``."""
    if PARAMETERS not in program._modules:
        program.add_module(PARAMETERS, nn.Module())
    own = program.get_submodule(PARAMETERS)._parameters
    own[_quoted(name)] = parameter  # register_parameter refuses "type" and others


def forget(program: nn.Module, kept: dict[str, Any]) -> None:
    """Take back what a program has declared, but for what is ``kept``."""
    for name in parameters(program).keys() - kept.keys():
        del program.get_submodule(PARAMETERS)._parameters[_quoted(name)]


def _quoted(name: str) -> str:
    return name.replace("%", "%25").replace(".", "%2E")  # names in weights have no dot


def spelled(name: str) -> str:
    """A parameter's name in the program's text, from its name in weights."""
    return unquote(name)
