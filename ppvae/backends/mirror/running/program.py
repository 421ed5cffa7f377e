"""A program's mirror: what stands in for a torch module, and for what it holds, outside the module's own text."""

from __future__ import annotations

import inspect
from typing import Any

from torch import nn

from ppvae.backends.mirror.running.convert import to_jax
from ppvae.backends.mirror.running.interpret import forward, interpret
from ppvae.backends.mirror.running.parameters import Parameters
from ppvae.backends.mirror.running.shadow import stand_in

_LISTS = (nn.ModuleList, nn.ParameterList)
_DICTS = (nn.ModuleDict, nn.ParameterDict)


class Mirror:
    """A module whose parameters are JAX arrays, and whose text runs on them.

    Called, it runs the module's own ``forward``; so do its methods and properties. Modules within it are mirrors,
    ``ModuleDict`` and ``ModuleList`` dicts and lists of them, parameters and buffers arrays; everything else is the
    module's own.
    """

    def __init__(self, module: nn.Module, p: Parameters) -> None:
        self._module = module
        self._p = p

    @property  # type: ignore[misc]
    def __class__(self) -> Any:  # so that isinstance tells programs apart
        return type(self._module)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return forward(self._module, self._p, *args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        if (array := self._p.get(name)) is not None:
            return array
        found = inspect.getattr_static(type(self._module), name, None)
        if isinstance(found, property):
            return interpret(self._module, self._p, lambda shadow: getattr(shadow, name))
        value = getattr(self._module, name)
        if isinstance(value, nn.Module):
            return mirrored(value, self._p.child(name))
        return self._method(name) if inspect.ismethod(value) else value

    def _method(self, name: str) -> Any:
        def method(*args: Any, **kwargs: Any) -> Any:
            given = stand_in(to_jax((args, kwargs)))
            return interpret(self._module, self._p, lambda shadow: getattr(shadow, name)(*given[0], **given[1]))

        return method

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
