"""torch bounds: what losses of several draws are made of."""

from __future__ import annotations

import math

import torch

HALF_LOG_TAU = 0.5 * math.log(2 * math.pi)


def log_normal(z: torch.Tensor, loc: torch.Tensor, log_scale: torch.Tensor) -> torch.Tensor:
    """The log density of a diagonal normal, summed over the last axis."""
    each = 0.5 * ((z - loc) * torch.exp(-log_scale)).square() + log_scale
    return -each.sum(-1) - HALF_LOG_TAU * z.shape[-1]


def doubly_reparameterised(weights: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
    """The bound of log weights ``(..., draws, items)`` of draws ``(..., draws, items, latent)``.

    Its gradient is weighed by each draw's share, and once more on its way to the guide.
    """
    share = weights.detach().softmax(-2)
    z.register_hook(lambda gradient: gradient * share[..., None])
    surrogate = (share * weights).sum(-2)
    bound = weights.detach().logsumexp(-2) - math.log(weights.shape[-2])
    return bound + surrogate - surrogate.detach()
