"""Factor: closed forms at fixed loadings, latents that all items share, and sparse structure that was planted."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import linear_gaussian as lg
import numpy as np
import objective_harness
import pairs
import pytest
import torch
from scipy import stats
from scipy.special import logsumexp

import ppvae
from ppvae import VAE, Batch, Dataset, Modality
from ppvae.backends import pyro
from ppvae.guides.factor import Factor as Guide
from ppvae.inference import chunks
from ppvae.language.traces import paired, random_sites
from ppvae.models.factor import Factor
from ppvae.objectives import make
from ppvae.objectives.multisample import iwae

both = pytest.mark.parametrize("backend", pairs.BACKENDS)
DRAWS = 4


@pytest.fixture(autouse=True)
def double() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def untrained(modalities: list[Modality], sparsity: Any = "ard") -> VAE:
    torch.manual_seed(0)
    model = Factor(modalities, latent=2, sparsity=sparsity)
    vae = VAE(model, Guide(modalities, 2, (3,), model=model))
    vae.pair.double()
    return vae


@cache
def at_the_truth() -> tuple[lg.LinearGaussian, VAE]:
    """An oracle whose experts are exact, and a guide that is sure of its loadings."""
    truth = lg.orthogonal()
    vae = untrained(lg.modalities(truth))
    with torch.no_grad():
        for name, view in vae.model.views.items():
            spread = lg.SPREADS[name]
            view.intercept.copy_(torch.as_tensor((truth.biases[name] - lg.CENTERS[name]) / spread))
            view.log_scale.copy_(torch.as_tensor(np.log(truth.scales[name] / spread)))
            vae.guide.loadings[name].loc.copy_(torch.as_tensor(truth.weights[name] / spread))
            vae.guide.loadings[name].log_scale.fill_(-30.0)
    return truth, vae


@cache
def every_subset() -> Dataset:
    truth, _ = at_the_truth()
    values, chosen = truth.draw(3, seed=3), [(), *lg.subsets(truth.names)]
    arrays = {
        name: np.concatenate([array if name in subset else np.full_like(array, np.nan) for subset in chosen])
        for name, array in values.items()
    }
    return Dataset(arrays, modalities=lg.modalities(truth))


@both
def test_at_known_loadings_every_particle_weighs_the_exact_evidence(backend: str) -> None:
    truth, vae = at_the_truth()
    weights = pairs.fitted(vae, lg.modalities(truth), backend).log_weights(every_subset(), particles=5)
    filled = {
        name: np.where(every_subset().batch().present(name).numpy()[:, None], array, np.nan)
        for name, array in every_subset().arrays.items()
    }
    # The oracle's own expert of b leaves a precision of 3e-9 where b says nothing.
    assert np.abs(weights - truth.evidence(filled)).max() < 1e-7


@both
def test_generated_items_follow_the_loadings_that_were_learned(backend: str) -> None:
    truth, vae = at_the_truth()
    items = pairs.fitted(vae, lg.modalities(truth), backend).generate(12, draws=400)
    for name, values in items.items():
        means = values.mean(0) - truth.biases[name]
        basis, *_ = np.linalg.svd(truth.weights[name], full_matrices=False)
        left = means - means @ basis @ basis.T
        assert np.abs(left / truth.scales[name]).max() < 0.25, "400 draws leave 0.05 of a measurement's deviation"
        assert np.abs(means / truth.scales[name]).max() > 0.8


@pytest.mark.parametrize("backend", ["pyro", pytest.param("numpyro", marks=pytest.mark.slow)])
def test_objectives_of_many_draws_share_one_draw_of_the_loadings(backend: str) -> None:
    vae, arrays = untrained(pairs.views(), "horseshoe"), pairs.rows()

    def drawn(model: Any, guide: Any, batch: Batch, beta: Any) -> dict[str, Any]:
        proposal, _ = paired(model, guide, batch, DRAWS)
        return {name: site["value"] for name, site in proposal.items()}

    found = objective_harness.shares(backend, vae, iwae(DRAWS), arrays)
    values = objective_harness.shares(backend, vae, drawn, arrays)
    expected = {"the bound": by_hand_bound(vae, values, arrays), **by_hand_globals(vae, values)}
    assert set(found) == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-9, atol=1e-11, err_msg=name)


def by_hand_bound(vae: VAE, values: pairs.Arrays, arrays: pairs.Arrays) -> np.ndarray:
    """``log (1/K) Σ_k p(x, z_k | W) / q(z_k | x)`` at draws ``(K, items, latent)`` and one draw of the loadings."""
    masks = {name: torch.as_tensor(~np.isnan(x)) for name, x in arrays.items()}
    batch = Batch({name: torch.as_tensor(np.nan_to_num(x)) for name, x in arrays.items()}, masks)
    loc, scale = (part.detach().numpy() for part in vae.guide.product(batch))
    z = values["z"]
    total = (stats.norm.logpdf(z) - stats.norm.logpdf(z, loc, scale)).sum(-1)
    for name, x in arrays.items():
        view = vae.model.views[name]
        y = view.intercept.detach().numpy() + z @ values[f"loadings_{name}"].T
        spread = view.spread.numpy()
        each = stats.norm.logpdf(x, view.center.numpy() + spread * y, spread * view.log_scale.detach().exp().numpy())
        total = total + np.where(np.isnan(x), 0.0, each).sum(-1)
    return logsumexp(total, 0) - np.log(DRAWS)


def by_hand_globals(vae: VAE, values: pairs.Arrays) -> pairs.Arrays:
    """``log p − log q`` of every site that all items share."""
    found: pairs.Arrays = {}
    for name in vae.model.views:
        scale: Any = 1.0
        for part in ("scales", "locals"):
            site = f"{part}_{name}"
            if site in values:
                scale = scale * values[site]
                q = next(q for q in vae.guide.scales if q.site == site)
                spread, median = q.log_scale.detach().exp().numpy(), q.loc.detach().exp().numpy()
                log_q = stats.lognorm.logpdf(values[site], spread, scale=median)
                found[site] = (stats.halfcauchy.logpdf(values[site]) - log_q).sum()
        site, q = f"loadings_{name}", vae.guide.loadings[name]
        log_q = stats.norm.logpdf(values[site], q.loc.detach().numpy(), q.log_scale.detach().exp().numpy())
        found[site] = (stats.norm.logpdf(values[site], 0.0, scale) - log_q).sum()
    return found


@pytest.mark.parametrize("sparsity", ["horseshoe", "none"])
def test_both_backends_agree_to_rounding(sparsity: str) -> None:
    pairs.check_parity(untrained(pairs.views(), sparsity), Dataset(pairs.rows(), modalities=pairs.views()))


@both
def test_rows_answer_alone(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fitted = pairs.fitted(untrained(pairs.views()), pairs.views(), backend)
    pairs.check_rows_answer_alone(fitted, Dataset(pairs.rows(), modalities=pairs.views()), monkeypatch)


@both
def test_holes_are_silent(backend: str) -> None:
    pairs.check_holes_are_silent(backend, untrained(pairs.views(), "horseshoe"), make("iwae"), pairs.rows())


def test_only_an_items_own_latents_are_encoded() -> None:
    fitted = pairs.fitted(untrained(pairs.views()), pairs.views(), "pyro")
    encoded = fitted.encode(Dataset(pairs.rows(), modalities=pairs.views()), draws=3)
    assert {name: values.shape for name, values in encoded.items()} == {"z": (3, 5, 2)}


def test_chunks_shrink_as_shared_latents_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    fitted = pairs.fitted(untrained(pairs.views()), pairs.views(), "pyro")
    data = Dataset(pairs.rows(items=4), modalities=pairs.views())
    sizes, each_item = [], pyro.each_item
    monkeypatch.setattr(pyro, "each_item", lambda *a: sizes.append(len(a[-2])) or each_item(*a))
    before = fitted.log_weights(data, particles=10)
    held = sum(np.prod(s["value"].shape) for n, s in random_sites(fitted.vae.guide, Batch(size=1)).items() if n != "z")
    assert (sizes, held) == ([20], 2 * 3 + 2 * 2)
    monkeypatch.setattr(chunks, "NUMBERS", 50 * held)
    np.testing.assert_array_equal(fitted.log_weights(data, particles=10), before)
    assert sizes[1:] == [5] * 4, "50 draws at once, ten of each item"


PLANTED = {"a": [1, 1, 0], "b": [0, 1, 1], "c": [0, 0, 1]}  # which factor moves which view


@cache
def planted() -> tuple[np.ndarray, Dataset]:
    """Three factors, ``(items, 3)``, and views of which each is moved by some of them."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=(200, 3))
    weights = {name: rng.normal(size=(size, 3)) * PLANTED[name] for name, size in {"a": 40, "b": 30, "c": 20}.items()}
    return z, Dataset({name: z @ w.T + 0.7 * rng.normal(size=(200, len(w))) for name, w in weights.items()})


