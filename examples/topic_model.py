"""Topic model: documents mix topics, topics are distributions over words (Blei et al. 2003), inferred by a network.

``theta ~ Dirichlet(1/2)``, ``words | theta ~ Multinomial(80, theta topics)``: latent Dirichlet allocation with each
word's own topic summed out, and a guide that reads the whole document (Srivastava & Sutton 2017). The data are the bars
of Griffiths & Steyvers (2004): 25 words on a grid of 5 x 5, and ten topics, each a row or a column of the grid.

    python examples/topic_model.py --backend pyro
"""

import numpy as np
import torch
import typer
from scipy.optimize import linear_sum_assignment
from torch import nn

from ppvae import VAE, Batch, Dataset, Program, dist, fit, pyro

TOPICS, WORDS, LENGTH = 10, 25, 80


class Documents(Program):
    """The generative model."""

    def __init__(self):
        super().__init__()
        self.topics = nn.Parameter(torch.randn(TOPICS, WORDS))

    def forward(self, batch: Batch) -> None:
        with batch.plate():
            theta = pyro.sample("theta", dist.Dirichlet(torch.full((TOPICS,), 0.5)))
            probs = theta @ self.topics.softmax(-1)
            pyro.sample("words", dist.Multinomial(LENGTH, probs=probs), obs=batch.get("words"))


class Reader(Program):
    """``q(theta | words)``, a Dirichlet."""

    def __init__(self):
        super().__init__()
        self.network = nn.Sequential(nn.Linear(WORDS, 100), nn.Softplus(), nn.Linear(100, TOPICS), nn.Softplus())

    def forward(self, batch: Batch) -> None:
        concentration = self.network(batch.get("words")) + 0.05
        with batch.plate():
            pyro.sample("theta", dist.Dirichlet(concentration))


def bars() -> np.ndarray:
    """The true topics, ``(10, 25)``."""
    side = np.arange(5)
    grid = [(side[:, None] == i) & (side >= 0) for i in side] + [(side == i) & (side[:, None] >= 0) for i in side]
    return np.stack(grid).reshape(TOPICS, WORDS) / 5


def data(documents: int = 2000, seed: int = 0) -> tuple[Dataset, np.ndarray]:
    """Counts of words, and the true topics."""
    rng = np.random.default_rng(seed)
    theta = rng.dirichlet(np.full(TOPICS, 0.2), size=documents)
    return Dataset({"words": rng.multinomial(LENGTH, theta @ bars())}, likelihood={"words": "poisson"}), bars()


def vae() -> VAE:
    """The pair."""
    torch.manual_seed(0)
    return VAE(model=Documents(), guide=Reader(), objective="mean_field_elbo")


def main(backend: str = "numpyro", epochs: int = 40) -> dict[str, float]:
    """How much of the true topics is found: their overlap with the nearest learned ones."""
    train, truth = data()
    fitted = fit(vae(), train, backend=backend, epochs=epochs, batch_size=100, lr=1e-2)
    topics = fitted.vae.model.topics.softmax(-1).detach().numpy()
    overlap = np.minimum(truth[:, None], topics).sum(-1)
    found = overlap[linear_sum_assignment(-overlap)]
    print(f"overlap with the true topics: {found.mean():.0%} on average, {found.min():.0%} for the worst")
    return {"overlap": float(found.mean()), "worst": float(found.min())}


if __name__ == "__main__":
    typer.run(main)
