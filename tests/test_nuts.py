"""NUTS against closed-form posteriors, and the guide against NUTS."""

from __future__ import annotations

from functools import cache
from typing import Any

import jax
import linear_gaussian as lg
import numpy as np
import pytest
import torch
from scipy import stats
from scipy.special import logsumexp
from torch import nn

from ppvae import VAE, Dataset, Modality, Program, dist, pyro
from ppvae.backends.plan import Snapshot
from ppvae.diagnostics.nuts import Chains, nuts
from ppvae.diagnostics.referee import Comparison, compare
from ppvae.diagnostics.target import Target
from ppvae.posterior import Fitted
from ppvae.settings import Settings

ITEMS = 8


@cache
def case() -> tuple[lg.LinearGaussian, lg.Arrays, Dataset]:
    """A general oracle; items miss elements and whole modalities."""
    truth = lg.general()
    values = lg.with_holes(truth.draw(ITEMS, seed=2), seed=3)
    return truth, values, lg.dataset(truth, values)


def fitted(backend: str, widen: float = 1.0, shift: float = 0.0) -> Fitted:
    truth, _, _ = case()
    return lg.fitted(truth, lg.Exact(truth, widen, shift), backend)


@cache
def chains() -> Chains:
    """Chains that start from a guide that is too narrow and off."""
    _, _, data = case()
    return nuts(fitted("pyro", widen=0.4, shift=0.3), data, draws=800, warmup=200)


@cache
def comparison() -> Comparison:
    _, _, data = case()
    return compare(fitted("pyro", widen=0.4, shift=0.3), data, chains())


def test_chains_have_the_moments_of_the_posterior_of_every_mask() -> None:
    truth, values, _ = case()
    mean, cov = truth.posterior(values)
    variance, z = np.diagonal(cov, axis1=1, axis2=2), chains().draws["z"]
    assert z.shape == (4, 800, ITEMS, 2)
    assert np.abs((z.mean((0, 1)) - mean) / np.sqrt(variance / chains().ess["z"])).max() < 4
    centred = (z - mean).reshape(-1, ITEMS, 2)
    found = np.einsum("dni,dnj->nij", centred, centred) / len(centred)
    noise = np.sqrt((variance[:, :, None] * variance[:, None, :] + cov**2) / 400)
    assert np.abs((found - cov) / noise).max() < 4


def test_chains_of_a_linear_gaussian_converge() -> None:
    assert chains().share >= 0.95
    assert chains().share == (chains().rhat["z"] < 1.01).mean()
    assert np.array_equal(chains().converged, (chains().rhat["z"] < 1.01).all(1))
    assert chains().ess["z"].min() > 800
    assert (chains().divergences == 0).all()
    assert ((chains().steps >= 1) & (chains().steps <= 15)).all()


def test_the_referee_sees_what_is_wrong_with_a_guide() -> None:
    truth, values, _ = case()
    mean, cov = truth.posterior(values)
    sd, found = np.sqrt(np.diagonal(cov, axis1=1, axis2=2)), comparison()
    assert found.latents == ["z[0]", "z[1]"]
    assert found.guide_mean == pytest.approx(mean + 0.3, abs=0.05)
    assert found.guide_sd == pytest.approx(0.4 * sd, rel=0.1)
    assert found.nuts_sd == pytest.approx(sd, rel=0.15)
    levels = (np.arange(2000) + 0.5) / 2000
    quantiles = stats.norm.ppf(levels)[:, None, None]
    expected = np.abs(0.3 + (0.4 - 1) * sd * quantiles).mean(0)
    assert found.wasserstein == pytest.approx(expected, abs=0.12)
    assert found.c2st.min() > 0.7


def test_the_referee_finds_no_fault_with_an_exact_guide() -> None:
    _, _, data = case()
    found = compare(fitted("numpyro"), data, chains())
    assert found.wasserstein.max() < 0.15
    assert found.c2st.max() < 0.55


