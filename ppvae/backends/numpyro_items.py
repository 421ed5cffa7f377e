"""Items on NumPyro: the items plate, and the mask over what was not observed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import jax
import jax.numpy as jnp
import numpyro
from numpyro.primitives import Messenger

from ppvae.backends.pyro_items import masked


@contextmanager
def plate(size: int, total: int) -> Iterator[None]:
    """The items plate over ``size`` rows, scaled by ``total / size``: NumPyro's own would draw a permutation."""
    with numpyro.handlers.scale(scale=total / size), numpyro.plate("items", size, dim=-1):
        yield


def float_dtype() -> Any:
    """The floating dtype that programs run in."""
    return jax.dtypes.canonicalize_dtype(jnp.float64)


class Holes(Messenger):
    """Masks each observed site named in ``masks``, booleans ``(items,)`` or ``(items, *event)``."""

    def __init__(self, masks: Mapping[str, jax.Array]) -> None:
        super().__init__(None)
        self.masks = masks

    def process_message(self, msg: Any) -> None:
        if msg["type"] == "sample" and msg["is_observed"] and msg["name"] in self.masks:
            msg["fn"] = masked(msg["fn"], self.masks[msg["name"]], msg["name"])
