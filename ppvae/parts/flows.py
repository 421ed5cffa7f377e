"""Flows: invertible networks from noise to latents, with the log determinant of their Jacobian."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from ppvae.language.ppl import dist, ops
from ppvae.language.program import Program
from ppvae.parts import networks

BOUND = 3.0  # largest absolute log scale of a layer


class Flow(Program):
    """Affine couplings: ``z_i ← z_i exp(s_i(z_kept, context)) + t_i(z_kept, context)``, half of z in each layer.

    RealNVP (Dinh et al. 2017, https://arxiv.org/abs/1605.08803) over vectors: even and odd elements are moved in turn,
    log scales are kept within ±3. Every layer starts as the identity. A single latent is moved by all layers, from
    the context alone.

    ``forward(noise, context=None)`` returns z and ``log |det dz/dnoise|``, ``inverse(z, context=None)`` noise and
    ``log |det dnoise/dz|``: vectors are ``(..., latent)``, determinants ``(...)``. A context ``(..., context)`` has the
    trailing batch dimensions of the vectors.
    """

    moved: torch.Tensor

    def __init__(self, latent: int, context: int = 0, layers: int = 4, hidden: Sequence[int] = (64, 64)) -> None:
        super().__init__()
        turns = (torch.arange(latent) + torch.arange(layers)[:, None]) % 2 if latent > 1 else torch.ones(layers, 1)
        self.register_buffer("moved", turns.to(torch.get_default_dtype()))
        self.networks = nn.ModuleList(
            [_still(networks.mlp(latent + context, hidden, 2 * latent)) for _ in range(layers)]
        )

    def forward(self, noise: Any, context: Any = None) -> tuple[Any, Any]:
        z, log_det = noise, 0.0
        for layer in range(len(self.networks)):
            shift, log_scale = self.coupling(layer, z, context)
            z, log_det = z * ops.exp(log_scale) + shift, log_det + log_scale.sum(-1)
        return z, log_det

    def inverse(self, z: Any, context: Any = None) -> tuple[Any, Any]:
        noise, log_det = z, 0.0
        for layer in reversed(range(len(self.networks))):
            shift, log_scale = self.coupling(layer, noise, context)
            noise, log_det = (noise - shift) * ops.exp(-log_scale), log_det - log_scale.sum(-1)
        return noise, log_det

    def coupling(self, layer: int, z: Any, context: Any) -> tuple[Any, Any]:
        """Shift and log scale of a layer, ``(..., latent)``: zero for what it keeps, from which they are computed."""
        moved = self.moved[layer]
        seen = z * (1.0 - moved)
        if context is not None:
            seen = ops.cat([seen, context + ops.zeros_like(z[..., :1])], -1)
        shift, raw = ops.split(self.networks[layer](seen), z.shape[-1], -1)
        return moved * shift, moved * BOUND * ops.tanh(raw / BOUND)


class ExpertFlow(Program):
    """``z = loc + scale * flow(noise)``, ``noise ~ Normal(0, I)``: an expert that need not be Gaussian.

    Location and scale ``(..., latent)`` are also the flow's context. ``forward(noise, loc, scale)`` returns z.
    """

    def __init__(self, latent: int, layers: int = 4, hidden: Sequence[int] = (64, 64)) -> None:
        super().__init__()
        self.flow = Flow(latent, 2 * latent, layers, hidden)

    def forward(self, noise: Any, loc: Any, scale: Any) -> Any:
        return loc + scale * self.flow(noise, ops.cat([loc, ops.log(scale)], -1))[0]

    def log_prob(self, z: Any, loc: Any, scale: Any) -> Any:
        """The density of z, ``(..., latent) -> (...)``."""
        noise, log_det = self.flow.inverse((z - loc) / scale, ops.cat([loc, ops.log(scale)], -1))
        return dist.Normal(0.0, 1.0).log_prob(noise).sum(-1) + log_det - ops.log(scale).sum(-1)


def _still(network: nn.Sequential) -> nn.Sequential:
    """The network with a last layer of zeros."""
    for parameter in network[-1].parameters():
        nn.init.zeros_(parameter)
    return network