def recovered(sparsity: Any) -> tuple[np.ndarray, np.ndarray, float]:
    """How each planted factor correlates with one that was found, the energy of loadings that are none, the loss."""
    z, data = planted()
    torch.manual_seed(0)
    model = Factor(data.modalities or (), latent=4, sparsity=sparsity)
    vae = VAE(model, Guide(data.modalities or (), 4, (), model=model))
    options = {"epochs": 250, "batch_size": 100, "lr": 0.03, "schedule": "cosine", "progress": False}
    fitted = ppvae.fit(vae, data, backend="numpyro", dtype="float64", **options)
    means, loadings = fitted.vae.guide.means(data.batch())
    fits = np.abs(np.corrcoef(z.T, means.detach().numpy().T)[:3, 3:])
    energy = np.array([(loadings[name].detach().numpy() ** 2).mean(0) for name in PLANTED])
    found = energy[:, fits.argmax(1)]
    return fits.max(1), found[np.array(list(PLANTED.values())) == 0], fitted.history[-1]["loss"]


@pytest.mark.slow
def test_relevance_priors_find_which_factor_moves_which_view() -> None:
    fits, silent, loss = recovered("ard")
    _, loud, other = recovered("none")
    assert fits.min() > 0.95
    assert np.median(silent) < 0.4 * np.median(loud)
    assert loss < other - 1


