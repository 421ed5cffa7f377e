"""What all items share: each draw of answers about items stands on one draw of it, and ArviZ gets that, too."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

import ppvae
from ppvae import VAE, Dataset, Modality, Program, dist, pyro
from ppvae.inference.fitted import Fitted

ITEMS, DRAWS = 12, 800
Y = np.random.default_rng(0).normal(2.0, 1.0, ITEMS)
DATA = Dataset({"y": Y}, modalities=[Modality("y", (), "normal")])
both = pytest.mark.parametrize("backend", ["pyro", "numpyro"])


class Model(Program):
    """mu ~ Normal(0, 10);  three rows w ~ Dirichlet;  t ~ Normal(mu, 1);  y ~ Normal(t, 1)."""

    def forward(self, batch: Any) -> None:
        mu = pyro.sample("mu", dist.Normal(0.0, 10.0))
        with pyro.plate("parts", 3, dim=-1):
            pyro.sample("w", dist.Dirichlet(torch.ones(4)))
        with batch.plate():
            t = pyro.sample("t", dist.Normal(mu, 1.0))
            pyro.sample("y", dist.Normal(t, 1.0), obs=batch.get("y"))


class Posterior(Program):
    """The exact posterior under a flat prior of mu."""

    def forward(self, batch: Any) -> None:
        mu = pyro.sample("mu", dist.Normal(float(Y.mean()), (2 / ITEMS) ** 0.5))
        with pyro.plate("parts", 3, dim=-1):
            pyro.sample("w", dist.Dirichlet(torch.ones(4)))
        y = batch.get("y")
        with batch.plate():
            if y is None:
                pyro.sample("t", dist.Normal(mu, 1.0))
            else:
                pyro.sample("t", dist.Normal((y + mu) / 2, 0.5**0.5))


class Indexed(Posterior):
    """The same, whose text takes no draws beside each other: it indexes what all items share."""

    def forward(self, batch: Any) -> None:
        with pyro.plate("halves", 2, dim=-1):
            half = pyro.sample("half", dist.Normal(torch.zeros(2), 1e-6))
        super().forward(batch)
        assert half[0] is not None


class IndexedModel(Model):
    """The model with the same halves."""

    def forward(self, batch: Any) -> None:
        with pyro.plate("halves", 2, dim=-1):
            half = pyro.sample("half", dist.Normal(torch.zeros(2), 1e-6))
        mu = pyro.sample("mu", dist.Normal(0.0, 10.0))
        with pyro.plate("parts", 3, dim=-1):
            pyro.sample("w", dist.Dirichlet(torch.ones(4)))
        with batch.plate():
            t = pyro.sample("t", dist.Normal(mu + half[0], 1.0))
            pyro.sample("y", dist.Normal(t, 1.0), obs=batch.get("y"))


@cache
def fitted(backend: str, indexed: bool = False) -> Fitted:
    vae = VAE(IndexedModel(), Indexed()) if indexed else VAE(Model(), Posterior())
    return ppvae.fit(vae, DATA, backend=backend, epochs=1, dtype="float64")


@both
@pytest.mark.parametrize("indexed", [False, True])
def test_the_mean_of_a_replicated_data_set_varies_as_what_its_items_share(backend: str, indexed: bool) -> None:
    draws = 100 if indexed and backend == "pyro" else DRAWS  # one by one there
    means = fitted(backend, indexed).query(DATA, draws=draws)["y"].mean(1)
    spread = ((2 / ITEMS) / 4 + 1.5 / ITEMS) ** 0.5  # of (y + mu) / 2, and of the rest over the items
    low, high = stats.chi2(draws - 1).ppf([1e-4, 1 - 1e-4])
    assert low < (draws - 1) * means.var(ddof=1) / spread**2 < high
    alone = fitted(backend, indexed).query(DATA, given=[], draws=draws)["y"].mean(1)
    assert low < (draws - 1) * alone.var(ddof=1) / (4 / ITEMS) < high


@both
def test_no_item_depends_on_the_others_all_the_same(backend: str) -> None:
    some = DATA.take(np.arange(3, 7))
    np.testing.assert_allclose(
        fitted(backend).encode(some, draws=5)["t"], fitted(backend).encode(DATA, draws=5)["t"][:, 3:7], rtol=1e-9
    )


@both
def test_arviz_has_what_all_items_share_draw_by_draw(backend: str) -> None:
    found = fitted(backend).to_arviz(DATA, draws=DRAWS)
    posterior, prior = found["posterior"], found["prior"]
    assert posterior["mu"].dims == prior["mu"].dims == ("chain", "draw")
    assert posterior["w"].dims == prior["w"].dims == ("chain", "draw", "w_latent_0", "w_latent_1")
    assert posterior["w"].shape == (1, DRAWS, 3, 4)
    np.testing.assert_allclose(posterior["w"].values.sum(-1), 1.0)
    assert stats.kstest(posterior["mu"].values[0], stats.norm(Y.mean(), (2 / ITEMS) ** 0.5).cdf).pvalue > 1e-4
    left = posterior["t"].values[0] - (Y + posterior["mu"].values[0][:, None]) / 2
    assert stats.kstest(left.ravel(), stats.norm(0.0, 0.5**0.5).cdf).pvalue > 1e-4
    assert stats.kstest((prior["t"].values[0] - prior["mu"].values[0][:, None])[:, 0], "norm").pvalue > 1e-4
    np.testing.assert_allclose(
        found["log_likelihood"]["y"].values[0], stats.norm.logpdf(Y, posterior["t"].values[0], 1)
    )


class Amortised(Posterior):
    """What all items share by what is seen of the items: each alone says something else."""

    def forward(self, batch: Any) -> None:
        y = batch.get("y")
        mean = torch.zeros(()) if y is None else y.mean()
        mu = pyro.sample("mu", dist.Normal(mean, 1.0))
        with pyro.plate("parts", 3, dim=-1):
            pyro.sample("w", dist.Dirichlet(torch.ones(4)))
        with batch.plate():
            pyro.sample("t", dist.Normal(mu, 1.0))


@both
def test_what_a_guide_makes_of_each_item_anew_is_shared_by_none(backend: str) -> None:
    run = ppvae.fit(VAE(Model(), Amortised()), DATA, backend=backend, epochs=1, dtype="float64")
    assert set(run.to_arviz(DATA, draws=30)["posterior"].data_vars) == {"w", "t"}


class Steps(Program):
    """c ~ Bernoulli(1/2), x_0 and x_1 ~ Normal(c, 1)."""

    def forward(self, batch: Any) -> None:
        x = batch.get("x")
        with batch.plate():
            c = pyro.sample("c", dist.Bernoulli(0.5), infer={"enumerate": "parallel"})
            for step in range(2):
                pyro.sample(f"x_{step}", dist.Normal(c, 1.0), obs=None if x is None else x[..., step])


class Nothing(Program):
    """There is nothing to draw."""

    def forward(self, batch: Any) -> None:
        pass


@both
def test_pieces_of_a_modality_are_predictions_of_the_prior(backend: str) -> None:
    data = Dataset({"x": np.random.default_rng(0).normal(size=(4, 2))})
    found = ppvae.fit(VAE(Steps(), Nothing()), data, backend=backend, epochs=1).to_arviz(data, draws=30)
    assert set(found["prior"].data_vars) == {"c"}
    assert found["prior_predictive"]["x"].dims == ("chain", "draw", "item", "x_feature")
