"""Corrected posteriors: against the linear-Gaussian oracle and quadrature, whatever is wrong with the guide."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import linear_gaussian as lg
import mixed
import numpy as np
import pairs
import pytest
import torch
from scipy import stats
from scipy.special import logsumexp

import ppvae
from ppvae import VAE, Dataset, Modality, Program, dist, ops, pyro
from ppvae.inference.correction import ladder, proposals
from ppvae.inference.fitted import Fitted

ITEMS = 8
FAULTS = {"narrow": {"widen": 0.4}, "off": {"shift": 1.0}, "deaf": {"precision_a": 0.0}}


class Spoilt(lg.Exact):
    """The exact posterior, and what spoils it as buffers, so that all that is wrong is tried by one program."""

    def __init__(self, truth: lg.LinearGaussian) -> None:
        super().__init__(truth)
        del self.widen, self.shift
        for name, value in (("widen", 1.0), ("shift", 0.0)):
            self.register_buffer(name, torch.tensor(value, dtype=torch.float64))


@cache
def case() -> tuple[lg.LinearGaussian, lg.Arrays, Dataset, Fitted]:
    """A general oracle; items miss elements and whole modalities."""
    truth = lg.general()
    values = lg.with_holes(truth.draw(ITEMS, seed=2), seed=3)
    return truth, values, lg.dataset(truth, values), lg.fitted(truth, Spoilt(truth), "numpyro")


@pytest.fixture
def spoilt(request: pytest.FixtureRequest) -> Iterator[Fitted]:
    """The pair with something wrong with its guide."""
    guide = case()[-1].vae.guide
    sound = {name: buffer.clone() for name, buffer in guide.named_buffers()}
    for name, value in request.param.items():
        guide.get_buffer(name).fill_(value)
    yield case()[-1]
    guide.load_state_dict(sound, strict=False)


def agrees(log_weights: np.ndarray, exact: np.ndarray, grid: float = 1e-5) -> np.ndarray:
    """Is the log mean of weights ``(particles, items)`` the exact one within three standard errors, and the grid's?"""
    shares = np.exp(log_weights - log_weights.max(0))
    error = shares.std(0) / shares.mean(0) / np.sqrt(len(shares))
    return np.abs(logsumexp(log_weights, 0) - np.log(len(log_weights)) - exact) < 3 * error + grid


@pytest.mark.parametrize("spoilt", FAULTS.values(), ids=FAULTS, indirect=True)
@pytest.mark.parametrize("given", [None, ["a", "c"]])
def test_a_corrected_posterior_is_exact_whatever_the_guide(spoilt: Fitted, given: list[str] | None) -> None:
    truth, values, data, _ = case()
    known = {name: values[name] for name in given or truth.names}
    weights = spoilt.log_weights(data, given, posterior="corrected")
    assert weights.served.passes.all()
    assert agrees(weights, truth.evidence(known)).all()
    z, (mean, cov) = spoilt.encode(data, given, 1000, posterior="corrected")["z"], truth.posterior(known)
    sd = np.sqrt(np.diagonal(cov, axis1=1, axis2=2))
    assert np.abs((z.mean(0) - mean) / sd).max() < 0.15
    assert np.abs(z.std(0) / sd - 1).max() < 0.12


def test_an_exact_guide_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    truth, values, data, fitted = case()
    monkeypatch.delattr(ladder, "corrected")
    evidence = fitted.log_evidence(data, particles=50, posterior="auto")
    np.testing.assert_allclose(evidence, truth.evidence(values), rtol=1e-9, atol=1e-12)
    assert set(evidence.served.stage) == {"guide"}
    assert np.isneginf(evidence.served.khat).all()


@pytest.mark.parametrize("spoilt", [{"widen": 0.3}], indirect=True)
def test_only_what_the_guide_fails_is_corrected_on_either_backend(spoilt: Fitted) -> None:
    _, _, data, _ = case()
    evidence = spoilt.log_evidence(data, posterior="auto")
    served = evidence.served
    assert 0 < (served.stage == "corrected").sum() < ITEMS
    assert served.passes.all()
    assert np.array_equal(evidence, spoilt.to("pyro").log_evidence(data, posterior="auto"))


