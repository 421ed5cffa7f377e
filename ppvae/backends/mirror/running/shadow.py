"""Shadows: copies of a module tree whose parameters are stand-ins, on which the network's own ``forward`` runs.

The module itself is never touched: what ``forward`` sets on itself, and the training flag, live on the shadow.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from types import MethodType
from typing import Any
from weakref import ReferenceType, ref

import torch
from torch import nn
from torch.distributions import Transform
from torch.nn.utils.parametrize import is_parametrized

from ppvae.backends.mirror.running.convert import nested
from ppvae.backends.mirror.running.dispatch import is_array
from ppvae.backends.mirror.running.parameters import Parameters
from ppvae.backends.mirror.running.refusals import PATH, layer_error, stock
from ppvae.backends.mirror.running.standin import StandIn, interpreter
from ppvae.backends.mirror.running.tables import MirrorError, layer_rule
from ppvae.backends.mirror.running.twin import leaves
from ppvae.language.batch import Batch
from ppvae.language.statistics import keeps_statistics

TORCHS = frozenset(vars(nn.Module()))  # attributes that torch itself keeps


class Shadows:
    """The shadows of one call: one for each module, and one stand-in for each of their tensors."""

    def __init__(self, p: Parameters) -> None:
        self.training = p.training
        self.modules: dict[int, Any] = {}
        self.tensors: dict[int, StandIn] = {}

    def of(self, module: nn.Module, p: Parameters) -> Any:
        """The shadow of a module, whose parameters are those of ``p``; of what was compiled that of the original."""
        if isinstance(original := vars(module).get("_modules", {}).get("_orig_mod"), nn.Module):
            return self.of(original, p.child("_orig_mod"))
        if id(module) not in self.modules:
            _check(module, p)
            self.modules[id(module)] = shadow = object.__new__(type(module))
            shadow.__dict__.update(self._state(module, p))
        return self.modules[id(module)]

    def check_state(self) -> None:
        """Raise if ``forward`` has replaced a parameter or buffer: its change would be lost with the shadow."""
        for shadow in self.modules.values():
            for name, tensor in (shadow._parameters | shadow._buffers).items():
                if isinstance(tensor, StandIn) and not tensor.memory.fixed:
                    where = f"{type(shadow).__name__} at {shadow.__dict__[PATH]!r}"
                    raise MirrorError(f"the forward of {where} replaces its {name!r}, which training alone may change")

    def _state(self, module: nn.Module, p: Parameters) -> dict[str, Any]:
        state = dict(module.__dict__)
        for kind in ("_parameters", "_buffers"):
            state[kind] = {name: self._tensor(name, tensor, p) for name, tensor in state[kind].items()}
        children = module._modules.items()
        state["_modules"] = {name: None if m is None else self.of(m, p.child(name)) for name, m in children}
        state |= {name: self._led_back(held) for name, held in state.items() if name not in TORCHS}
        if isinstance(module, Transform):
            state["_inv"] = None  # it would lead to the module itself
        state |= {"training": self.training, PATH: p.prefix.rstrip(".")}
        rule = None if module.__dict__.get("_pyro_samples") else layer_rule(module)
        return state if rule is None else state | {"forward": partial(_run_leaf, rule, module, p)}

    def _tensor(self, name: str, tensor: torch.Tensor | None, p: Parameters) -> Any:
        array = None if tensor is None else p.get(name)
        if array is None:
            return tensor
        found = self.tensors.setdefault(id(tensor), StandIn(array, fixed=f"{p.prefix}{name}"))
        found._is_param = isinstance(tensor, nn.Parameter)  # by which isinstance tells, and get_parameter
        found.origin = None if found._is_param else tensor
        return found

    def _led_back(self, value: Any) -> Any:
        """What the module keeps as an attribute, such as a list of modules, with their shadows in their places."""
        if type(value) not in (list, tuple, dict):
            return self._rebound(value)
        new = nested(value, self._rebound)
        return value if all(one is other for one, other in zip(leaves(new), leaves(value), strict=True)) else new

    def _rebound(self, held: Any) -> Any:
        """A module, or a method of one, alone, weakly held or within a handler's partial, on its shadow."""
        if isinstance(held, ReferenceType):
            found = self.modules.get(id(held()))
            return held if found is None else ref(found)
        if isinstance(held, partial):
            function = partial.func.__get__(held)  # Pyro's own kind of partial has another under this name
            bound = partial(self._rebound(function), *map(self._rebound, held.args), **held.keywords)
            return partial(bound) if type(held) is partial else type(held)(bound)
        if isinstance(held, MethodType) and id(held.__self__) in self.modules:
            return MethodType(held.__func__, self.modules[id(held.__self__)])
        return self.modules.get(id(held), held)


def _check(module: nn.Module, p: Parameters) -> None:
    path = p.prefix.rstrip(".")
    rule = layer_rule(module)
    if rule is None and keeps_statistics(module):
        raise layer_error(module, path)
    if isinstance(module, torch.jit.ScriptModule):
        raise MirrorError(f"the compiled torch.jit module at {path!r} has no mirror; use the module it was made of")
    if rule is not None and vars(module).get("_pyro_params"):
        raise MirrorError(f"the layer {type(module).__name__} at {path!r} has a mirror, its PyroParam has not")
    if rule is not None and is_parametrized(module):
        raise MirrorError(f"the layer nn.{type(module).__name__} at {path!r} has a mirror, its parametrization has not")


def _run_leaf(rule: Any, module: nn.Module, p: Parameters, *args: Any, **kwargs: Any) -> Any:
    def layer(*_: Any, **__: Any) -> Any:
        raise NotImplementedError("torch is not asked: a recurrent layer would run step by step")

    def computed(*args: Any, **kwargs: Any) -> Any:
        given = [leaf for leaf in leaves([args, kwargs]) if is_array(leaf)]
        own = [p[name] for name, tensor in module._parameters.items() if tensor is not None]
        kinds = {array.dtype.name for array in [*given, *own] if array.dtype.kind == "f"}
        if stock(module) and len(kinds) > 1:
            raise MirrorError(f"it takes arrays of one dtype, not of {' and '.join(sorted(kinds))}")
        return rule(module, p, *args, **kwargs)

    layer.__name__, layer.__module__ = type(module).__name__, "nn"
    return interpreter.get().run(layer, computed, args, kwargs)


def stand_in(value: Any) -> Any:
    """The arrays inside ``value``, and inside the batches there, as stand-ins."""
    return nested(value, _stand_in)


def _stand_in(leaf: Any) -> Any:
    if isinstance(leaf, Batch):
        return replace(leaf, **{name: stand_in(getattr(leaf, name)) for name in ("arrays", "observed", "index")})
    return StandIn(leaf) if is_array(leaf) else leaf
