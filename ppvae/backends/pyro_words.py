"""The words on Pyro: Pyro itself, and torch's functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import pyro as pyro
import pyro.distributions as dist
import pyro.poutine as handlers
import torch
import torch.nn.functional as F

__all__ = ["dist", "distribution", "handlers", "ops", "pyro"]

Shape = tuple[int, ...]
Sampler = Callable[[Callable[[Any], Any]], Any]
Density = Callable[[Any], Any]


class _Ops:
    """``torch.NAME``, or ``torch.nn.functional.NAME`` where torch itself has none."""

    def __getattr__(self, name: str) -> Any:
        return getattr(torch if hasattr(torch, name) else F, name)

    def __dir__(self) -> list[str]:
        return sorted({*dir(torch), *dir(F)})


ops = _Ops()


class Written(dist.TorchDistribution):
    """A distribution written as two functions; see :func:`ppvae.ppl.distribution`."""

    arg_constraints: ClassVar[dict[str, Any]] = {}
    has_rsample = True

    def __init__(self, sample: Sampler, log_prob: Density, batch_shape: Shape, event_shape: Shape) -> None:
        self._sampler, self._density = sample, log_prob
        super().__init__(torch.Size(batch_shape), torch.Size(event_shape), validate_args=False)

    @property
    def support(self) -> Any:
        return dist.constraints.independent(dist.constraints.real, self.event_dim)

    def rsample(self, sample_shape: Any = ()) -> torch.Tensor:
        return self._sampler(lambda d: d(torch.Size(sample_shape)))

    def log_prob(self, value: torch.Tensor) -> torch.Tensor:
        return self._density(value)


def distribution(sample: Sampler, log_prob: Density, batch_shape: Shape, event_shape: Shape) -> Written:
    """See :func:`ppvae.ppl.distribution`."""
    return Written(sample, log_prob, batch_shape, event_shape)
