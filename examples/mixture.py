"""Bayesian mixture of Gaussians: clusters with priors of their own, who belongs where summed out (Bishop 2006, 10.2).

``weights ~ Dirichlet``, ``loc_k ~ Normal(0, 2)`` and ``scale_k ~ LogNormal(-1/2, 1/2)`` are shared by all items; a wine
is of one kind, given which its 13 measurements are independent. The guide is a mean field over what is shared.

    python examples/mixture.py --backend pyro
"""

import torch
import typer
from sklearn.datasets import load_wine
from sklearn.metrics import adjusted_rand_score
from torch import nn

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

    def __init__(self):
        super().__init__()
        self.counts = nn.Parameter(torch.zeros(KINDS))
        self.loc, self.loc_width = (
            nn.Parameter(torch.randn(KINDS, FEATURES)),
            nn.Parameter(torch.full((KINDS, FEATURES), -2.0)),
        )
        self.log_scale, self.scale_width = (
            nn.Parameter(torch.zeros(KINDS, FEATURES)),
            nn.Parameter(torch.full((KINDS, FEATURES), -2.0)),
        )

    def forward(self, batch: Batch) -> None:
        pyro.sample("weights", dist.Dirichlet(10 * self.counts.exp()))
        with pyro.plate("kinds", KINDS):
            pyro.sample("loc", dist.Normal(self.loc, self.loc_width.exp()).to_event(1))
            pyro.sample("scale", dist.LogNormal(self.log_scale, self.scale_width.exp()).to_event(1))


def data() -> tuple[Dataset, Dataset]:
    """Measurements of 178 wines, standardised; the cultivar is a label, which no program sees."""
    wines, cultivar = load_wine(return_X_y=True)
    whole = Dataset({"wine": (wines - wines.mean(0)) / wines.std(0)}, labels={"cultivar": cultivar})
    return whole, whole


def vae() -> VAE:
    """The pair."""
    torch.manual_seed(0)
    return VAE(model=Wines(), guide=MeanField())


def main(backend: str = "numpyro", epochs: int = 500) -> dict[str, float]:
    """Agreement of the clusters with the cultivars: 1 where they are the same, 0 by chance."""
    train, _ = data()
    fitted = fit(vae(), train, backend=backend, epochs=epochs, batch_size=178, lr=2e-2)
    guide = fitted.vae.guide
    fn = dist.Normal(guide.loc, guide.log_scale.exp()).to_event(1)
    kind = (fn.log_prob(torch.as_tensor(train.arrays["wine"])[:, None]) + guide.counts).argmax(-1)
    agreement = adjusted_rand_score(train.labels["cultivar"], kind)
    print(f"agreement with the cultivars (adjusted Rand index): {agreement:.2f}")
    return {"agreement": float(agreement)}


if __name__ == "__main__":
    typer.run(main)
