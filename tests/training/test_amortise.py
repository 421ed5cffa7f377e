"""amortise: against closed-form posteriors, whatever the guide was; what it gives is a run like any other."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import linear_gaussian as lg
import numpy as np
import pytest

import ppvae
from ppvae import Dataset
from ppvae.inference.fitted import Fitted
from ppvae.training import amortise
from ppvae.zoo import build

ITEMS = 100
SETTINGS: dict[str, Any] = {"batch_size": 50, "lr": 5e-3, "progress": False}


@cache
def rows() -> tuple[lg.LinearGaussian, lg.Arrays, Dataset]:
    truth = lg.general()
    values = truth.draw(ITEMS, seed=1)
    return truth, values, lg.dataset(truth, values)


def wrong(backend: str) -> Fitted:
    """A pair whose guide is too narrow and off."""
    truth, _, _ = rows()
    return lg.fitted(truth, lg.Exact(truth, widen=0.4, shift=0.5), backend)


def divergence(run: Fitted, given: tuple[str, ...]) -> float:
    """``KL(p(z | x_S) ‖ q(z | x_S))`` by moments of q's draws, the mean over items: what a Gaussian q costs."""
    truth, values, data = rows()
    mean, cov = truth.posterior({name: values[name] for name in given})
    z = run.encode(data, list(given), draws=400)["z"].astype(float)
    each = []
    for item in range(ITEMS):
        loc, root = z[:, item].mean(0), np.linalg.inv(np.cov(z[:, item].T))
        off = loc - mean[item]
        each.append(np.trace(root @ cov[item]) + off @ root @ off - len(loc) - np.linalg.slogdet(root @ cov[item])[1])
    return float(np.mean(each) / 2)


@pytest.mark.parametrize(
    ("backend", "family", "steps", "most"),
    [
        ("pyro", "newton", 40, 0.02),
        pytest.param("numpyro", "newton", 40, 0.02, marks=pytest.mark.slow),
        pytest.param("numpyro", "full", 240, 0.06, marks=pytest.mark.slow),
    ],
)
def test_the_new_guide_is_near_the_posterior_of_every_subset_and_the_model_stays(
    backend: str, family: Any, steps: int, most: float
) -> None:
    _, _, data = rows()
    before = wrong(backend)
    after = ppvae.amortise(before, data, family=family, steps=steps, **SETTINGS)
    assert divergence(before, ("b", "c")) > 0.5
    for given in (("b", "c"), ("a", "b", "c")):
        assert divergence(after, given) < most, given
    for name, weight in before.vae.model.state_dict().items():
        np.testing.assert_array_equal(after.vae.model.state_dict()[name], weight)
    assert after.vae.objective == before.vae.objective
    assert after.history == []
    assert np.isfinite(after.notes["amortised"]["loss"]).all()


@cache
def mixed_rows() -> Dataset:
    random = np.random.default_rng(0)
    a, n = random.normal(size=(80, 3)), random.poisson(3.0, (80, 2)).astype(float)
    a[::5], n[1::5], a[2::5, 1] = np.nan, np.nan, np.nan
    return Dataset({"a": a, "n": n}, likelihood={"n": "poisson"}).refitted()


def small(method: str, **options: Any) -> Fitted:
    data = mixed_rows()
    vae = ppvae.method(method, data.modalities or (), latent=2, hidden=(8,), **options)
    return ppvae.fit(vae, data, epochs=0, progress=False)


TINY: dict[str, Any] = {"steps": 2, "batch_size": 40, "progress": False}


def test_a_method_with_another_guide_is_saved_and_loaded(tmp_path: Path) -> None:
    data = mixed_rows()
    vae = build.with_guide(small("mvae").vae, data.modalities or (), newton=True, latent=2, family="full")
    run = ppvae.fit(vae, data, epochs=0, progress=False)
    run.save(tmp_path / "run")
    loaded = ppvae.load(tmp_path / "run")
    for name, weight in run.vae.pair.state_dict().items():
        np.testing.assert_array_equal(loaded.vae.pair.state_dict()[name], weight)
    with pytest.raises(ValueError, match=r"and a guide with options .*, not of mvae"):
        ppvae.load(tmp_path / "run", vae=small("mvae").vae)


@pytest.mark.slow
@pytest.mark.parametrize(("method", "family"), [("mvae", "newton"), ("mmvae", "newton"), ("mmvae", "flow")])
def test_an_amortised_run_is_saved_loaded_and_moved_like_any_other(method: str, family: Any, tmp_path: Path) -> None:
    data = mixed_rows()
    run = ppvae.amortise(small(method), data, family=family, **TINY)
    run.save(tmp_path / "run")
    loaded = ppvae.load(tmp_path / "run")
    np.testing.assert_array_equal(loaded.encode(data, draws=3)["z"], run.encode(data, draws=3)["z"])
    assert loaded.notes["amortised"] == run.notes["amortised"]
    assert ppvae.parity(loaded.vae, data.batch(slice(10)), dtype="float64")["ok"]
    assert np.isfinite(loaded.to("pyro").encode(data, ["a"], draws=2)["z"]).all()


@pytest.mark.slow
def test_one_seed_gives_one_guide_with_which_training_may_go_on() -> None:
    data = mixed_rows()
    one, two = (ppvae.amortise(small("mvae"), data, seed=3, **TINY) for _ in range(2))
    for name, weight in one.snapshot.weights.items():
        np.testing.assert_array_equal(weight, two.snapshot.weights[name])
    assert np.isfinite(ppvae.fit(one, data, epochs=1, batch_size=40, progress=False).history[-1]["loss"])


@pytest.mark.slow
def test_what_a_model_takes_as_given_stays_given() -> None:
    run = ppvae.amortise(small("cvae", condition="n"), mixed_rows(), **TINY)
    assert np.isfinite(run.notes["amortised"]["loss"]).all()
    assert np.isfinite(run.encode(mixed_rows(), ["a", "n"])["z"]).all()


@pytest.mark.parametrize(("items", "steps", "rows"), [(80, 2, 80), (80, 1, 40), (80, 100, 400), (900, 100, 900)])
def test_epochs_are_neither_shorter_than_ten_steps_nor_longer_than_all(items: int, steps: int, rows: int) -> None:
    data = Dataset({"a": np.arange(items)[:, None] * 1.0})
    found = np.sort(amortise._rows(data, steps, 40, seed=0).arrays["a"][:, 0])
    assert len(found) == rows
    assert np.bincount(found.astype(int)).max() <= -(-rows // items)


def test_models_of_other_latents_and_data_that_lack_a_modality_are_refused() -> None:
    with pytest.raises(ValueError, match="whose only latent is a real vector z an item"):
        ppvae.amortise(small("mmvae_plus", private=1), mixed_rows())
    with pytest.raises(ValueError, match="the data lack 'n'"):
        ppvae.amortise(small("mvae"), mixed_rows().only(["a"]))