@pytest.mark.parametrize("posterior", ["corrected", "auto"])
def test_an_answer_depends_on_the_item_alone(posterior: str) -> None:
    _, _, data, fitted = case()
    some = np.array([6, 1, 2, 0, 4])
    whole = fitted.query(data, ["a"], None, 7, seed=5, posterior=posterior)["b"]
    part = fitted.query(data.take(some), ["a"], None, 7, seed=5, posterior=posterior)["b"]
    np.testing.assert_allclose(part, whole[:, some], rtol=1e-9)
    other = fitted.query(data, ["a"], None, 7, seed=6, posterior=posterior)["b"]
    assert np.abs(other - whole).min() > 0


def test_arviz_has_the_corrected_draws_and_how_they_were_served() -> None:
    truth, values, data, fitted = case()
    found = fitted.to_arviz(data, ["a"], draws=7, posterior="corrected")
    z = fitted.encode(data, ["a"], 7, posterior="corrected")["z"]
    np.testing.assert_array_equal(found["posterior"]["z"].values[0], z)
    predicted = fitted.query(data, ["a"], draws=7, posterior="corrected")["b"]
    assert found["posterior_predictive"]["b"].values[0].shape == predicted.shape
    scale = truth.scales["b"]
    each = stats.norm.logpdf(values["b"], z @ truth.weights["b"].T + truth.biases["b"], scale)
    exact = np.where(data.present("b"), np.nansum(each, -1), np.nan)
    np.testing.assert_allclose(found["log_likelihood"]["b"].values[0], exact, rtol=1e-9)
    assert found["sample_stats"]["passes"].values.all()
    assert set(found["sample_stats"]["stage"].values) == {"corrected"}


def test_holes_are_filled_by_corrected_draws() -> None:
    truth, values, data, fitted = case()
    found = fitted.impute(data, 1000, posterior="corrected")
    assert found.served.passes.all()
    mean, cov = truth.predictive("a", values)
    hole = np.isnan(values["a"])
    sd = np.sqrt(np.diagonal(cov, axis1=1, axis2=2))
    np.testing.assert_array_equal(found["a"][~hole], values["a"][~hole])
    assert (np.abs(found["a"] - mean) / sd)[hole].max() < 0.2


def test_what_cannot_be_corrected_is_refused() -> None:
    _, _, data, fitted = case()
    with pytest.raises(ValueError, match="unknown posterior 'exact'; choose one of guide, corrected, auto"):
        fitted.encode(data, posterior="exact")
    with pytest.raises(ValueError, match="10 draws are too few for k-hat"):
        fitted.log_evidence(data, particles=10, posterior="auto")
    with pytest.raises(ValueError, match="0 draws of 8 items were asked for"):
        fitted.encode(data, draws=0, posterior="auto")
    run, rows = mixed.case(mixed.Marked(enumerate=False))
    with pytest.raises(ValueError, match="the latent 'c' is discrete: mark it infer"):
        run.encode(rows, posterior="corrected")


class Cubic(Program):
    """z ~ Normal(0, 1);  x ~ Normal(z³ − 3z, 0.2), whose density is no number where x is above 50."""

    def forward(self, batch: Any) -> Any:
        nothing = 0.0 * ops.sqrt(50.0 - batch.get("x"))
        with batch.plate():
            z = pyro.sample("z", dist.Normal(0.0, 1.0).expand([1]).to_event(1))
            return pyro.sample("x", dist.Normal(z**3 - 3 * z + nothing, 0.2).to_event(1), obs=batch.get("x"))


class OneMode(Program):
    """z ~ Normal(0, 0.1), whatever was measured."""

    def forward(self, batch: Any) -> Any:
        with batch.plate():
            return pyro.sample("z", dist.Normal(0.0, 0.1).expand([1]).to_event(1))


