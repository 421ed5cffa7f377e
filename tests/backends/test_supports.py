"""Distributions over what NumPyro has no name for: observed, and summed out, as on Pyro."""

from collections.abc import Callable
from itertools import product
from typing import Any

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as nd
import pytest
import torch
from scipy import stats

import ppvae
from ppvae import VAE, Program, dist, pyro
from ppvae.backends.distributions.supports import constraint
from ppvae.language import ppl
from ppvae.parts.densities import ContinuousBernoulli

CLOSE = {"rtol": 2e-5, "atol": 2e-5}


class Said(Program):
    def __init__(self, text: Callable[[Any], Any]):
        super().__init__()
        self.text = text

    def forward(self, batch: Any) -> Any:
        return self.text(batch.get("x"))


def nothing(x: Any) -> None:
    """There is no latent to guide."""


def fitted(text: Callable[[Any], Any], values: Any, backend: Any, likelihood: str) -> Any:
    data = ppvae.Dataset({"x": np.array(values)}, modalities=[ppvae.Modality("x", (), likelihood)])
    return ppvae.fit(VAE(Said(text), Said(nothing)), data, backend=backend, epochs=2, lr=1e-9, progress=False), data


def rain(x: Any) -> None:
    rate = pyro.param("rate", torch.tensor(2.0))
    concentration = pyro.param("concentration", torch.tensor(1.5))
    with pyro.plate("days", x.shape[0]):
        wet = dist.Gamma(concentration, rate)
        pyro.sample("x", dist.MaskedMixture(x == 0, wet, dist.Delta(torch.tensor(0.0))), obs=x)


@pytest.mark.parametrize("backend", ["pyro", "numpyro"])
def test_amounts_that_are_zero_or_positive(backend: str) -> None:
    values = [0.0, 0.3, 0.0, 1.7]
    run, data = fitted(rain, values, backend, "normal")
    expected = np.where(np.array(values) > 0, stats.gamma.logpdf(values, 1.5, scale=0.5), 0.0)
    np.testing.assert_allclose(run.log_evidence(data, particles=2), expected, **CLOSE)
    np.testing.assert_allclose(run.history[-1]["loss"], -expected.mean(), **CLOSE)


def thinned(x: Any) -> None:
    chance = pyro.param("chance", torch.tensor(0.4))
    with pyro.plate("days", x.shape[0]):
        pyro.sample("x", dist.ExtendedBinomial(torch.tensor(3.0), chance), obs=x)


@pytest.mark.parametrize("backend", ["pyro", "numpyro"])
def test_counts_beyond_what_is_possible(backend: str) -> None:
    run, data = fitted(thinned, [0.0, 3.0, 1.0], backend, "poisson")
    expected = stats.binom.logpmf([0, 3, 1], 3, 0.4)
    np.testing.assert_allclose(run.log_evidence(data, particles=2), expected, **CLOSE)


def outbreak(x: Any) -> None:
    """Those who fall ill today, of three, make others ill tomorrow."""
    chance = pyro.param("chance", torch.tensor(0.3))
    with pyro.plate("towns", x.shape[0]):
        first = pyro.sample("first", dist.Binomial(3, chance), infer={"enumerate": "parallel"})
        second = pyro.sample("second", dist.Binomial(2, 0.2 + first / 5), infer={"enumerate": "parallel"})
        pyro.sample("x", dist.Poisson(first + second + 0.1), obs=x)


@pytest.mark.parametrize("backend", ["pyro", "numpyro"])
def test_binomial_latents_are_summed_out(backend: str) -> None:
    seen = np.array([0.0, 2.0, 5.0])
    run, data = fitted(outbreak, seen, backend, "poisson")
    expected = sum(
        stats.binom.pmf(a, 3, 0.3) * stats.binom.pmf(b, 2, 0.2 + a / 5) * stats.poisson.pmf(seen, a + b + 0.1)
        for a, b in product(range(4), range(3))
    )
    np.testing.assert_allclose(run.log_evidence(data, particles=2), np.log(expected), **CLOSE)


