"""Evidence is of the densities that a program states, whatever handlers scale them by while it trains."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

import ppvae
from ppvae import VAE, Dataset, Program, dist, pyro
from ppvae.diagnostics import calibration

X = np.random.default_rng(0).normal(size=(6, 1)) * 1.5
EXACT = stats.norm.logpdf(X[:, 0], 0.0, 2**0.5)
both = pytest.mark.parametrize("backend", ["pyro", "numpyro"])


class Annealed(Program):
    """z ~ N(0, 1), x ~ N(z, 1), each under scales of its own; w in two rows of a plate of six."""

    def __init__(self, picks: bool = False) -> None:
        super().__init__()
        self.picks = picks

    def forward(self, batch: Any) -> None:
        with batch.plate():
            with pyro.poutine.scale(scale=0.3):
                z = pyro.sample("z", dist.Normal(torch.zeros(1), 1.0).to_event(1))
            with pyro.poutine.scale(scale=torch.tensor(4.0)), pyro.poutine.scale(scale=0.5):
                pyro.sample("x", dist.Normal(z, 1.0).to_event(1), obs=batch.get("x"))
        for row in pyro.plate("rows", 6, subsample=[1, 4]) if self.picks else ():
            with batch.plate(), pyro.poutine.scale(scale=0.1):
                pyro.factor(f"row_{row}", torch.ones(batch.size))


class Posterior(Program):
    """q(z | x) = p(z | x), scaled as the prior is."""

    def forward(self, batch: Any) -> None:
        with batch.plate(), pyro.poutine.scale(scale=0.3):
            pyro.sample("z", dist.Normal(batch.get("x") / 2, 0.5**0.5).to_event(1))


class Taught(Posterior):
    """The same with a loss of its own, as a classifier in a guide has one, and another that all items share."""

    def forward(self, batch: Any) -> None:
        super().forward(batch)
        with batch.plate():
            pyro.factor("lesson", batch.get("x").sum(-1) ** 2, has_rsample=True)
        pyro.factor("penalty", torch.tensor(2.0), has_rsample=True)


def fitted(backend: str, picks: bool = False, guide: type[Posterior] = Posterior) -> Any:
    vae = VAE(Annealed(picks), guide())
    return ppvae.fit(vae, Dataset({"x": X}), backend=backend, dtype="float64", epochs=1, progress=False)


@both
def test_evidence_is_that_of_the_model_without_its_scales(backend: str) -> None:
    run = fitted(backend)
    np.testing.assert_allclose(run.log_weights(Dataset({"x": X}), particles=3), np.tile(EXACT, (3, 1)), rtol=1e-9)


@pytest.mark.parametrize("guide", [Posterior, Taught])
def test_so_it_is_from_corrected_posteriors(guide: type[Posterior]) -> None:
    run = fitted("numpyro", guide=guide)
    found = run.log_evidence(Dataset({"x": X}), particles=200, posterior="corrected")
    np.testing.assert_allclose(found, EXACT, atol=0.02)


@both
def test_a_loss_in_a_guide_is_no_density(backend: str) -> None:
    data = Dataset({"x": X})
    run = fitted(backend, guide=Taught)
    np.testing.assert_allclose(run.log_weights(data, particles=3), np.tile(EXACT, (3, 1)), rtol=1e-9)
    assert run.encode(data).keys() == {"z"}
    assert list(run.to_arviz(data, draws=30)["posterior"].data_vars) == ["z"]
    for check in calibration(run, data, items=20).values():
        assert check.sbc.names[0] == "z[0]"


@both
def test_rows_that_stand_for_others_still_count_for_them(backend: str) -> None:
    found = fitted(backend, picks=True).log_evidence(Dataset({"x": X}), particles=3)
    np.testing.assert_allclose(found, EXACT + 6.0, rtol=1e-9)


@both
def test_training_counts_the_scales(backend: str) -> None:
    mean, var = X[:, 0] / 2, 0.5
    kl = (var + mean**2 - 1 - np.log(var)) / 2
    fit = stats.norm.logpdf(X[:, 0], mean, 1.0) - var / 2
    vae = VAE(Annealed(), Posterior())
    run = ppvae.fit(vae, Dataset({"x": X}), backend=backend, dtype="float64", epochs=500, progress=False)
    losses = [epoch["loss"] for epoch in run.history]
    np.testing.assert_allclose(np.mean(losses), np.mean(0.3 * kl - 2.0 * fit), atol=0.15)