def test_modes_that_the_guide_does_not_know_are_found() -> None:
    parts, x = [Modality("x", (1,))], np.array([[0.0], [1.0], [-1.5], [99.0]])
    fitted = pairs.fitted(VAE(Cubic(), OneMode()), parts, "pyro")
    data = Dataset({"x": x}, modalities=parts)
    z = np.linspace(-5, 5, 20_001)
    joint = stats.norm.logpdf(z) + stats.norm.logpdf(x, z**3 - 3 * z, 0.2)
    weights = fitted.log_weights(data, posterior="corrected")
    exact = logsumexp(joint, 1) + np.log(z[1] - z[0])
    assert (agrees(weights, exact) | ~weights.served.passes).all()
    assert weights.served.passes.sum() > 1
    drawn = fitted.encode(data.take(range(3)), draws=1000, posterior="corrected")["z"][..., 0]
    for low, high in ((-5, -1), (-1, 1), (1, 5)):
        share = (np.exp(joint - logsumexp(joint, 1, keepdims=True)) * ((low < z) & (z < high))).sum(1)[:3]
        assert np.abs(((low < drawn) & (drawn < high)).mean(0) - share).max() < 0.04
    neither = fitted.encode(data.take([3]), posterior="auto").served
    assert (neither.stage[0], neither.khat[0], neither.passes[0]) == ("guide", np.inf, False)


@pytest.mark.slow
def test_discrete_latents_are_drawn_given_positive_ones_and_the_data() -> None:
    fitted, data = mixed.case(mixed.Marked())
    c, z, x = np.arange(2), np.linspace(1e-3, 30, 20_001)[:, None], data.arrays["x"]
    prior = np.log([0.3, 0.7]) + stats.lognorm.logpdf(z, 1.0, scale=np.exp(c))
    joint = prior + stats.norm.logpdf(x[:, None], z + c, 0.5)
    weights = fitted.log_weights(data, posterior="corrected")
    assert weights.served.passes.all()
    assert agrees(weights, logsumexp(joint, (1, 2)) + np.log(z[1, 0] - z[0, 0])).all()
    mass = np.exp(joint - logsumexp(joint, (1, 2), keepdims=True))
    drawn = fitted.encode(data, draws=1000, posterior="corrected")
    assert np.abs(drawn["c"].mean(0) - mass[..., 1].sum(1)).max() < 0.06
    mean = (mass.sum(2) * z[:, 0]).sum(1)
    sd = np.sqrt((mass.sum(2) * z[:, 0] ** 2).sum(1) - mean**2)
    assert np.abs((drawn["z"].mean(0) - mean) / sd).max() < 0.15
    center = (mass * (z + c)).sum((1, 2))
    spread = np.sqrt((mass * (z + c) ** 2).sum((1, 2)) - center**2 + 0.25)
    again = fitted.query(data, draws=1000, posterior="corrected")["x"][..., 0]
    assert np.abs((again.mean(0) - center) / spread).max() < 0.15
    assert np.abs(again.std(0) / spread - 1).max() < 0.15


class Chained(Program):
    """t ~ Normal(0, 1) for all;  p ~ Beta(2, 3);  w ~ Normal(p + t, 0.5);  x ~ Normal(p w, 0.3)."""

    def forward(self, batch: Any) -> Any:
        t = pyro.sample("t", dist.Normal(0.0, 1.0))
        with batch.plate():
            p = pyro.sample("p", dist.Beta(2.0, 3.0))
            w = pyro.sample("w", dist.Normal(p + t, 0.5))
            return pyro.sample("x", dist.Normal((p * w)[..., None], 0.3).to_event(1), obs=batch.get("x"))


class Loose(Program):
    """t ~ Normal(1, 0.000001);  p ~ Beta(1, 1);  w ~ Normal(0, 1)."""

    def forward(self, batch: Any) -> Any:
        pyro.sample("t", dist.Normal(ops.tensor(1.0), 1e-6))
        with batch.plate():
            pyro.sample("p", dist.Beta(1.0, 1.0))
            return pyro.sample("w", dist.Normal(0.0, 1.0))