def test_a_latent_with_such_a_support_is_not_mapped() -> None:
    support = constraint(torch.distributions.constraints.symmetric, lambda array: array)
    assert (support.event_dim, support.is_discrete) == (2, False)
    with pytest.raises(NotImplementedError, match="which has no counterpart on NumPyro"):
        nd.biject_to(support)


def test_a_difference_that_is_not_a_number_is_not_ok() -> None:
    def broken(x: Any) -> None:
        scale = pyro.param("scale", torch.tensor(0.0))
        with pyro.plate("days", x.shape[0]):
            pyro.sample("x", dist.Normal(torch.where(scale > 0, 1 / scale, 0.0), 1.0), obs=x)

    data = ppvae.Dataset({"x": np.zeros(3)}, modalities=[ppvae.Modality("x", ())])
    assert not ppvae.parity(VAE(Said(broken), Said(nothing)), data.batch(), dtype="float64")["ok"]


def test_an_improper_distribution_of_more_dims_than_its_support_has_a_density_an_item() -> None:
    with ppl.running("numpyro"), numpyro.validation_enabled():
        flat = dist.ImproperUniform(dist.constraints.positive, (3,), (2,))
        assert flat.support.event_dim == 1
        np.testing.assert_array_equal(flat.log_prob(jnp.ones((3, 2))), np.zeros(3))


OUTSIDE = {
    "grey pixels": (lambda: dist.Bernoulli(logits=torch.tensor(0.3), validate_args=False), "which cannot take 0.4"),
    "scaled counts": (lambda: dist.Poisson(torch.tensor(1.5), validate_args=False), "which cannot take 0.4"),
    "negative times": (lambda: dist.Exponential(torch.tensor(1.5), validate_args=False), "which cannot take -0.7"),
}


@pytest.mark.parametrize("backend", ["pyro", "numpyro"])
@pytest.mark.parametrize("name", OUTSIDE)
def test_a_text_without_checks_counts_values_outside_of_its_support_by_the_formula(name: str, backend: str) -> None:
    made, words = OUTSIDE[name]
    values = [-0.7, 1.0] if "negative" in name else [0.4, 1.0]

    def text(x: Any) -> None:
        with pyro.plate("items", x.shape[0]):
            pyro.sample("x", made(), obs=x)

    with pytest.warns(UserWarning, match=f"{words}: its formula counts"):
        run, _ = fitted(text, values, backend, "normal")
    expected = -made().log_prob(torch.tensor(values)).mean()
    np.testing.assert_allclose(run.history[-1]["loss"], expected, **CLOSE)


@pytest.mark.parametrize("backend", ["pyro", "numpyro"])
def test_texts_shorter_than_the_count_of_a_multinomial_are_in_its_support(backend: str) -> None:
    counts = torch.tensor([[1.0, 2.0, 0.0], [4.0, 0.0, 1.0]])
    weights = torch.tensor([0.2, 0.3, 0.5])

    def text(x: Any) -> None:
        with pyro.plate("texts", x.shape[0]):
            pyro.sample("x", dist.Multinomial(5, weights), obs=x)

    data = ppvae.Dataset({"x": counts.numpy()}, modalities=[ppvae.Modality("x", (3,), "poisson")])
    run = ppvae.fit(VAE(Said(text), Said(nothing)), data, backend=backend, epochs=1, progress=False)
    np.testing.assert_allclose(run.history[-1]["loss"], -dist.Multinomial(5, weights).log_prob(counts).mean(), **CLOSE)


@pytest.mark.parametrize("backend", ["pyro", "numpyro"])
def test_a_class_that_never_checks_still_has_a_support(backend: str) -> None:
    def text(x: Any) -> None:
        with pyro.plate("items", x.shape[0]):
            pyro.sample("x", ContinuousBernoulli(torch.tensor(0.3)), obs=x)

    with pytest.raises(ValueError, match=r"cannot take 1.4: give it another"):
        fitted(text, [1.4, 0.5], backend, "normal")
