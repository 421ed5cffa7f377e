"""Items on Pyro: the items plate, and the mask over what was not observed."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import pyro
import torch
from pyro.poutine.messenger import Messenger


@lru_cache(maxsize=64)
def _rows(size: int) -> torch.Tensor:
    return torch.arange(size)


def plate(size: int, total: int) -> Any:
    """``pyro.plate("items", total)``, subsampled to ``size`` rows; no permutation is drawn."""
    return pyro.plate("items", total, subsample=_rows(size), dim=-1)


def float_dtype() -> torch.dtype:
    """The floating dtype that programs run in."""
    return torch.get_default_dtype()


class Holes(Messenger):
    """Masks each observed site named in ``masks``, booleans ``(items,)`` or ``(items, *event)``."""

    def __init__(self, masks: Mapping[str, torch.Tensor]) -> None:
        super().__init__()
        self.masks = masks

    def _pyro_sample(self, msg: Any) -> None:
        mask = self.masks.get(msg["name"]) if msg["is_observed"] else None
        if mask is not None:
            msg["fn"] = masked(msg["fn"], mask, msg["name"])


def masked(fn: Any, mask: Any, site: str) -> Any:
    """The distribution with its density masked per item, or per element of its event."""
    if mask.ndim == 1:
        return fn.mask(mask)
    if getattr(fn, "reinterpreted_batch_ndims", None) != mask.ndim - 1:
        raise ValueError(
            f"site {site!r} has holes within its items, but its elements are not independent; "
            "use .to_event over an element-wise distribution, or mask whole items"
        )
    return fn.base_dist.mask(mask).to_event(mask.ndim - 1)
