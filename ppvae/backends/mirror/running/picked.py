"""Picked: ``x[mask]`` under a mask that is computed, of which nobody knows how many elements it has."""

from __future__ import annotations

from typing import Any, NoReturn

import jax
import torch

from ppvae.backends.mirror.running.refusals import refusal
from ppvae.backends.mirror.running.standin import StandIn


class Picked(StandIn):
    """It can be assigned to the elements of another array under the same mask; all else is refused."""

    def __new__(cls, *_: Any) -> Picked:
        return torch.empty(0, device="meta").as_subclass(cls)

    def __init__(self, whole: jax.Array, mask: jax.Array) -> None:
        self.whole, self.mask = whole, mask
        self.why = refusal("a mask that is computed gives an unknown shape", "use torch.where")  # and where that was

    def placed(self, target: StandIn, mask: Any) -> torch.Tensor:
        """The whole target, with these elements under the mask by which they were picked."""
        if not isinstance(mask, StandIn) or mask.value is not self.mask:
            self._refused()
        return torch.where(mask.reshape(mask.shape + (1,) * (target.ndim - mask.ndim)), StandIn(self.whole), target)

    def _refused(self) -> NoReturn:
        raise self.why

    value = _value = twin = shape = dtype = property(_refused)
