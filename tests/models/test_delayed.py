"""Delayed: evidence and lags against the exact sum over lags, and what is learned of lags that nobody measured."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import numpy as np
import pairs
import pytest
import torch
from scipy import stats
from scipy.special import log_softmax, logsumexp

import ppvae
from ppvae import VAE, Batch, Dataset, Modality
from ppvae.datasets.lagged import lagged
from ppvae.guides.delayed import Delayed as Guide
from ppvae.language.traces import latents, paired, random_sites
from ppvae.models.delayed import Delayed
from ppvae.objectives.elbo import elbo
from ppvae.parts.trajectories import Reverting, carried, markov, picked, realigned, stretches

TIMES, LAGS = 4, 3

both = pytest.mark.parametrize("backend", pairs.BACKENDS)


@pytest.fixture(autouse=True)
def double() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def views() -> list[Modality]:
    lag = Modality("b_lag", (1,), "categorical", levels=LAGS)
    return [Modality("a", (1, TIMES), kind="series"), Modality("b", (2, TIMES), center=0.5, spread=2.0), lag]


@cache
def vae() -> VAE:
    """Decoders are linear, so that all is Gaussian given the lags."""
    with torch.random.fork_rng():
        torch.manual_seed(2)
        model = Delayed(views(), latent=1, hidden=())
        guide = Guide(views(), 1, (4,), model=model)
        with torch.no_grad():
            model.delays["b"].logits.copy_(torch.tensor([0.4, -0.3, 0.1]))
            for series in model.series.values():
                series.log_scale += 0.7
            guide.second[-1].weight *= 0.3  # near the prior, and wider, so that importance weights are bounded
            guide.second[-1].bias.copy_(torch.tensor([0.0, 1.2, -0.2]))
        return VAE(model, guide)


@cache
def data() -> Dataset:
    """Rows with everything, without the lag, without a stretch, without a series, with a lag alone, with nothing."""
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(7, 1, TIMES)), 0.5 + 2 * rng.normal(size=(7, 2, TIMES))
    lag = np.array([1, np.nan, np.nan, 2, np.nan, 0, np.nan])[:, None]
    a[2, :, 1:3], b[2, 1, 2:], a[3], b[4], a[5:], b[5:] = (np.nan,) * 6
    return Dataset({"a": a, "b": b, "b_lag": lag}, modalities=views())


def covariance(times: int, memory: float) -> np.ndarray:
    """Of the path, as the kernel of a Gaussian process."""
    steps = np.arange(times)
    return np.exp(-abs(steps[:, None] - steps) / memory)


def log_joint(item: int, lag: int) -> float:
    """``log p(lag) + log p(x | lag)`` of one item, the path integrated out."""
    model, arrays, parts = vae().model, data(), []
    kernel = covariance(model.grid, float(model.path.log_memory.detach().exp()))
    for name, shift in (("a", 0), ("b", lag)):
        series, x = model.series[name], arrays.holed(name)[item]
        weight, bias = (p.detach().numpy() for p in (series.decoder[0].weight, series.decoder[0].bias))
        see = np.eye(model.grid)[LAGS - 1 - shift : LAGS - 1 - shift + TIMES]
        spread, noise = series.spread.numpy(), np.exp(series.log_scale.detach().numpy())
        for channel in range(len(x)):
            scale = spread[channel][:, None] * weight[channel, 0]
            mean = series.center.numpy()[channel] + spread[channel] * bias[channel]
            parts.append((x[channel], mean, scale * see, spread[channel] * noise[channel]))
    x, mean, see, noise = (np.concatenate([part[i] for part in parts]) for i in range(4))
    seen = ~np.isnan(x)
    cov = see[seen] @ kernel @ see[seen].T + np.diag(noise[seen] ** 2)
    found = stats.multivariate_normal.logpdf(x[seen], mean[seen], cov) if seen.any() else 0.0
    return float(found + log_softmax(model.delays["b"].logits.detach().numpy())[lag])


def joints() -> np.ndarray:
    return np.array([[log_joint(item, lag) for lag in range(LAGS)] for item in range(len(data()))])


@both
def test_the_evidence_sums_lags_out_that_were_not_measured(backend: str) -> None:
    known = data().holed("b_lag")[:, 0]
    own = joints()[np.arange(len(known)), np.nan_to_num(known).astype(int)]
    run = pairs.fitted(vae(), views(), backend)
    pairs.check_evidence(run, data(), np.where(np.isnan(known), logsumexp(joints(), 1), own))
    pairs.check_evidence(run, data(), logsumexp(joints(), 1), given=["a", "b"])


def test_the_guides_lag_is_the_models_given_the_path() -> None:
    batch = data().batch(given=["a", "b"])
    drawn = latents(random_sites(vae().guide, batch))
    scores = []
    for lag in range(LAGS):
        sites = random_sites(vae().model, batch, {**drawn, "b_delay": torch.full((len(data()),), lag)})
        scores.append(sum(sites[name]["fn"].log_prob(sites[name]["value"]) for name in ("b_delay", "b")))
    expected = torch.softmax(torch.stack(scores, -1), -1)
    fn = random_sites(vae().guide, batch, {"z": drawn["z"]})["b_delay"]["fn"]
    torch.testing.assert_close(fn.probs, expected)


@both
def test_a_lag_that_was_measured_is_the_answer(backend: str) -> None:
    run, known = pairs.fitted(vae(), views(), backend), data().holed("b_lag")[:, 0]
    drawn = run.query(data(), ask=["b_lag"], draws=20)["b_lag"][..., 0]
    assert (drawn == known)[:, ~np.isnan(known)].all()
    assert drawn[:, np.isnan(known)].std(0).min() > 0


@both
def test_what_stands_in_a_hole_is_silent(backend: str) -> None:
    pairs.check_holes_are_silent(backend, vae(), elbo(), {name: data().holed(name) for name in data().arrays})


def test_lags_of_many_series_are_summed_out_one_by_one() -> None:
    series = [Modality(f"x{i}", (1, 3)) for i in range(9)]
    lags = [Modality(f"x{i}_lag", (1,), "categorical", levels=10) for i in range(9)]
    made = ppvae.method("delayed", [*series, *lags], latent=1, hidden=[2], channels=[2])
    batch = Batch({m.name: np.random.default_rng(0).normal(size=(2, 1, 3)) for m in series})
    found = elbo()(made.model, made.guide, batch, 1.0)  # all lags together take a billion values
    weights = ppvae.language.traces.log_weights(*reversed(paired(made.model, made.guide, batch, draws=2)))
    assert weights.shape == (2, 2)
    assert torch.isfinite(weights).all()
    assert torch.isfinite(sum(found.values())).all()


def test_stretches_are_what_a_lagged_clock_reads_and_realigning_takes_them_back() -> None:
    path = torch.arange(7.0)[None, :, None]
    seen = stretches(path, times=5, lags=3)
    np.testing.assert_array_equal(seen[0, :, 0].T, [[2, 3, 4, 5, 6], [1, 2, 3, 4, 5], [0, 1, 2, 3, 4]])
    second = torch.tensor([[0.0, 1.0, 0.0]])
    np.testing.assert_array_equal(realigned(picked(seen, second), second, 7)[0, :, 0], [0, 1, 2, 3, 4, 5, 0])


def test_the_path_is_a_gaussian_process_that_forgets_exponentially() -> None:
    prior = Reverting(2, 5)
    with torch.no_grad():
        prior.log_memory.copy_(torch.tensor([0.3, 1.7]))
    fn, z = prior(3), torch.randn(3, 2, 5)
    exact = [
        stats.multivariate_normal(cov=covariance(5, memory)).logpdf(z[:, i])
        for i, memory in ((0, np.exp(0.3)), (1, np.exp(1.7)))
    ]
    np.testing.assert_allclose(fn.log_prob(z).detach(), sum(exact), rtol=1e-10)


@pytest.mark.parametrize("times", [1, 2, 7, 8, 9])
def test_what_is_carried_is_the_recursion_step_by_step(times: int) -> None:
    rng = np.random.default_rng(times)
    keep, given = rng.uniform(size=(2, 3, times))
    keep[:, 0], keep[0, 1:2] = 0.0, 1e-300
    wanted = np.zeros((3, times))
    for time in range(times):
        wanted[:, time] = given[:, time] + (keep[:, time] * wanted[:, time - 1] if time else 0.0)
    np.testing.assert_allclose(carried(torch.tensor(keep), torch.tensor(given)), wanted, rtol=1e-14)


def test_a_markov_path_has_the_covariance_of_its_recursion() -> None:
    rng = np.random.default_rng(0)
    loc, log_keep, log_scale = rng.normal(size=(3, 1, 4))
    log_keep, spread = -np.exp(log_keep), np.zeros((4, 4))
    for time in range(4):
        spread[time] = np.exp(log_keep[0, time]) * spread[time - 1] if time else 0.0
        spread[time, time] += np.exp(log_scale[0, time])
    fn = markov(*(torch.as_tensor(x) for x in (loc, log_keep, np.exp(log_scale))))
    z, exact = rng.normal(size=(6, 1, 4)), stats.multivariate_normal(loc[0], spread @ spread.T)
    np.testing.assert_allclose(fn.log_prob(torch.as_tensor(z)), exact.logpdf(z[:, 0]), rtol=1e-10)
    np.testing.assert_allclose(fn.variance[0], np.diag(spread @ spread.T), rtol=1e-10)
    drawn = fn.sample((40_000,))[:, 0].numpy()
    np.testing.assert_allclose(np.cov(drawn.T), spread @ spread.T, atol=0.06 * (spread**2).sum(1).max())
    np.testing.assert_allclose(drawn.mean(0), loc[0], atol=0.05)


@pytest.mark.parametrize(
    ("others", "said"),
    [
        ([Modality("c", (3,))], "'c' of shape \\(3,\\) is no series"),
        ([Modality("c", (1, 3, 3), kind="image")], "'c' of shape \\(1, 3, 3\\) is no series"),
        ([Modality("c", (1, TIMES + 1))], "'c' has 5 times and 'a' 4: give all the same clock"),
        ([Modality("a_lag", (1,))], "the lag 'a_lag' is normal of shape \\(1,\\); it must be categorical"),
        ([Modality("c_lag", (1,), "categorical", levels=3)], "'c_lag' of shape \\(1,\\) is no series"),
    ],
)
def test_what_is_no_series_and_no_lag_is_refused(others: list[Modality], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        ppvae.method("delayed", [*views(), *others])


def test_lagged_series_see_the_path_later() -> None:
    data = lagged(4000, times=12, lags=3, missing=0.0, known=1.0, seed=0)
    a, b, lag = data.arrays["a"][:, 0], data.arrays["b"][:, 0], data.labels["b_lag"]
    np.testing.assert_array_equal(data.arrays["b_lag"][:, 0], lag)
    for value in range(3):
        rows, shifts = lag == value, range(3)
        found = [np.mean(a[rows, 2:9] * b[rows, 2 + shift : 9 + shift]) for shift in shifts]
        np.testing.assert_allclose(found, [0.9 * np.exp(-abs(value - shift) / 4) for shift in shifts], atol=0.06)


def test_lagged_has_holes_and_is_the_same_for_a_seed() -> None:
    one, other = (lagged(50, seed=seed) for seed in (3, 3))
    assert all(np.array_equal(one.holed(n), other.holed(n), equal_nan=True) for n in one.arrays)
    holes = np.isnan(one.holed("c")).all(1)
    assert (holes.sum(1) >= 6).all()
    assert 0.2 < one.present("b_lag").mean() < 0.4
    assert {m.kind for m in one.modalities if m.name in "abc"} == {"series"}


@pytest.mark.slow
@both
def test_lags_that_nobody_measured_are_right(backend: str) -> None:
    train, test = lagged(1500, seed=0), lagged(300, seed=1)
    made = ppvae.method("delayed", train.modalities, latent=1)
    run = ppvae.fit(made, train, backend=backend, epochs=30, batch_size=64, lr=5e-3, progress=False)
    drawn = run.query(test.only(["a", "b", "c"]), ask=["b_lag", "c_lag"], draws=25)
    for name, values in drawn.items():
        assert (np.median(values[..., 0], 0) == test.labels[name]).mean() >= 0.95, name
