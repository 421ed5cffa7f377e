"""Newton: the joint posterior from the model's own log density, climbed from where a network starts."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from ppvae import Program, dist, handlers, ops, pyro
from ppvae.language.batch import Batch
from ppvae.language.ppl import derivatives, items
from ppvae.language.traces import alone, joint, random_sites

PARTS = (1.0, 0.5, 0.25, 0.1, 0.0)  # of a step, of which the best is taken
FLAT = 0.5  # of the network's precision: the least that counts in any direction


class Newton(Program):
    """``q(z | x_S) = Normal(z_K, s² Λ(z_{K-1})⁻¹)``, ``z_{k+1} = z_k + a Λ(z_k)⁻¹ ∇ log p(x_S, z_k)``, K steps.

    A network's normal is the start: z_0 is its mean, and its covariance the unit. Λ is the negative Hessian of
    ``log p(x_S, z)``, with eigenvalues of at least 1/2 in that unit; a is the best of a few parts of the step; s is one
    learned number. Where the model's posterior is normal and not much wider than the network's, the guide is that
    posterior with ``s = 1``, wherever the network starts. It shares the model's present weights and does not move them.
    No gradient flows through the steps, so that the network is trained on its own. Site ``z`` is ``(items, latent)``.

    Args:
        start: a guide with ``approximation(batch)``, a ``MultivariateNormal``.
        model: whose only continuous latent is a real vector ``z`` an item.
        steps: K.
    """

    def __init__(self, start: Any, model: Program, steps: int = 2) -> None:
        super().__init__()
        self.start, self.model, self.steps = start, model, steps
        self.log_scale = nn.Parameter(torch.zeros(()))

    def forward(self, batch: Batch) -> Any:
        normal = self.start.approximation(batch)
        loc, unit = ops.detach(normal.loc), ops.detach(normal.scale_tril)
        for _ in range(self.steps):
            loc, root = self.step(batch, loc, unit)
        with batch.plate():
            return pyro.sample("z", dist.MultivariateNormal(loc, scale_tril=ops.exp(self.log_scale) * root))

    def step(self, batch: Batch, loc: Any, unit: Any) -> tuple[Any, Any]:
        """Where a step leads, ``(items, latent)``, and a triangular factor of the covariance where it begins."""
        slope, curvature = (_finite(found) for found in derivatives(lambda z: self.level(batch, z), loc))
        widths, axes = ops.linalg.eigh(-unit.mT @ curvature @ unit)
        root = unit @ (axes / ops.sqrt(ops.clamp(widths, min=FLAT))[:, None])
        step = (root @ (root.mT @ slope[..., None]))[..., 0]
        tried = ops.stack([loc + part * step for part in PARTS])
        levels = ops.stack([self.level(batch, each) for each in tried])
        best = ops.argmax(ops.nan_to_num(levels, nan=-math.inf), 0)
        triangle = ops.linalg.qr(root.mT)[1].mT
        signs = ops.sign(ops.diagonal(triangle, dim1=-2, dim2=-1))
        return ops.take_along_dim(tried, best[None, :, None], 0)[0], triangle * signs[:, None]

    def level(self, batch: Batch, z: Any) -> Any:
        """``log p(x_S, z)``, ``(items,)``, out of sight of whoever runs the guide."""
        with handlers.block(), items().enumerating():
            sites = random_sites(self.model, alone(batch), {"z": z})
            return sum(joint(sites, {}).values())


def _finite(values: Any) -> Any:
    """The values, zero where they are no numbers."""
    return ops.nan_to_num(values, posinf=0.0, neginf=0.0)
