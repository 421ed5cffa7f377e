"""Newton: the joint posterior from the model's own log density, climbed from where a network starts."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from ppvae import Program, dist, handlers, ops, pyro
from ppvae.language.batch import Batch
from ppvae.language.ppl import derivatives, items, iterated
from ppvae.language.traces import alone, joint, random_sites

PARTS = 4  # of a step are tried, each half of the one before
FLAT = 0.5  # of the network's precision: the least that counts in any direction


class Newton(Program):
    """``q(z | x_S) = Normal(z_K, s² Λ(z_{K-1})⁻¹)``, ``z_{k+1} = z_k + a Λ(z_k)⁻¹ ∇ log p(x_S, z_k)``, K steps.

    A network's normal is the start: z_0 is its mean, and its covariance the unit. Λ is the negative Hessian of
    ``log p(x_S, z)``, with eigenvalues of at least 1/2 in that unit; a is the best of 1, 1/2, 1/4, 1/8 and 0; s is one
    learned number. Where the model's posterior is normal and not much wider than the network's, the guide is that
    posterior with ``s = 1``, wherever the network starts. It shares the model's present weights and does not move them.
    No gradient flows through the steps, so that the network is trained on its own. Site ``z`` is ``(items, latent)``.
    After the variational Laplace autoencoders of Park et al. 2019 (https://proceedings.mlr.press/v97/park19a.html), for
    any likelihood.

    >>> from ppvae import Batch, Modality, method
    >>> vae = method("set_encoder", [Modality("image", (784,)), Modality("sound", (20,))], latent=2, family="full")
    >>> tuple(Newton(vae.guide, vae.model)(Batch(size=3)).shape)
    (3, 2)

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
        start, unit = ops.detach(normal.loc), ops.detach(normal.scale_tril)

        def moved(loc: Any) -> Any:
            new, root = self.step(batch, loc, unit)
            return new, ops.cat([new[..., None], root], -1)

        found = iterated(moved, start, self.steps)[-1]
        loc, root = found[..., 0], found[..., 1:]
        with batch.plate():
            return pyro.sample("z", dist.MultivariateNormal(loc, scale_tril=ops.exp(self.log_scale) * root))

    def step(self, batch: Batch, loc: Any, unit: Any) -> tuple[Any, Any]:
        """Where a step leads, ``(items, latent)``, and a triangular factor of the covariance where it begins."""
        slope, curvature = (_finite(found) for found in derivatives(lambda z: self.level(batch, z), loc))
        widths, axes = ops.linalg.eigh(-unit.mT @ curvature @ unit)
        root = unit @ (axes / ops.sqrt(ops.clamp(widths, min=FLAT))[:, None])
        step = (root @ (root.mT @ slope[..., None]))[..., 0]
        triangle = ops.linalg.qr(root.mT)[1].mT
        signs = ops.sign(ops.diagonal(triangle, dim1=-2, dim2=-1))
        return loc + self.part(batch, loc, step)[:, None] * step, triangle * signs[:, None]

    def part(self, batch: Batch, loc: Any, step: Any) -> Any:
        """How much of its step an item goes, ``(items,)``: that of a few parts that leads highest, or nothing."""

        def shorter(part: Any) -> Any:
            return part / 2, self.level(batch, loc + part * step)

        levels = ops.cat([iterated(shorter, ops.ones_like(loc[0, 0]), PARTS), self.level(batch, loc)[None]])
        best = ops.argmax(ops.nan_to_num(levels, nan=-math.inf), 0)
        return ops.where(best < PARTS, 0.5**best, 0.0)

    def level(self, batch: Batch, z: Any) -> Any:
        """``log p(x_S, z)``, ``(items,)``, out of sight of whoever runs the guide."""
        with handlers.block(), items().enumerating():
            sites = random_sites(self.model, alone(batch), {"z": z})
            return sum(joint(sites, {}).values())


def _finite(values: Any) -> Any:
    """The values, zero where they are no numbers."""
    return ops.nan_to_num(values, posinf=0.0, neginf=0.0)
