"""Devices in torch: the one that a process computes on, which never makes the host wait, and what several add up."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils._device import DeviceContext

from ppvae.backends.devices import processes
from ppvae.language.batch import Batch
from ppvae.runs import launch

CPU = torch.device("cpu")


def device(name: str) -> torch.device:
    """The torch device for ``auto``, ``cpu``, ``cuda`` or ``gpu``; each process of a host has a GPU."""
    if name == "cpu" or (name == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise ValueError(f"device {name!r} was asked for, but torch sees no GPU; use device='auto'")
    return torch.device("cuda", launch.local_rank()) if processes.joined() else torch.device("cuda")


@contextmanager
def defaults(kind: torch.dtype, place: torch.device = CPU) -> Iterator[None]:
    """What torch makes within the block is of this dtype and on the device, can be differentiated, and is not cast.

    So it is on either backend, whatever a caller has set by ``set_default_dtype``, ``set_default_device``, ``no_grad``,
    ``inference_mode`` or ``autocast``.
    """
    before = torch.get_default_dtype()
    with ExitStack() as stack:
        if not torch.is_grad_enabled():  # each of these slows every call of torch
            stack.enter_context(torch.inference_mode(False))
        for type_ in filter(torch.is_autocast_enabled, ("cpu", "cuda")):
            stack.enter_context(torch.autocast(type_, enabled=False))
        if place.type != "cpu":
            stack.enter_context(Resident(place))
        elif torch.get_default_device().type != "cpu":
            stack.enter_context(place)
        torch.set_default_dtype(kind)
        stack.callback(torch.set_default_dtype, before)
        yield


def rows_of(batch: Batch, rows: Any) -> Batch:
    """Some rows of a batch, which speak for as many items as it."""
    index = None if batch.index is None else batch.index[rows]
    here, seen = ({name: array[rows] for name, array in held.items()} for held in (batch.arrays, batch.observed or {}))
    return replace(batch, arrays=here, observed=seen, index=index, size=-1)


def averaged(
    parameters: Sequence[nn.Parameter], shares: dict[str, torch.Tensor], weight: float
) -> dict[str, torch.Tensor]:
    """The shares of the whole batch, whose gradient is then at the parameters, from those of each process's items.

    ``weight`` is the share of the batch that this process's items are. A parameter that has no gradient anywhere has
    none afterwards. All of this is one sum over the processes.
    """
    there = [p.grad is not None for p in parameters]
    gradients = [(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in parameters]
    names = sorted(shares)
    numbers = [
        torch.stack([shares[name] for name in names]),
        *gradients,
        torch.tensor(there, dtype=torch.get_default_dtype()),
    ]
    told, *summed, known = processes.summed(torch.cat(numbers) * weight).split([len(each) for each in numbers])
    anywhere = there if all(there) else (known > 0).tolist()  # which the host would wait for
    for parameter, gradient, any_ in zip(parameters, summed, anywhere, strict=True):
        parameter.grad = gradient.view_as(parameter) if any_ else None
    return dict(zip(names, told, strict=True))


class Resident(DeviceContext):
    """What torch makes within this context is on the device, without a wait where torch itself would wait.

    ``torch.tensor`` copies numbers from the host, as every ``Normal(0.0, 1.0)`` asks for, and ``torch.normal`` looks at
    its scales from the host; both have twins that do the same on the device alone.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.tensor and type(args[0]) in (bool, int, float):
            func, args = torch.full, ((), args[0])
        elif func is torch.normal and len(args) == 2 and not kwargs and all(isinstance(x, torch.Tensor) for x in args):
            func = _normal
        return super().__torch_function__(func, types, args, kwargs)


def _normal(loc: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """Draws of normal distributions, without gradients."""
    loc, scale = torch.broadcast_tensors(loc.detach(), scale.detach())
    return torch.randn(loc.shape, dtype=loc.dtype, device=loc.device) * scale + loc


def seed(*entropy: int) -> None:
    """Seed torch from a tuple of integers; every step has a seed of its own, so that a run resumes anywhere."""
    word = int(np.random.SeedSequence(entropy).generate_state(1)[0])
    torch.default_generator.manual_seed(word)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed(word)
