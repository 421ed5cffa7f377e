"""Trajectories: a latent path over a grid of times, its prior, and the stretch of it that is seen after a lag."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from ppvae.language.ppl import dist, distribution, ops
from ppvae.language.program import Program

MEMORY = 4.0  # steps, at the start


def markov(loc: Any, log_keep: Any, scale: Any) -> Any:
    """``z_t − loc_t = keep_t (z_{t−1} − loc_{t−1}) + scale_t ε_t`` of each latent by itself: ``(..., latent, times)``.

    A Gaussian process whose precision is tridiagonal: so is the posterior of one that is read with independent noise.
    There is no linear algebra in it, which JAX would leave to LAPACK. The first ``log_keep``, 0 or less, has no part.
    """
    keep = ops.cat([ops.zeros_like(log_keep[..., :1]), ops.exp(log_keep[..., 1:])], -1)
    noise = dist.Normal(ops.zeros_like(loc), ops.ones_like(loc)).to_event(2)

    def sample(draw: Any) -> Any:
        return loc + carried(keep, scale * draw(noise))

    def log_prob(z: Any) -> Any:
        off = z - loc
        before = ops.cat([ops.zeros_like(off[..., :1]), off[..., :-1]], -1)
        return dist.Normal(keep * before, scale).log_prob(off).sum((-2, -1))

    return distribution(sample, log_prob, loc.shape[:-2], loc.shape[-2:], loc, carried(keep**2, scale**2))


def carried(keep: Any, given: Any) -> Any:
    """``y_t = keep_t y_{t−1} + given_t``, ``(..., times)``, by doubling the reach of a step; the first ``keep`` is 0.

    Hillis and Steele, 1986. All that it multiplies is ``keep``: no gap is a difference of large numbers. Each round is
    copied, or NumPyro would compute it again in every later one.
    """
    reach, times = 1, given.shape[-1]
    while reach < times:
        blank = ops.zeros_like(keep[..., :reach])
        keep, given = (
            keep * ops.cat([blank, keep[..., :-reach]], -1),
            given + keep * ops.cat([blank + ops.zeros_like(given[..., :reach]), given[..., :-reach]], -1),
        )
        keep, given = keep.clone(), given.clone()
        reach *= 2
    return given


class Reverting(Program):
    """``z_0 ~ N(0, 1)``, ``z_t = ρ z_{t−1} + √(1 − ρ²) ε_t`` of each latent: a random walk that reverts to zero.

    It is a Gaussian process of kernel ``ρ^|s−t|``, ρ = exp(−1 / memory) learned.
    """

    def __init__(self, latent: int, times: int) -> None:
        super().__init__()
        self.times = times
        self.log_memory = nn.Parameter(torch.full((latent,), math.log(MEMORY)))

    def forward(self, items: int) -> Any:
        """The distribution of so many paths, ``(items, latent, times)``."""
        blank = ops.zeros((items, len(self.log_memory), self.times), dtype=self.log_memory.dtype)
        log_keep = blank - ops.exp(-self.log_memory)[:, None]
        later = ops.sqrt(-ops.expm1(2 * log_keep[..., 1:]))
        return markov(blank, log_keep, ops.cat([ops.ones_like(blank[..., :1]), later], -1))


def stretches(path: Any, times: int, lags: int) -> Any:
    """What ``times`` readings see of a path at every lag: ``(..., grid, width) -> (..., times, width, lags)``.

    The grid ends with the last reading; a reading sees the path as many steps before as its lag.
    """
    first = path.shape[-2] - times
    return ops.stack([path[..., first - lag : first - lag + times, :] for lag in range(lags)], -1)


def picked(stretches: Any, weights: Any) -> Any:
    """The mean over lags, ``(..., times, width)``, by weights ``(..., lags)``; the one seen for a one-hot weight."""
    return ops.einsum("...twl,...l->...tw", stretches, weights)


def realigned(values: Any, weights: Any, grid: int) -> Any:
    """Readings ``(..., times, width)`` back on the path's grid, ``(..., grid, width)``: zeros where there are none.

    The mean over lags by weights ``(..., lags)``.
    """
    times, width = values.shape[-2:]
    blank = ops.zeros((*values.shape[:-2], grid - times, width), dtype=values.dtype)
    places = [ops.cat([blank[..., lag:, :], values, blank[..., :lag, :]], -2) for lag in range(weights.shape[-1])]
    return picked(ops.stack(places, -1), weights)
