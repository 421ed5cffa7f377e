"""A program's mirror: what stands in for ``self`` when a program's ``forward`` runs on NumPyro."""

from __future__ import annotations

import types
from typing import Any

from torch import nn

from ppvae.backends.mirror.running.interpret import forward
from ppvae.backends.mirror.running.parameters import Parameters
from ppvae.language.program import Program, holes

_LISTS = (nn.ModuleList, nn.ParameterList)
_DICTS = (nn.ModuleDict, nn.ParameterDict)


class Mirror:
    """A module whose parameters are JAX arrays.

    Networks become JAX callables, programs become mirrors, ``ModuleDict`` and ``ModuleList`` dicts and lists of
    them, parameters and buffers arrays; methods and properties are bound to the mirror, and everything else is the
    instance's own.
    """

    def __init__(self, module: nn.Module, p: Parameters) -> None:
        self._module = module
        self._p = p

    @property  # type: ignore[misc]
    def __class__(self) -> Any:  # so that super() and isinstance work in the program's methods
        return type(self._module)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if not isinstance(self._module, Program):
            return forward(self._module, self._p, *args, **kwargs)
        with holes(*args, *kwargs.values()):
            return type(self._module).forward(self, *args, **kwargs)

    def __getitem__(self, key: Any) -> Any:
        index = key % len(self._module) if isinstance(key, int) else key  # type: ignore[arg-type]
        return self.__getattr__(str(index))

    def __getattr__(self, name: str) -> Any:
        if name == "training":
            return self._p.training
        array = self._p.get(name)
        if array is not None:
            return array
        bound = getattr(type(self._module), name, None)
        if isinstance(bound, property):
            return bound.fget(self)  # type: ignore[misc]
        if isinstance(bound, types.FunctionType):
            return types.MethodType(bound, self)
        value = getattr(self._module, name)
        return mirrored(value, self._p.child(name)) if isinstance(value, nn.Module) else value

    def __repr__(self) -> str:
        return f"<mirror of {type(self._module).__name__}>"


def mirrored(module: nn.Module, p: Parameters) -> Any:
    """The mirror of a module, or the dict or list of mirrors of a container."""
    if isinstance(module, _DICTS):
        return {key: _entry(module, key, p) for key in module}
    if isinstance(module, _LISTS):
        return [_entry(module, index, p) for index in range(len(module))]
    return Mirror(module, p)


def _entry(container: Any, key: str | int, p: Parameters) -> Any:
    array = p.get(str(key))
    return mirrored(container[key], p.child(str(key))) if array is None else array
