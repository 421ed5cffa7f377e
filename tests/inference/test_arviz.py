"""to_arviz against closed forms, on both backends; what depends on ArviZ's version is tested in tests/arviz1."""

from __future__ import annotations

from functools import cache
from typing import Any

import linear_gaussian as lg
import numpy as np
import pytest
from scipy import stats
from scipy.special import logsumexp

from ppvae import VAE, Dataset, Modality, Program, dist, pyro
from ppvae.inference import arviz
from ppvae.inference.fitted import Fitted
from ppvae.runs.settings import Settings
from ppvae.runs.snapshot import Snapshot

DRAWS = 60

both = pytest.mark.parametrize("backend", lg.BACKENDS)


@cache
def case() -> tuple[lg.LinearGaussian, lg.Arrays, Dataset]:
    """A general oracle; items miss elements and whole modalities."""
    truth = lg.general()
    values = lg.with_holes(truth.draw(8, seed=2), seed=3)
    plain = lg.dataset(truth, values)
    return truth, values, Dataset(values, labels={"type": np.arange(8) % 2}, modalities=plain.modalities)


@cache
def converted(backend: str) -> Any:
    truth, _, data = case()
    fitted = lg.fitted(truth, lg.Exact(truth), backend)
    return fitted.to_arviz(data, draws=DRAWS, coords={"item": list("abcdefgh"), "a_feature": ["x", "y", "w"]})


@both
def test_every_group_has_named_dimensions(backend: str) -> None:
    data = converted(backend)
    for group in ("posterior", "prior"):
        assert data[group]["z"].dims == ("chain", "draw", "item", "latent")
        assert data[group]["z"].shape == (1, DRAWS, 8, 2)
    for group in ("posterior_predictive", "prior_predictive"):
        assert set(data[group].data_vars) == {"a", "b", "c"}
        assert data[group]["a"].dims == ("chain", "draw", "item", "a_feature")
    assert data["log_likelihood"]["c"].dims == ("chain", "draw", "item")
    assert data["sample_stats"]["khat"].dims == ("item",)
    assert list(data["observed_data"]["item"].values) == list("abcdefgh")
    assert list(data["observed_data"]["a_feature"].values) == ["x", "y", "w"]
    assert list(data["constant_data"]["type"].values) == [0, 1] * 4


@both
def test_holes_are_nan_in_what_was_observed(backend: str) -> None:
    _, values, _ = case()
    for name, array in values.items():
        assert np.array_equal(converted(backend)["observed_data"][name].values, array, equal_nan=True)


@both
def test_the_log_likelihood_is_that_of_the_posterior_draws(backend: str) -> None:
    truth, values, _ = case()
    z = converted(backend)["posterior"]["z"].values[0]
    for name, x in values.items():
        each = stats.norm.logpdf(x, z @ truth.weights[name].T + truth.biases[name], truth.scales[name])
        expected = np.where(np.isnan(x).all(1), np.nan, np.nansum(each, -1))
        np.testing.assert_allclose(converted(backend)["log_likelihood"][name].values[0], expected, rtol=1e-9)


@both
def test_the_statistics_of_an_exact_guide_are_the_evidence_and_perfect(backend: str) -> None:
    truth, values, _ = case()
    statistics = converted(backend)["sample_stats"]
    np.testing.assert_allclose(statistics["elbo"].values, truth.evidence(values), atol=1e-10)
    assert np.abs(statistics["log_weights"].values[0] - truth.evidence(values)).max() < 1e-10
    assert np.array_equal(statistics["khat"].values, np.full(8, -np.inf))


@both
def test_prior_draws_do_not_see_the_data(backend: str) -> None:
    truth, _, _ = case()
    prior, predictive = converted(backend)["prior"], converted(backend)["prior_predictive"]
    z = prior["z"].values.reshape(-1, 2)
    assert np.abs(z.mean(0)).max() < 4 / np.sqrt(len(z))
    residual = predictive["a"].values.reshape(-1, 3) - z @ truth.weights["a"].T - truth.biases["a"]
    assert residual.std(0) == pytest.approx(truth.scales["a"], rel=4 / np.sqrt(2 * len(z)))


@both
def test_only_what_is_given_conditions_the_posterior(backend: str) -> None:
    truth, values, data = case()
    given = lg.fitted(truth, lg.Exact(truth), backend).to_arviz(data, given=["b"], draws=30)
    np.testing.assert_allclose(
        given["sample_stats"]["elbo"].values, truth.evidence({"b": values["b"]}), rtol=1e-9, atol=1e-12
    )
    assert set(given["log_likelihood"].data_vars) == {"a", "b", "c"}


class Mixed(Program):
    """c ~ Bernoulli-like Categorical(0.3, 0.7);  z ~ Normal(3c, 1);  x ~ Normal(z + c, 1)."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("probs", torch_tensor([0.3, 0.7]))

    def forward(self, batch: Any) -> Any:
        with batch.plate():
            c = pyro.sample("c", dist.Categorical(self.probs), infer={"enumerate": "parallel"})
            z = pyro.sample("z", dist.Normal(3.0 * c, 1.0))
            mean = (z + c)[..., None]
            return pyro.sample("x", dist.Normal(mean, 1.0).to_event(1), obs=batch.get("x"))


class Wide(Program):
    """z ~ Normal(2, 2)."""

    def forward(self, batch: Any) -> Any:
        with batch.plate():
            return pyro.sample("z", dist.Normal(2.0, 2.0))


def torch_tensor(values: list[float]) -> Any:
    import torch

    return torch.tensor(values, dtype=torch.float64)


def mixed(backend: str) -> tuple[Fitted, Dataset]:
    """A pair whose model sums a discrete latent out, and four items."""
    parts = [Modality("x", (1,))]
    settings = Settings(backend=backend, dtype="float64", device="cpu")  # type: ignore[arg-type]
    data = Dataset({"x": np.array([[-1.0], [0.5], [2.0], [5.0]])}, modalities=parts)
    return Fitted(VAE(Mixed(), Wide()), parts, settings, [], Snapshot({})), data


@both
def test_what_the_model_enumerates_is_summed_out_given_the_latents(backend: str) -> None:
    fitted, data = mixed(backend)
    result = fitted.to_arviz(data, draws=40)
    z, x, c = result["posterior"]["z"].values[0][..., None], data.arrays["x"], np.arange(2)
    prior = np.log([0.3, 0.7]) + stats.norm.logpdf(z, 3 * c, 1)
    expected = logsumexp(prior + stats.norm.logpdf(x, z + c, 1), axis=-1) - logsumexp(prior, axis=-1)
    np.testing.assert_allclose(result["log_likelihood"]["x"].values[0], expected, rtol=1e-9)
    assert set(result["posterior"].data_vars) == {"z"}
    assert set(np.unique(result["prior"]["c"].values)) == {0, 1}


@pytest.mark.parametrize(
    ("coords", "said"),
    [
        ({"gene": ["x"]}, "coords name 'gene', which is no dimension; choose among draw, item"),
        ({"item": ["x", "y"]}, "coords have 2 labels for 'item', which has 8 entries"),
    ],
)
def test_coords_that_fit_nothing_are_refused(coords: dict[str, list[str]], said: str) -> None:
    groups = {"posterior": {"z": (("draw", "item"), np.zeros((5, 8)))}}
    with pytest.raises(ValueError, match=said):
        arviz.inference_data(groups, coords)
