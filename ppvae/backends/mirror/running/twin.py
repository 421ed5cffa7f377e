"""Twins: what torch itself makes of a call, asked of tensors that have a shape and a dtype and no elements.

Before a rule runs, torch's own function runs on the meta device. What it refuses is refused; the shape, dtype and
structure of its answer are those of the rule's; what holds no tensor (sizes, dtypes, flags) is the answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch

from ppvae.backends.mirror.running.convert import dtype, nested, torch_dtype
from ppvae.backends.mirror.running.refusals import refused_by_torch
from ppvae.backends.mirror.running.standin import StandIn
from ppvae.backends.mirror.running.tables import UNLIKE, MirrorError

UNASKED: Any = object()  # what torch would say depends on elements, or it has no meta kernel
_META = torch.device("meta")
_ANSWERS: dict[Any, Any] = {}
_PLAIN = (bool, int, float, complex, str, torch.dtype, torch.layout, torch.memory_format, type(None), type(Ellipsis))


def asked(function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """Torch's own answer to a call, or ``UNASKED``; constants keep their elements only where torch needs them.

    An answer that is new memory depends on nothing but shapes, strides, dtypes and numbers: torch is asked once.
    """
    if function in UNLIKE:
        return UNASKED
    with torch._C.DisableTorchFunction(), torch.no_grad():
        question = _question(function, args, kwargs)
        if question in _ANSWERS:
            return _again(_ANSWERS[question])
        for leaf in (_without_elements, _as_it_is):
            try:
                answer = function(*nested(args, leaf), **nested(kwargs, leaf))
            except NotImplementedError:
                continue
            except Exception as error:
                if "meta" not in str(error):
                    raise refused_by_torch(function, error) from error
                continue
            if leaf is _without_elements and question is not None and _is_new(answer, (args, kwargs)):
                _ANSWERS[question] = answer
            return answer.replace("torch.meta", "torch") if isinstance(answer, str) else answer
    return UNASKED


def _question(function: Any, args: Any, kwargs: Any) -> Any:
    """What an answer depends on; None where that is more than can be told, or where arguments are changed."""
    name = getattr(function, "__qualname__", getattr(function, "__name__", "<"))
    if "<" in name or (name.endswith("_") and not name.endswith("__")) or kwargs.get("inplace"):
        return None
    try:
        return function, torch.get_default_dtype(), _told(args), _told(kwargs)
    except TypeError:
        return None


def _told(value: Any) -> Any:
    if isinstance(value, StandIn):
        twin = value.twin
        return twin.dtype, twin.size(), twin.stride()
    if isinstance(value, torch.Tensor):
        return "constant", value.dtype, value.size(), value.stride()
    if isinstance(value, jax.Array | np.ndarray):
        return "array", value.dtype, value.shape
    if isinstance(value, _PLAIN):
        return type(value), value
    if isinstance(value, slice):
        return slice, _told((value.start, value.stop, value.step))
    if isinstance(value, (list, tuple)):
        return type(value), tuple(map(_told, value))
    if isinstance(value, dict):
        return tuple((name, _told(item)) for name, item in value.items())
    raise TypeError("other objects may be asked for anything")


def _is_new(answer: Any, given: Any) -> bool:
    """Does an answer consist of tensors that share no memory, with each other or what was given?"""
    if any(tensor.layout != torch.strided for tensor in tensors(answer)):
        return False
    found = [tensor.untyped_storage()._cdata for tensor in tensors(answer)]
    known = {leaf.twin.untyped_storage()._cdata for leaf in leaves(given) if isinstance(leaf, StandIn)}
    return 0 < len(found) == len({*found} - known)


def _again(answer: Any) -> Any:
    new = (torch.empty_strided(t.size(), t.stride(), dtype=t.dtype, device="meta") for t in tensors(answer))
    return replaced(answer, new)


def leaves(value: Any) -> Iterator[Any]:
    """The leaves of a nest of lists, tuples and dicts."""
    if isinstance(value, (list, tuple, dict)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from leaves(item)
    else:
        yield value


def _without_elements(leaf: Any) -> Any:
    constant = isinstance(leaf, torch.Tensor) and not isinstance(leaf, StandIn)
    return leaf.detach().to(_META) if constant else _as_it_is(leaf)


def _as_it_is(leaf: Any) -> Any:
    if isinstance(leaf, jax.Array | np.ndarray):
        return StandIn(jnp.asarray(leaf)).twin
    if isinstance(leaf, StandIn):
        return leaf.twin
    return _META if isinstance(leaf, torch.device) else leaf


def tensors(answer: Any) -> Iterator[torch.Tensor]:
    """The tensors of an answer, in order."""
    if isinstance(answer, torch.Tensor):
        yield answer
    elif isinstance(answer, (list, tuple)):
        for part in answer:
            yield from tensors(part)


def replaced(answer: Any, replacements: Iterator[Any]) -> Any:
    """The answer, with something else for each of its tensors."""
    if isinstance(answer, torch.Tensor):
        return next(replacements)
    if not isinstance(answer, (list, tuple)) or isinstance(answer, torch.Size):
        return answer
    parts = [replaced(part, replacements) for part in answer]
    return type(answer)(*parts) if hasattr(answer, "_fields") else type(answer)(parts)


def fitted(array: Any, twin: torch.Tensor) -> jax.Array:
    """A rule's array in the dtype of torch's answer, whose shape and layout it must have."""
    if jnp.shape(array) != tuple(twin.shape) or twin.layout != torch.strided:
        raise MirrorError(f"its rule gives shape {jnp.shape(array)}, and torch {tuple(twin.shape)} ({twin.layout})")
    return jax.lax.convert_element_type(array, dtype(twin.dtype))


def standing(array: jax.Array, twin: torch.Tensor, inputs: Iterable[Any], live: bool) -> StandIn:
    """The stand-in of an array: an input itself if torch returns it, with the memory of the one it is a view of."""
    owner = viewed(twin, inputs)
    if owner is None:
        with torch._C.DisableTorchFunction():
            return StandIn(array, twin.to(torch_dtype(array.dtype)) if twin.is_floating_point() else twin)
    return owner if owner.twin is twin else StandIn(array, twin, owner.memory, live and owner.live)


def viewed(twin: torch.Tensor, inputs: Iterable[Any]) -> StandIn | None:
    """The input that an answer of torch's is, or is a view of."""
    with torch._C.DisableTorchFunction():
        storage = twin.untyped_storage()._cdata
        known = [leaf for leaf in inputs if isinstance(leaf, StandIn) and leaf.twin.dtype == twin.dtype]
        shared = [k for k in known if k.twin.untyped_storage()._cdata == storage]
    return next((k for k in shared if k.twin is twin), next(iter(shared), None))
