"""Densities that libraries lack or give wrongly in the tails: Pyro distributions whose logs cancel nowhere."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from pyro.distributions import Logistic, TorchDistribution, Uniform, constraints
from torch import Tensor

NEAR = 0.25  # below this half logit series are exact, and quotients lose digits


class ContinuousBernoulli(TorchDistribution):
    """``p(x) ∝ exp(x y)`` on 0..1, y the logit (Loaiza-Ganem & Cunningham 2019, https://arxiv.org/abs/1907.06845).

    ``log p(x) = (x - 1/2) y + log(a / sinh a)``, ``a = |y| / 2``. The libraries' clamps y to ±16 in single precision.
    """

    arg_constraints: ClassVar[dict[str, Any]] = {}
    support = constraints.unit_interval
    has_rsample = True

    def __init__(self, logits: Tensor) -> None:
        self.logits = logits
        super().__init__(logits.shape, validate_args=False)

    def log_prob(self, value: Tensor) -> Tensor:
        half = self.logits.abs() / 2
        a, square = half.clamp(min=NEAR), half.clamp(max=NEAR) ** 2
        far = (2 * a).log() - (-torch.expm1(-2 * a)).log() - a
        # log(a / sinh a), by its Taylor series up to a ** 10
        near = -square * (1 / 6 - square * (1 / 180 - square * (1 / 2835 - square * (1 / 37800 - square / 467775))))
        return (value - 0.5) * self.logits + torch.where(half < NEAR, near, far)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """By the inverse of the distribution function, from the end where the density is highest."""
        y = self.logits
        rate = y.abs().clamp(min=1e-6)
        u = Uniform(torch.zeros_like(y), torch.ones_like(y)).sample(torch.Size(sample_shape))
        from_end = (-torch.log1p(u * torch.expm1(-rate)) / rate).clamp(0.0, 1.0)
        return torch.where(y > 0, 1 - from_end, from_end)

    @property
    def mean(self) -> Tensor:
        half = self.logits / 2
        a, square = torch.where(half.abs() < NEAR, NEAR, half), half.clamp(-NEAR, NEAR) ** 2
        # (coth a - 1 / a) / 2, by its Taylor series up to a ** 9
        near = half * (1 / 6 - square * (1 / 90 - square * (1 / 945 - square * (1 / 9450 - square / 93555))))
        return 0.5 + torch.where(half.abs() < NEAR, near, (1 / torch.tanh(a) - 1 / a) / 2)


class DiscretisedLogistic(TorchDistribution):
    """A logistic rounded to the whole numbers ``0..top``, which take its tails (Kingma et al. 2016, arXiv:1606.04934).

    ``P(x) = σ((x + 1/2 - loc) / scale) - σ((x - 1/2 - loc) / scale)``, whose log is
    ``log(1 - exp(-1 / scale)) + log σ(upper) + log σ(-lower)``; at an end only the factor that bounds it.
    """

    arg_constraints: ClassVar[dict[str, Any]] = {}

    def __init__(self, loc: Tensor, scale: Tensor, top: float) -> None:
        self.loc, self.scale = torch.broadcast_tensors(loc, scale)
        self.top = top
        super().__init__(self.loc.shape, validate_args=False)

    @property
    def support(self) -> Any:
        return constraints.integer_interval(0, self.top)

    def log_prob(self, value: Tensor) -> Tensor:
        starts, ends = value > 0, value < self.top
        above = torch.where(starts, F.logsigmoid((self.loc - value + 0.5) / self.scale), 0.0)
        below = torch.where(ends, F.logsigmoid((value + 0.5 - self.loc) / self.scale), 0.0)
        return above + below + torch.where(starts & ends, torch.log(-torch.expm1(-1 / self.scale)), 0.0)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        drawn = Logistic(self.loc, self.scale).sample(torch.Size(sample_shape))
        return drawn.round().clamp(0, self.top)

    @property
    def mean(self) -> Tensor:
        """``Σ_{k=1}^{top} P(x >= k)``."""
        edges = torch.arange(1, int(self.top) + 1, dtype=self.loc.dtype, device=self.loc.device) - 0.5
        return torch.sigmoid((self.loc[..., None] - edges) / self.scale[..., None]).sum(-1)