@pytest.mark.slow
def test_several_sites_beside_a_latent_that_all_share() -> None:
    parts, x = [Modality("x", (1,))], np.array([[0.2], [2.0]])
    fitted = pairs.fitted(VAE(Chained(), Loose()), parts, "numpyro")
    data = Dataset({"x": x}, modalities=parts)
    p, w = np.linspace(5e-4, 1 - 5e-4, 1000)[:, None], np.linspace(-4, 6, 1001)
    joint = stats.beta.logpdf(p, 2, 3) + stats.norm.logpdf(w, p + 1, 0.5) + stats.norm.logpdf(x[..., None], p * w, 0.3)
    weights = fitted.log_weights(data, posterior="corrected")
    assert weights.served.passes.all()
    assert agrees(weights, logsumexp(joint, (1, 2)) + np.log(1e-3 * (w[1] - w[0]))).all()
    mass = np.exp(joint - logsumexp(joint, (1, 2), keepdims=True))
    drawn = fitted.encode(data, draws=1000, posterior="corrected")
    for name, grid in (("p", p), ("w", w)):
        mean = (mass * grid).sum((1, 2))
        sd = np.sqrt((mass * grid**2).sum((1, 2)) - mean**2)
        assert np.abs((drawn[name].mean(0) - mean) / sd).max() < 0.15
        assert np.abs(drawn[name].std(0) / sd - 1).max() < 0.15


@pytest.mark.slow
def test_pictures_are_served_whose_layers_have_no_forward_mode() -> None:
    look = Modality("look", (1, 4, 4), kind="image")
    data = Dataset({"look": np.random.default_rng(0).normal(size=(2, 1, 4, 4))}, modalities=[look])
    vae = pairs.untrained(ppvae.method("vae", data.modalities, latent=1))
    run = pairs.fitted(vae, [look], "numpyro")
    weights = run.log_weights(data, posterior="corrected")
    assert weights.served.passes.all()
    assert agrees(weights, run.log_evidence(data, particles=4000), grid=0.05).all()


def test_densities_of_particles_are_those_of_scipy() -> None:
    rng = np.random.default_rng(0)
    share, loc = rng.dirichlet(np.ones(2), size=3), rng.normal(size=(3, 2, 4))
    root = np.tril(rng.normal(size=(3, 2, 4, 4)), -1) + np.eye(4) * rng.uniform(0.5, 2.0, size=(3, 2, 4, 1))
    vectors = rng.normal(size=(5, 3, 4))
    found = proposals.densities(proposals.Mixture(share, loc, root), vectors)
    for i, k in np.ndindex(3, 2):
        part = stats.multivariate_t(loc[i, k], root[i, k] @ root[i, k].T, proposals.FREEDOM)
        np.testing.assert_allclose(found[:, i, k], np.log(share[i, k]) + part.logpdf(vectors[:, i]), rtol=1e-10)


class Sphere(Program):
    """A direction, seen in noise; the guide draws it near what was seen."""

    def __init__(self, role: str) -> None:
        super().__init__()
        self.role = role

    def forward(self, batch: Any) -> None:
        x = batch.get("x")
        with batch.plate():
            loc = torch.tensor([0.0, 0.0, 1.0]) if self.role == "model" else x
            u = pyro.sample("u", dist.ProjectedNormal(loc))
            if self.role == "model":
                pyro.sample("x", dist.Normal(u, 0.5).to_event(1), obs=x)


def test_what_is_no_covariance_as_computed_keeps_its_factor() -> None:
    before = np.stack([2 * np.eye(2)] * 3)
    matrices = np.array([[[4.0, 2.0], [2.0, 3.0]], [[1.0, 1.0], [1.0, 1.0 - 1e-15]], [[9.0, 0.0], [0.0, 1.0]]])
    found = proposals._factors(matrices, before)
    np.testing.assert_allclose(found[[0, 2]], np.linalg.cholesky(matrices[[0, 2]]))
    np.testing.assert_array_equal(found[1], before[1])


def test_what_cannot_be_moved_about_is_refused_in_a_sentence() -> None:
    data = Dataset({"x": np.random.default_rng(0).normal(size=(6, 3))})
    run = ppvae.fit(VAE(Sphere("model"), Sphere("guide")), data, backend="pyro", epochs=1, progress=False)
    with pytest.raises(ValueError, match=r"the latent 'u' has the support .*, which nothing maps to all real numbers"):
        run.encode(data, posterior="corrected")
