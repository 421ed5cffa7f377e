"""Deep exponential family: two layers of gamma variables behind counts (Ranganath et al. 2015, the sparse gamma DEF).

``top ~ Gamma(0.3, 0.3)``, ``bottom | top ~ Gamma(0.3, 0.3 / (top upper))``, ``ink | bottom ~ Poisson(bottom lower)``:
all positive and mostly near zero, so that parts add up. The weights ``upper`` and ``lower``, which all pictures share,
are gamma variables too. The guide's factors are log-normal, a picture's own by a network.

    python examples/deep_exponential_family.py --backend pyro
"""

import torch
import typer
from scipy import stats
from sklearn.datasets import load_digits
from torch import nn

from ppvae import VAE, Batch, Dataset, Program, dist, fit, pyro

TOP, BOTTOM, POINTS, HIDDEN = 8, 24, 64, 128


class Ink(Program):
    """The generative model."""

    def forward(self, batch: Batch) -> None:
        upper = pyro.sample("upper", dist.Gamma(0.3 * torch.ones(TOP, BOTTOM), 0.3).to_event(2))
        lower = pyro.sample("lower", dist.Gamma(0.3 * torch.ones(BOTTOM, POINTS), 0.3).to_event(2))
        with batch.plate():
            top = pyro.sample("top", dist.Gamma(0.3 * torch.ones(TOP), 0.3).to_event(1))
            bottom = pyro.sample("bottom", dist.Gamma(0.3, 0.3 / (top @ upper + 1e-3)).to_event(1))
            pyro.sample("ink", dist.Poisson(bottom @ lower + 1e-3).to_event(1), obs=batch.get("ink"))


class MeanField(Program):
    """``q(upper) q(lower) q(top | ink) q(bottom | ink)``."""

    def __init__(self):
        super().__init__()
        self.network = nn.Sequential(nn.Linear(POINTS, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 2 * (TOP + BOTTOM)))
        self.upper = nn.Parameter(torch.randn(TOP, 2 * BOTTOM) - 1)
        self.lower = nn.Parameter(torch.randn(BOTTOM, 2 * POINTS) - 1)

    def factors(self, raw: torch.Tensor) -> dist.Distribution:
        loc, scale = raw.chunk(2, -1)
        return dist.LogNormal(loc, nn.functional.softplus(scale))

    def forward(self, batch: Batch) -> None:
        pyro.sample("upper", self.factors(self.upper).to_event(2))
        pyro.sample("lower", self.factors(self.lower).to_event(2))
        with batch.plate():
            top, bottom = self.network(batch.get("ink").log1p()).split([2 * TOP, 2 * BOTTOM], -1)
            pyro.sample("top", self.factors(top).to_event(1))
            pyro.sample("bottom", self.factors(bottom).to_event(1))


def data() -> tuple[Dataset, Dataset]:
    """Digits of 8 x 8 points, each of 0 to 16 specks of ink."""
    images, _ = load_digits(return_X_y=True)
    return Dataset({"ink": images}, likelihood={"ink": "poisson"}).split(0.8, seed=0)


def vae() -> VAE:
    """The pair."""
    torch.manual_seed(0)
    return VAE(model=Ink(), guide=MeanField())


def main(backend: str = "numpyro", epochs: int = 100) -> dict[str, float]:
    """Nats a picture that training never saw: by the bound, and with a rate for each point."""
    train, test = data()
    fitted = fit(vae(), train, backend=backend, epochs=epochs, lr=3e-2, schedule="cosine")
    bound = fitted.elbo_and_evidence(test, particles=20)[0].mean()
    rate = train.arrays["ink"].mean(0) + 1e-3
    alone = stats.poisson.logpmf(test.arrays["ink"], rate).sum(-1).mean()
    print(f"held-out nats a picture: at least {bound:.1f}; with a rate for each point {alone:.1f}")
    return {"elbo": float(bound), "baseline": float(alone)}


if __name__ == "__main__":
    typer.run(main)