def test_the_table_has_a_row_for_each_item_and_latent() -> None:
    rows = list(comparison().rows())
    assert len(rows) == ITEMS * 2
    assert set(rows[0]) == {
        "item",
        "latent",
        "guide_mean",
        "guide_sd",
        "nuts_mean",
        "nuts_sd",
        "wasserstein",
        "c2st",
    }
    assert (rows[3]["item"], rows[3]["latent"]) == (1, "z[1]")
    assert rows[3]["nuts_mean"] == comparison().nuts_mean[1, 1]


class Mixed(Program):
    """c ~ Categorical(0.3, 0.7);  z ~ LogNormal(c, 1);  x ~ Normal(z + c, scale)."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("probs", torch.tensor([0.3, 0.7], dtype=torch.float64))
        self.scale = nn.Parameter(torch.tensor(0.5, dtype=torch.float64))

    def forward(self, batch: Any) -> Any:
        with batch.plate():
            c = pyro.sample("c", dist.Categorical(self.probs), infer={"enumerate": "parallel"})
            z = pyro.sample("z", dist.LogNormal(1.0 * c, 1.0))
            return pyro.sample("x", dist.Normal((z + c)[..., None], self.scale).to_event(1), obs=batch.get("x"))


class Marked(Program):
    """c ~ Categorical(0.5, 0.5);  z ~ LogNormal(c, 1), c summed out."""

    def __init__(self, enumerate: bool = True) -> None:
        super().__init__()
        self.register_buffer("probs", torch.tensor([0.5, 0.5], dtype=torch.float64))
        self.infer = {"enumerate": "parallel"} if enumerate else {}

    def forward(self, batch: Any) -> Any:
        with batch.plate():
            c = pyro.sample("c", dist.Categorical(self.probs), infer=self.infer)
            return pyro.sample("z", dist.LogNormal(1.0 * c, 1.0))


def mixed(guide: Program) -> tuple[Fitted, Dataset]:
    parts = [Modality("x", (1,))]
    data = Dataset({"x": np.array([[0.5], [3.0]])}, modalities=parts)
    settings = Settings(backend="pyro", dtype="float64", device="cpu")
    return Fitted(VAE(Mixed(), guide), parts, settings, [], Snapshot({})), data


def test_the_target_sums_discrete_latents_out_over_unconstrained_vectors() -> None:
    target = Target(*mixed(Marked()))
    points = np.linspace(-1, 2, 7)
    with target.environment():
        densities = [
            jax.vmap(jax.vmap(f, (0, None, None)), (None, None, 0))(points[:, None], target.weights, target.data)
            for f in (target.log_density, target.log_guide)
        ]
    z, c, x = np.exp(points)[:, None], np.arange(2), np.array([0.5, 3.0])[:, None, None]
    latent = stats.lognorm.logpdf(z, 1.0, scale=np.exp(c)) + points[:, None]
    model = logsumexp(np.log([0.3, 0.7]) + latent + stats.norm.logpdf(x, z + c, 0.5), axis=-1)
    np.testing.assert_allclose(densities[0], model, rtol=1e-9)
    np.testing.assert_allclose(densities[1][0], logsumexp(np.log(0.5) + latent, axis=-1), rtol=1e-9)
    assert target.values(points[:, None])["z"] == pytest.approx(np.exp(points))


def test_a_discrete_latent_that_is_not_summed_out_is_refused() -> None:
    with pytest.raises(ValueError, match="the latent 'c' is discrete: mark it infer"):
        Target(*mixed(Marked(enumerate=False)))


def test_the_target_is_the_oracles_joint_density() -> None:
    truth, values, data = case()
    target = Target(fitted("pyro"), data, ["a"])
    z = np.random.default_rng(0).normal(size=(ITEMS, 2))
    with target.environment():
        found = np.asarray(jax.vmap(target.log_density, (0, None, 0))(z, target.weights, target.data))
        guide = np.asarray(jax.vmap(target.log_guide, (0, None, 0))(z, target.weights, target.data))
    mean, cov = truth.posterior({"a": values["a"]})
    expected = [stats.multivariate_normal.logpdf(*row) for row in zip(z, mean, cov, strict=True)]
    np.testing.assert_allclose(guide, expected, rtol=1e-9)
    np.testing.assert_allclose(found, guide + truth.evidence({"a": values["a"]}), rtol=1e-9)
