"""Densities over an item's unconstrained vector: the oracle's, and those of latents that are summed out or bounded."""

from __future__ import annotations

from typing import Any

import jax
import linear_gaussian as lg
import mixed
import numpy as np
import pairs
import pytest
from scipy import stats
from scipy.special import logsumexp

from ppvae import VAE, Dataset, Modality, Program, dist, pyro
from ppvae.inference import subset_questions
from ppvae.inference.conditioned_items import conditioned
from ppvae.inference.questions import Question
from ppvae.inference.unconstrained import located, unconstrained
from ppvae.language.batch import Batch


def densities(model: Any, guide: Any, batch: Batch, draws: int) -> dict[str, Any]:
    """The question of an item's three log densities at the vectors beside it."""
    item = unconstrained(model, guide, batch)
    functions = {"joint": item.joint, "proposal": item.proposal, "prior": item.prior}
    vectors = batch.arrays[subset_questions.AT + "vectors"][0]
    return {name: jax.vmap(function)(vectors)[:, None] for name, function in functions.items()}


@pytest.mark.parametrize("given", [["a"], ["a", "b", "c"]])
def test_densities_are_the_oracles(given: list[str]) -> None:
    truth = lg.general()
    values = truth.draw(8, seed=2)
    fitted = lg.fitted(truth, lg.Exact(truth), "numpyro")
    z = np.random.default_rng(0).normal(size=(8, 3, truth.latent))
    found = subset_questions.ask(fitted, Question(densities), lg.dataset(truth, values), given, at={"vectors": z})
    known = {name: values[name] for name in given}
    mean, cov = truth.posterior(known)
    expected = np.array([stats.multivariate_normal.logpdf(*row) for row in zip(z, mean, cov, strict=True)]).T
    np.testing.assert_allclose(found["proposal"], expected, rtol=1e-9)
    np.testing.assert_allclose(found["joint"], expected + truth.evidence(known), rtol=1e-9)
    np.testing.assert_allclose(found["prior"], stats.norm.logpdf(z).sum(-1).T, rtol=1e-9)


def test_discrete_latents_are_summed_out_and_positive_ones_unconstrained() -> None:
    fitted, data = mixed.case(mixed.Marked())
    points = np.linspace(-1, 2, 7)
    vectors = np.broadcast_to(points[:, None], (2, 7, 1))
    found = subset_questions.ask(fitted.to("numpyro"), Question(densities), data, at={"vectors": vectors})
    z, c, x = np.exp(points)[:, None, None], np.arange(2), np.array([0.5, 3.0])[:, None]
    latent = stats.lognorm.logpdf(z, 1.0, scale=np.exp(c)) + np.log(z)
    joint = logsumexp(np.log([0.3, 0.7]) + latent + stats.norm.logpdf(x, z + c, 0.5), axis=-1)
    np.testing.assert_allclose(found["joint"], joint, rtol=1e-9)
    prior = logsumexp(np.log([0.3, 0.7]) + latent, axis=-1)
    np.testing.assert_allclose(found["prior"], np.broadcast_to(prior, (7, 2)), rtol=1e-9)
    proposal = logsumexp(np.log(0.5) + latent, axis=-1)
    np.testing.assert_allclose(found["proposal"], np.broadcast_to(proposal, (7, 2)), rtol=1e-9)
    values = located(conditioned(fitted, data, None, 0), vectors)
    np.testing.assert_allclose(values["z"], np.broadcast_to(np.exp(points)[:, None], (7, 2)), rtol=1e-12)


class Interleaved(Program):
    """c ~ Bernoulli(1/2);  z1 ~ Normal(2c, 1);  x ~ Normal(z1 + c, 1/2);  z2 ~ Normal(3c, 1)."""

    def forward(self, batch: Any) -> Any:
        with batch.plate():
            c = pyro.sample("c", dist.Bernoulli(0.5), infer={"enumerate": "parallel"})
            z1 = pyro.sample("z1", dist.Normal(2.0 * c, 1.0))
            pyro.sample("x", dist.Normal((z1 + c)[..., None], 0.5).to_event(1), obs=batch.get("x"))
            return pyro.sample("z2", dist.Normal(3.0 * c, 1.0))


class Standard(Program):
    """z1, z2 ~ Normal(0, 1)."""

    def forward(self, batch: Any) -> Any:
        with batch.plate():
            pyro.sample("z1", dist.Normal(0.0, 1.0))
            return pyro.sample("z2", dist.Normal(0.0, 1.0))


def test_the_prior_knows_nothing_of_what_was_measured_between_two_latents() -> None:
    parts = [Modality("x", (1,))]
    data = Dataset({"x": np.array([[0.0], [2.0]])}, modalities=parts)
    vectors = np.broadcast_to([[0.3, 1.7]], (2, 1, 2))
    fitted = pairs.fitted(VAE(Interleaved(), Standard()), parts, "numpyro")
    found = subset_questions.ask(fitted, Question(densities), data, at={"vectors": vectors})
    c = np.arange(2)
    prior = np.log(0.5) + stats.norm.logpdf(0.3, 2 * c, 1) + stats.norm.logpdf(1.7, 3 * c, 1)
    joint = logsumexp(prior + stats.norm.logpdf(data.arrays["x"], 0.3 + c, 0.5), axis=1)
    np.testing.assert_allclose(found["prior"], np.full((1, 2), logsumexp(prior)), rtol=1e-6)
    np.testing.assert_allclose(found["joint"], joint[None], rtol=1e-6)


def test_vectors_that_are_no_numbers_have_no_latents() -> None:
    fitted, data = mixed.case(mixed.Marked())
    vectors = np.array([[[0.0], [np.nan]], [[1.0], [2.0]]])
    found = located(conditioned(fitted, data, None, 0), vectors)["z"]
    np.testing.assert_allclose(found, [[1.0, np.e], [np.nan, np.e**2]], rtol=1e-12)
