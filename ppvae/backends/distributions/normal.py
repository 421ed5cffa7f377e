"""Normal: Pyro's normal distribution, whose log density and its gradient take few passes over the data."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from pyro import distributions as dist

HALF_LOG_TAU = 0.5 * math.log(2 * math.pi)


class LogDensity(torch.autograd.Function):
    """``Σ log Normal(value; loc, scale)`` over the last ``dims`` axes; value minus loc has the shape of all three.

    Torch's own writes nine arrays of that shape, and more for the gradient. This writes the residual, which the
    gradient reads again, and its square; what is known of a scale that is broadcast stays as small as that is.
    """

    @staticmethod
    def forward(ctx: Any, value: torch.Tensor, loc: torch.Tensor, scale: torch.Tensor, dims: int) -> torch.Tensor:
        residual = (value - loc).mul_(scale.reciprocal())
        ctx.save_for_backward(value, loc, scale, residual)
        ctx.dims = dims
        square, constant = residual.square(), scale.log() + HALF_LOG_TAU
        if dims:
            axes, shape = tuple(range(-dims, 0)), np.broadcast_shapes(scale.shape, residual.shape[-dims:])
            square, constant = square.sum(axes), constant.expand(shape).sum(axes)
        return square.mul_(-0.5).sub_(constant)

    @staticmethod
    def backward(ctx: Any, slope: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        value, loc, scale, residual = ctx.saved_tensors
        if torch.is_grad_enabled():  # this is to be differentiated again, and the residual knows of no graph
            residual = (value - loc) / scale
        slope = slope.reshape(*slope.shape, *(1,) * ctx.dims)
        along = residual * slope
        to_scale = None
        if ctx.needs_input_grad[2]:
            to_scale = torch.addcmul(-slope, along, residual).sum_to_size(scale.shape) / scale
        up = along / scale
        to_loc = up.sum_to_size(loc.shape) if ctx.needs_input_grad[1] else None
        to_value = -up.sum_to_size(value.shape) if ctx.needs_input_grad[0] else None
        return to_value, to_loc, to_scale, None


class Normal(dist.Normal):
    """Pyro's, but for its log density."""

    def __init__(self, loc: Any, scale: Any, validate_args: bool | None = None) -> None:
        super().__init__(loc, scale, validate_args)
        self.narrow = scale if isinstance(scale, torch.Tensor) else self.scale

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        new = super().expand(batch_shape, self._get_checked_instance(Normal, _instance))
        new.narrow = self.narrow
        return new

    def to_event(self, reinterpreted_batch_ndims: int | None = None) -> Any:
        made = super().to_event(reinterpreted_batch_ndims)
        return made if made is self else Elements(self, made.reinterpreted_batch_ndims)

    def log_prob(self, value: torch.Tensor) -> torch.Tensor:
        return self.summed(value, 0)

    def summed(self, value: torch.Tensor, dims: int) -> torch.Tensor:
        """The log density of values, summed over their last axes."""
        if self._validate_args:
            self._validate_sample(value)
        return LogDensity.apply(value, self.loc, self.narrow, dims)


class Elements(dist.Independent):
    """Normal numbers that are one value together."""

    def log_prob(self, value: torch.Tensor) -> torch.Tensor:
        return self.base_dist.summed(value, self.reinterpreted_batch_ndims)
