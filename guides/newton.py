"""Newton: the joint posterior from the model's own log density, climbed from where a network starts."""

from __future__ import annotations

from typing import Any

from torch import nn

from ppvae import Program, dist, handlers, ops, pyro
from ppvae.language.batch import Batch
from ppvae.language.ppl import derivatives, items
from ppvae.language.traces import alone, joint, random_sites

PARTS = (1.0, 0.5, 0.25, 0.1, 0.0)  # of a step, of which the best is taken
FLAT = 1e-6  # of the largest curvature: the least that counts


class Newton(Program):
    """``q(z | x_S) = Normal(z_K, Λ(z_{K-1})⁻¹)``, ``z_{k+1} = z_k + a Λ(z_k)⁻¹ ∇ log p(x_S, z_k)``, z_0 a network's mean.

    Λ is the negative Hessian of ``log p(x_S, z)``, its eigenvalues without their signs; a is the best of a few parts of
    the step. So the guide sees the model, whose present weights it shares and does not move: it is the posterior itself
    where that is normal, whatever the network says, and nearly where it is nearly so. The network is trained apart from
    it, as no gradient flows through the steps. Site ``z`` is ``(items, latent)``.

    Args:
        start: a guide with ``located(batch)``, the means of its posteriors.
        model: whose only latent is a real vector ``z`` an item.
        steps: K.
    """

    def __init__(self, start: Any, model: Program, steps: int = 2) -> None:
        super().__init__()
        self.start, self.model, self.steps = start, model, steps

    def forward(self, batch: Batch) -> Any:
        loc = ops.detach(self.start.located(batch))
        for _ in range(self.steps):
            loc, root = self.step(batch, loc)
        with batch.plate():
            return pyro.sample("z", dist.MultivariateNormal(loc, scale_tril=root))

    def step(self, batch: Batch, loc: Any) -> tuple[Any, Any]:
        """Where a step leads, ``(items, latent)``, and a factor of the covariance where it begins."""
        slope, curvature = derivatives(lambda z: self.level(batch, z), loc)
        widths, axes = ops.linalg.eigh(-curvature)
        widths = ops.maximum(ops.abs(widths), FLAT * ops.abs(widths).amax(-1, keepdim=True))
        whole = ((slope[:, None] @ axes) / widths[:, None]) @ axes.mT
        tried = ops.stack([loc + part * whole[:, 0] for part in PARTS])
        levels = ops.stack([self.level(batch, each) for each in tried])
        best = ops.argmax(ops.nan_to_num(levels, nan=-float("inf")), 0)
        covariance = (axes / widths[:, None]) @ axes.mT
        return ops.take_along_dim(tried, best[None, :, None], 0)[0], ops.linalg.cholesky(covariance)

    def level(self, batch: Batch, z: Any) -> Any:
        """``log p(x_S, z)``, ``(items,)``, out of sight of whoever runs the guide."""
        with handlers.block(), items().enumerating():
            sites = random_sites(self.model, alone(batch), {"z": z})
            return sum(joint(sites, {}).values())
