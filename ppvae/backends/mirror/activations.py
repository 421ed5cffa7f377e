"""Activations: every activation layer of ``torch.nn``."""

from __future__ import annotations

import jax
from torch import nn

from ppvae.backends.mirror.parameters import Parameters
from ppvae.backends.mirror.tables import layer


@layer(nn.ReLU)
def relu(module: nn.ReLU, p: Parameters, x: jax.Array) -> jax.Array:
    return jax.nn.relu(x)
