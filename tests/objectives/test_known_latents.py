"""Known latents: new items of the model teach the guide alone, as much as the closed form says."""

from __future__ import annotations

import itertools
from typing import Any

import linear_gaussian as lg
import numpy as np
import pytest
from objective_harness import BACKENDS, evaluate
from scipy import stats

import ppvae
from ppvae import VAE, Dataset, objectives, ops
from ppvae.objectives.elbo import elbo
from ppvae.objectives.known_latents import known_latents
from ppvae.objectives.subsets import uniform_drop

TRUTH = lg.general()
ITEMS = 3000
WEIGHT = 0.5


def nothing(model: Any, guide: Any, batch: Any, beta: Any) -> dict[str, Any]:
    return {}


def entropies() -> dict[tuple[str, ...], float]:
    """``H(z | x_S)`` of the closed form, which no measurement moves, by S."""
    values = TRUTH.draw(1, seed=0)
    found = {}
    for subset in lg.subsets(TRUTH.names):
        _, cov = TRUTH.posterior({name: values[name] for name in subset})
        found[subset] = float(np.linalg.slogdet(2 * np.pi * np.e * cov[0])[1] / 2)
    return found


def expected() -> float:
    """Minus the mean entropy: each modality is left out with probability 1/2, but never all of them."""
    names, known, total = tuple(TRUTH.names), entropies(), 0.0
    for kept in itertools.product([True, False], repeat=len(names)):
        total += known[tuple(name for name, there in zip(names, kept, strict=True) if there) or names]
    return -total / 2 ** len(names)


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_exact_guide_loses_the_entropy_of_its_posteriors(backend: str) -> None:
    vae = VAE(lg.joint(TRUTH).double(), lg.Exact(TRUTH).double())
    shares, _ = evaluate(backend, vae, objectives.asleep(nothing, WEIGHT), TRUTH.draw(ITEMS, seed=1))
    assert shares["sleep"].shape == (ITEMS,)
    error = shares["sleep"].std() / np.sqrt(ITEMS)
    assert abs(shares["sleep"].mean() - WEIGHT * expected()) < 4 * error
    assert error < 0.02


@pytest.mark.parametrize("backend", BACKENDS)
def test_alone_it_asks_of_every_number_of_modalities_equally_often(backend: str) -> None:
    vae = VAE(lg.joint(TRUTH).double(), lg.Exact(TRUTH).double())
    shares, _ = evaluate(backend, vae, known_latents, TRUTH.draw(ITEMS, seed=1))
    known, names = entropies(), tuple(TRUTH.names)
    sizes = [[known[s] for s in itertools.combinations(names, size)] for size in range(1, len(names) + 1)]
    error = shares["new items"].std() / np.sqrt(ITEMS)
    assert abs(shares["new items"].mean() + np.mean([np.mean(size) for size in sizes])) < 4 * error


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_item_keeps_any_number_of_those_it_has(backend: str) -> None:
    def shown(model: Any, guide: Any, batch: Any, beta: Any) -> dict[str, Any]:
        drop = uniform_drop(model, batch)
        return {name: ops.where(drop[name], 0.0, 1.0 * batch.present(name)) for name in drop}

    values = TRUTH.draw(ITEMS, seed=1)
    values["a"][::2] = np.nan
    kept, _ = evaluate(backend, VAE(lg.joint(TRUTH).double(), lg.Exact(TRUTH).double()), shown, values)
    count = np.stack(list(kept.values())).sum(0).astype(int)
    assert (kept["a"][::2] == 0).all()
    assert stats.chisquare(np.bincount(count[::2])[1:]).pvalue > 0.01
    assert stats.chisquare(np.bincount(count[1::2])[1:]).pvalue > 0.01
    assert stats.chisquare([each[1::2][count[1::2] == 1].sum() for each in kept.values()]).pvalue > 0.01


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_model_learns_nothing_of_it(backend: str) -> None:
    vae = VAE(lg.joint(TRUTH).double(), lg.product(TRUTH, widen=0.5).double())
    _, slopes = evaluate(backend, vae, objectives.asleep(nothing), TRUTH.draw(20, seed=1), gradients=True)
    touched = {name.partition(".")[0] for name, slope in slopes.items() if np.abs(slope).max() > 0}
    assert touched == {"guide"}


def test_the_objective_beside_it_stays_as_it_is() -> None:
    vae = VAE(lg.joint(TRUTH).double(), lg.product(TRUTH).double())
    values = TRUTH.draw(20, seed=1)
    alone, both = (evaluate("pyro", vae, made, values)[0] for made in (elbo(), objectives.asleep(elbo())))
    assert both.keys() - alone.keys() == {"sleep"}
    assert objectives.asleep(elbo()).__qualname__ == elbo().__qualname__


def rows() -> Dataset:
    random = np.random.default_rng(0)
    a, n = random.normal(size=(60, 3)), random.poisson(3.0, (60, 2)).astype(float)
    a[::5], n[1::5] = np.nan, np.nan
    return Dataset({"a": a, "n": n}, likelihood={"n": "poisson"}).refitted()


@pytest.mark.parametrize("method", ["vae", "mvae", "telbo", "mmvae_plus", "mhvae", "cvae"])
def test_any_method_takes_it_and_a_saved_run_keeps_it(method: str, tmp_path: Any) -> None:
    data = rows()
    options = {"condition": "n"} if method == "cvae" else {}
    vae = ppvae.method(method, data.modalities, latent=2, hidden=(8,), sleep=1.0, **options)
    run = ppvae.fit(vae, data, backend="pyro", epochs=3, batch_size=30, progress=False, out=tmp_path)
    assert np.isfinite(run.history[-1]["sites"]["sleep"])
    assert ppvae.load(tmp_path).vae.recipe["options"]["sleep"] == 1.0
    more = ppvae.fit(ppvae.load(tmp_path), data, backend="pyro", epochs=4, batch_size=30, progress=False)
    assert "sleep" in more.history[-1]["sites"]


def test_a_weight_below_zero_is_refused() -> None:
    with pytest.raises(ValueError, match=r"option 'sleep' is -1: input should be greater than or equal to 0"):
        ppvae.method("mvae", rows().modalities, sleep=-1)
