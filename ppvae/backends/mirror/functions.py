"""Functions: torch's functions, written over ``jax.numpy``."""

from __future__ import annotations

import operator

import jax
import jax.numpy as jnp
import torch
import torch.nn.functional as F
from torch import fx

from ppvae.backends.mirror.tables import function

for _function in (torch.exp, torch.log, torch.sqrt, torch.where, torch.stack):
    function(_function)(getattr(jnp, _function.__name__))


@function(torch.relu, F.relu)
def relu(input: jax.Array, inplace: bool = False) -> jax.Array:
    return jax.nn.relu(input)


function(operator.eq)(operator.eq)


@function(torch._assert, fx._symbolic_trace._assert_is_none)
def _assert(condition: object, message: str = "") -> None:
    """torch.fx guards fixed arguments with assertions; they were checked when the graph was looked up."""
