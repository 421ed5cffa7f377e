"""Statistics: layers that a batch changes as it passes, so that their answer depends on those that went before."""

from __future__ import annotations

from pyro.distributions.transforms import BatchNorm
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm

ADVICE = "it keeps running statistics, which SVI cannot own: use nn.GroupNorm or nn.LayerNorm"


def keeps_statistics(module: nn.Module) -> bool:
    """Whether a norm of torch's or Pyro's depends on the batches that went before, or on the rest of its own."""
    tracks = isinstance(module, _InstanceNorm) and module.track_running_stats
    return tracks or isinstance(module, _BatchNorm | BatchNorm)
