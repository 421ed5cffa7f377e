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
from ppvae.backends.mirror.running.tables import MirrorError

UNASKED: Any = object()  # what torch would say depends on elements, or it has no meta kernel
_META = torch.device("meta")


def asked(function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """Torch's own answer to a call, or ``UNASKED``; constants keep their elements only where torch needs them."""
    with torch._C.DisableTorchFunction(), torch.no_grad():
        for leaf in (_without_elements, _as_it_is):
            try:
                answer = function(*nested(args, leaf), **nested(kwargs, leaf))
                return answer.replace("torch.meta", "torch") if isinstance(answer, str) else answer
            except NotImplementedError:
                continue
            except Exception as error:
                if "meta" not in str(error):
                    raise refused_by_torch(function, error) from error
    return UNASKED


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
