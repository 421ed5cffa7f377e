"""Refusals: sentences that say what has no mirror, where it stands, and what to do."""

from __future__ import annotations

import linecache
import sys
from collections.abc import Iterator
from types import FrameType
from typing import Any

import torch
from torch import nn
from torch.overrides import is_tensor_method_or_property

from ppvae.backends.mirror.running.tables import MirrorError
from ppvae.language.statistics import ADVICE, keeps_statistics

OWN = ("ppvae.backends.mirror", "ppvae.language.widening")
PATH = "_mirror_path"  # where a shadow keeps the name of its module in the program


class Refusal(MirrorError):
    """A mirror error that says where in the network it was met."""


class IndexRefusal(Refusal, IndexError):
    """An index out of range, which torch refuses by the same name."""


def layer_error(module: nn.Module, path: str) -> MirrorError:
    """The error for a stock layer that has no mirror."""
    name = f"nn.{type(module).__name__}"
    advice = ADVICE if keeps_statistics(module) else f"register one with @mirror.layer({name})"
    return Refusal(f"the layer {name} at {path!r} has no mirror; {advice}")


def function_error(target: Any) -> MirrorError:
    """The error for a torch function or tensor method (a string or a descriptor) without a rule, called just now."""
    owner = _owner()
    if owner is not None and stock(owner):
        return layer_error(owner, getattr(owner, PATH))
    if isinstance(target, str) or is_tensor_method_or_property(target):
        name = target if isinstance(target, str) else method_name(target)
        return refusal(f"the tensor method {name} has no mirror", f'register one with @mirror.method("{name}")')
    name = function_name(target)
    return refusal(f"the function {name} has no mirror", f"register one with @mirror.function({name})")


def refusal(what: str, advice: str) -> MirrorError:
    """What is refused, in which module, at which line of the network's own code, and what to do."""
    return Refusal(f"{what} {_where()}; {advice}")


def located(target: Any, error: Exception) -> Refusal:
    """The error of a rule, with the place where the rule was called."""
    if isinstance(error, Refusal):
        return error
    if isinstance(error, MirrorError | IndexError):
        kind = IndexRefusal if isinstance(error, IndexError) else Refusal
        return kind(f"{function_name(target)}: {error} (met {_where()})")
    return Refusal(f"{function_name(target)} has no mirror for these arguments {_where()}; write it another way")


def refused_by_torch(target: Any, error: Exception) -> Refusal:
    """What torch itself does not take, in the first sentence of its own words."""
    said = str(error).strip().split("\n")[0].split(" - got")[0].rstrip(". ")
    kind = IndexRefusal if isinstance(error, IndexError) else Refusal
    return kind(f"{function_name(target)} refuses its arguments: {said} (met {_where()})")


def function_name(target: Any) -> str:
    """The name under which a user knows a torch function."""
    name = getattr(target, "__name__", str(target))
    if getattr(torch, name, None) is target:
        return f"torch.{name}"
    if getattr(nn.functional, name, None) is target:
        return f"torch.nn.functional.{name}"
    if is_tensor_method_or_property(target):
        return f"Tensor.{method_name(target)}"
    return f"{(getattr(target, '__module__', None) or 'torch').removeprefix('_')}.{name}"


def method_name(target: Any) -> str:
    """The name of a tensor method, or of the property whose getter is called."""
    name = getattr(target, "__name__", str(target))
    return getattr(target.__self__, "__name__", name) if name == "__get__" else name


def _frames() -> Iterator[FrameType]:
    """The frames of the call, innermost first, without the mirror's own and those that lead to it."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if not frame.f_globals.get("__name__", "").startswith(OWN):
            yield frame
        frame = frame.f_back


def _owner() -> nn.Module | None:
    """The innermost module whose forward is running."""
    for frame in _frames():
        module = frame.f_locals.get("self")
        if isinstance(module, nn.Module) and PATH in module.__dict__:
            return module
    return None


def stock(module: nn.Module) -> bool:
    """Whether a module is one of torch's own."""
    return type(module).__module__.startswith("torch.nn")


def _where() -> str:
    owner = _owner()
    module = "a network" if owner is None else f"{type(owner).__name__} at {getattr(owner, PATH)!r}"
    return f"in {module}, at {_line()}"


def _line() -> str:
    for frame in _frames():
        if not frame.f_globals.get("__name__", "").startswith("torch."):
            name, number = frame.f_code.co_filename, frame.f_lineno
            return f"{name}:{number} `{linecache.getline(name, number).strip()}`"
    return "an unknown line"