@pytest.mark.parametrize("likelihood", ppvae.language.modality.ELEMENTWISE)
def test_variance_explained_is_what_a_regression_on_one_factor_leaves(likelihood: str) -> None:
    levels = 3 if likelihood == "categorical" else None
    kinds = [Modality("x", (2,), likelihood, levels=levels, center=0.5, spread=1.5)]
    vae = untrained(kinds)
    x = np.random.default_rng(0).integers(0, 2, size=(20, 2)).astype(float)
    mask = np.random.default_rng(1).random((20, 2)) < 0.8
    batch = Batch({"x": x}, {"x": mask})
    z, loadings = vae.guide.means(batch)
    found = vae.model.variance_explained(batch, z, loadings)["x"].detach().numpy()
    view = vae.model.views["x"]

    def squares(factor: int | None) -> float:
        kept = torch.zeros_like(z) if factor is None else z * torch.eye(2)[factor]
        family = view.family(view, view.predictor(loadings["x"], kept))
        mean = (family.probs if likelihood == "categorical" else family.mean).detach().numpy()
        target = np.eye(3)[x.astype(int)] if likelihood == "categorical" else x
        return float((mask.reshape(20, 2, *(1,) * (target.ndim - 2)) * (target - mean) ** 2).sum())

    expected = [1 - squares(k) / squares(None) for k in range(2)]
    np.testing.assert_allclose(found, expected, rtol=1e-10)
