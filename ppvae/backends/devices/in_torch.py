"""Devices in torch: the one that a run computes on as the default, whose programs never make the host wait for it."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._device import DeviceContext


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
