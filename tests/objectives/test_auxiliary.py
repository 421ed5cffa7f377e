"""Sites that a guide draws for itself: their entropy counts, and what follows from them costs nothing more."""

from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

import ppvae
from ppvae import VAE, Program, dist, pyro
from ppvae.objectives.elbo import elbo

COVARIANCE = np.array([[0.5, -0.2], [-0.2, 0.4]])
SEEN = np.array([-1.0, 0.5, 2.0, 0.0])
DATA = ppvae.Dataset({"x": SEEN}, modalities=[ppvae.Modality("x", ())])


class Sum(Program):
    """a, b ~ Normal(0, 1);  x | a, b ~ Normal(a + b, 1)."""

    def forward(self, batch: Any) -> None:
        with batch.plate():
            a, b = (pyro.sample(name, dist.Normal(0.0, 1.0)) for name in "ab")
            pyro.sample("x", dist.Normal(a + b, 1.0), obs=batch.get("x"))


class Together(Program):
    """Both at once: w ~ MultivariateNormal(x / 3, covariance), whose entries they are."""

    def __init__(self) -> None:
        super().__init__()
        self.share = torch.nn.Parameter(torch.full((2,), 1 / 3))
        self.register_buffer("covariance", torch.tensor(COVARIANCE, dtype=torch.float32))

    def forward(self, batch: Any) -> None:
        with batch.plate():
            about = dist.MultivariateNormal(batch.get("x")[..., None] * self.share, self.covariance)
            w = pyro.sample("w", about, infer={"is_auxiliary": True})
            for number, name in enumerate("ab"):
                pyro.sample(name, dist.Delta(w[..., number]))


def bound() -> float:
    """The ELBO of an item, averaged over them: E log p + the entropy of w."""
    means = SEEN / 3
    fit = stats.norm.logpdf(SEEN, 2 * means) - COVARIANCE.sum() / 2
    prior = sum(stats.norm.logpdf(means) - COVARIANCE[i, i] / 2 for i in range(2))
    return float((fit + prior).mean() + stats.multivariate_normal(np.zeros(2), COVARIANCE).entropy())


@pytest.mark.parametrize("objective", ["elbo", elbo()])
@pytest.mark.parametrize("backend", ["pyro", "numpyro"])
def test_the_entropy_of_an_auxiliary_site_counts(backend: Any, objective: Any) -> None:
    vae = VAE(Sum(), Together(), objective)
    run = ppvae.fit(vae, DATA, backend=backend, epochs=1, lr=1e-9, particles=400, progress=False)
    np.testing.assert_allclose(-run.history[0]["loss"], bound(), atol=0.15)
    assert sorted(run.encode(DATA)) == ["a", "b"]
    evidence = run.log_evidence(DATA, particles=2000)
    np.testing.assert_allclose(evidence, stats.norm.logpdf(SEEN, 0, np.sqrt(3)), atol=0.05)
    assert ppvae.parity(VAE(Sum(), Together()), DATA.batch(), dtype="float64")["ok"]


def test_a_site_of_the_guide_alone_is_refused_unless_it_is_marked() -> None:
    class Wrong(Together):
        def forward(self, batch: Any) -> None:
            super().forward(batch)
            with batch.plate():
                pyro.sample("v", dist.Normal(0.0, 1.0))

    with pytest.raises(ValueError, match=r"the guide has the site 'v', .* or mark it infer={'is_auxiliary': True}"):
        ppvae.fit(VAE(Sum(), Wrong()), DATA, backend="pyro", epochs=1, progress=False)
