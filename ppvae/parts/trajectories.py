"""Trajectories: a latent path over a grid of times, its prior, and the stretch of it that is seen after a lag."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from ppvae.language.ppl import dist, ops
from ppvae.language.program import Program

MEMORY = 4.0  # steps, at the start


class Reverting(Program):
    """``z_0 ~ N(0, 1)``, ``z_t = ρ z_{t−1} + √(1 − ρ²) ε_t`` of each latent: a random walk that reverts to zero.

    It is a Gaussian process of kernel ``ρ^|s−t|``, ρ = exp(−1 / memory) learned. Paths are ``(latent, times)``.
    """

    neighbours: torch.Tensor

    def __init__(self, latent: int, times: int) -> None:
        super().__init__()
        self.log_memory = nn.Parameter(torch.full((latent,), math.log(MEMORY)))
        steps = torch.arange(times)
        apart = (steps[:, None] - steps).abs() == 1
        self.register_buffer("neighbours", apart.to(torch.get_default_dtype()))

    def forward(self) -> Any:
        """The distribution of a path."""
        precision = self.precision()
        return dist.MultivariateNormal(ops.zeros(precision.shape[:-1]), precision_matrix=precision).to_event(1)

    def precision(self) -> Any:
        """Of each latent over the times, ``(latent, times, times)``: tridiagonal."""
        rho = ops.exp(-ops.exp(-self.log_memory))[:, None, None]
        own = ops.diag_embed(1 + rho[..., 0] ** 2 * (self.neighbours.sum(-1) - 1))
        return (own - rho * self.neighbours) / (1 - rho**2)


def stretches(path: Any, times: int, lags: int) -> Any:
    """What ``times`` readings see of a path at every lag: ``(..., grid, width) -> (..., times, width, lags)``.

    The grid ends with the last reading; a reading sees the path as many steps before as its lag.
    """
    first = path.shape[-2] - times
    return ops.stack([path[..., first - lag : first - lag + times, :] for lag in range(lags)], -1)


def picked(stretches: Any, weights: Any) -> Any:
    """The mean over lags, ``(..., times, width)``, by weights ``(..., lags)``; the one seen for a one-hot weight."""
    return ops.matmul(stretches, weights[..., None, :, None])[..., 0]


def realigned(values: Any, weights: Any, grid: int) -> Any:
    """Readings ``(..., times, width)`` back on the path's grid, ``(..., grid, width)``: zeros where there are none.

    The mean over lags by weights ``(..., lags)``.
    """
    times, width = values.shape[-2:]
    blank = ops.zeros((*values.shape[:-2], grid - times, width), dtype=values.dtype)
    places = [ops.cat([blank[..., lag:, :], values, blank[..., :lag, :]], -2) for lag in range(weights.shape[-1])]
    return picked(ops.stack(places, -1), weights)
