"""Linear maps: ``Linear``."""

from __future__ import annotations

import jax
from torch import nn

from ppvae.backends.mirror.parameters import Parameters
from ppvae.backends.mirror.tables import layer


@layer(nn.Linear)
def linear(module: nn.Linear, p: Parameters, x: jax.Array) -> jax.Array:
    """``x @ weight.T + bias`` over the last axis."""
    y = x @ p["weight"].T
    bias = p.get("bias")
    return y if bias is None else y + bias
