"""Bayesian mixture of Gaussians: clusters with priors of their own, who belongs where summed out (Bishop 2006, 10.2).

``weights ~ Dirichlet``, ``loc_k ~ Normal(0, 2)`` and ``scale_k ~ LogNormal(-1/2, 1/2)`` are shared by all items; a wine
is of one kind, given which its 13 measurements are independent. The guide is a mean field over what is shared.

    python examples/mixture.py --backend pyro
"""

import numpy as np
import torch
import typer
from sklearn.datasets import load_wine
from sklearn.metrics import adjusted_rand_score

from ppvae import VAE, Batch, Dataset, Program, dist, fit, pyro

KINDS, FEATURES = 3, 13


class Wines(Program):
    """The generative model."""

    def forward(self, batch: Batch) -> None:
        weights = pyro.sample("weights", dist.Dirichlet(torch.full((KINDS,), 5.0)))
        with pyro.plate("kinds", KINDS):
            loc = pyro.sample("loc", dist.Normal(torch.zeros(FEATURES), 2.0).to_event(1))
            scale = pyro.sample("scale", dist.LogNormal(-0.5 * torch.ones(FEATURES), 0.5).to_event(1))
        with batch.plate():
            kind = pyro.sample("kind", dist.Categorical(weights), infer={"enumerate": "parallel"})
            pyro.sample("wine", dist.Normal(loc[kind], scale[kind]).to_event(1), obs=batch.get("wine"))


class MeanField(Program):
    """``q(weights) q(loc) q(scale)``."""

    def forward(self, batch: Batch) -> None:
        counts = pyro.param("counts", torch.full((KINDS,), 10.0), constraint=dist.constraints.positive)
        loc = pyro.param("loc_loc", lambda: torch.randn(KINDS, FEATURES))
        width = pyro.param("loc_width", 0.1 * torch.ones(KINDS, FEATURES), constraint=dist.constraints.positive)
        log_scale = pyro.param("scale_loc", torch.zeros(KINDS, FEATURES))
        log_width = pyro.param("scale_width", 0.1 * torch.ones(KINDS, FEATURES), constraint=dist.constraints.positive)
        pyro.sample("weights", dist.Dirichlet(counts))
        with pyro.plate("kinds", KINDS):
            pyro.sample("loc", dist.Normal(loc, width).to_event(1))
            pyro.sample("scale", dist.LogNormal(log_scale, log_width).to_event(1))


def data() -> tuple[Dataset, np.ndarray]:
    """Measurements of 178 wines, standardised; and their cultivars, which no program sees."""
    wines, cultivar = load_wine(return_X_y=True)
    return Dataset({"wine": (wines - wines.mean(0)) / wines.std(0)}), cultivar


def vae() -> VAE:
    """The pair."""
    torch.manual_seed(0)
    return VAE(model=Wines(), guide=MeanField())


def main(backend: str = "numpyro", epochs: int = 500) -> dict[str, float]:
    """Agreement of the clusters with the cultivars: 1 where they are the same, 0 by chance."""
    wines, cultivar = data()
    fitted = fit(vae(), wines, backend=backend, epochs=epochs, batch_size=178, lr=2e-2)
    nodes = pyro.poutine.trace(fitted.vae.guide).get_trace(wines.batch()).nodes
    weights, loc, scale = (nodes[site]["fn"].mean for site in ("weights", "loc", "scale"))
    each = dist.Normal(loc, scale).to_event(1).log_prob(torch.as_tensor(wines.arrays["wine"])[:, None])
    kind = (weights.log() + each).argmax(-1)
    agreement = adjusted_rand_score(cultivar, kind)
    print(f"agreement with the cultivars (adjusted Rand index): {agreement:.2f}")
    return {"agreement": float(agreement)}


if __name__ == "__main__":
    typer.run(main)
