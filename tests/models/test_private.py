"""Private latents: guides are exact where they can be, and the objectives of DMVAE and MMVAE+ are their formulas."""

from __future__ import annotations

from functools import cache
from typing import Any

import linear_gaussian as lg
import numpy as np
import private_gaussian as pg
import pytest
import torch
from scipy import stats

import ppvae
from ppvae import VAE, Batch
from ppvae.backends.devices.in_torch import defaults
from ppvae.guides.mixture_private import MixturePrivate
from ppvae.guides.product_private import ProductPrivate
from ppvae.inference.fitted import Fitted
from ppvae.language.traces import density, latents, random_sites
from ppvae.models.shared_private import SharedPrivate
from ppvae.objectives import make

both = pytest.mark.parametrize("backend", pg.BACKENDS)
SIZES: dict[str, Any] = {"latent": pg.SHARED, "private": pg.PRIVATE}
SMALL: dict[str, Any] = {"latent": 3, "private": 2, "hidden": (8,)}


def exact() -> VAE:
    """The oracle, and the product guide that is its posterior given any modalities."""
    oracle = pg.truth()
    model = pg.set_scales(SharedPrivate(pg.modalities(oracle), **SIZES), oracle)
    return VAE(model, ProductPrivate(pg.modalities(oracle), **SIZES).double())


def mixed() -> VAE:
    """The oracle, and a mixture of the exact posteriors given one modality each."""
    oracle = pg.truth()
    model = pg.set_scales(SharedPrivate(pg.modalities(oracle), **SIZES), oracle)
    guide = MixturePrivate(pg.modalities(oracle, prior_in_shared=True), **SIZES, model=model)
    return VAE(model, guide.double())


@cache
def fitted(backend: str) -> Fitted:
    return pg.fitted(exact(), pg.modalities(pg.truth()), backend)


@both
@pytest.mark.parametrize("given", [["a", "b", "c"], ["b"], []])
def test_every_particle_of_the_exact_product_weighs_the_evidence_of_ragged_rows(backend: str, given: list[str]) -> None:
    oracle = pg.truth()
    values = pg.ragged(oracle)
    weights = fitted(backend).log_weights(pg.dataset(values, oracle), given, particles=3)
    seen = {name: values[name] if name in given else np.full_like(values[name], np.nan) for name in values}
    np.testing.assert_allclose(weights, np.tile(oracle.evidence(seen), (3, 1)), atol=1e-10)


def test_draws_of_the_exact_product_have_the_posteriors_moments() -> None:
    oracle = pg.truth()
    values = pg.ragged(oracle)
    mean, cov = oracle.posterior(values)
    drawn = fitted("pyro").encode(pg.dataset(values, oracle), draws=2000)
    z = np.concatenate([drawn["z"], *(drawn[f"w_{name}"] for name in pg.NAMES)], -1)
    scale = np.sqrt(np.einsum("ill->il", cov))
    assert np.abs((z.mean(0) - mean) / scale).max() < 4.5 / np.sqrt(2000)
    np.testing.assert_allclose(z.std(0), scale, rtol=0.1)


def sites(program: Any, batch: Batch, values: dict[str, Any] | None = None) -> dict[str, Any]:
    with defaults(torch.float64), torch.no_grad():
        return random_sites(program.double(), batch, values)


@pytest.mark.parametrize("training", [True, False])
def test_an_absent_private_latent_comes_from_the_auxiliary_prior_in_training_and_from_the_models_afterwards(
    training: bool,
) -> None:
    guide = mixed().guide.train(training)
    with torch.no_grad():
        guide.auxiliary[1].fill_(np.log(3.0))
    values = pg.ragged(pg.truth())
    own = sites(guide, Batch(values))["w_b"]["fn"].base_dist
    absent = np.isnan(values["b"][:, 0])
    np.testing.assert_allclose(own.scale[absent], 3.0 if training else 1.0, rtol=1e-12)
    np.testing.assert_array_equal(own.loc[absent], 0.0)
    assert (own.scale[~absent] < 1).all()


def test_the_mixtures_density_is_that_of_the_posteriors_of_what_an_item_has() -> None:
    oracle, vae = pg.truth(), mixed()
    values = pg.ragged(oracle)
    z = np.random.default_rng(0).normal(size=(len(values["a"]), pg.SHARED))
    found = sites(vae.guide, Batch(values))["z"]["fn"].log_prob(torch.as_tensor(z))
    for row in range(len(z)):
        singles = [name for name in pg.NAMES if not np.isnan(values[name][row, 0])]
        parts = [oracle.posterior({name: values[name][[row]]}) for name in singles] or [
            (np.zeros((1, 5)), np.eye(5)[None])
        ]
        each = [
            stats.norm.pdf(z[row], mean[0, : pg.SHARED], np.sqrt(np.diag(cov[0])[: pg.SHARED])).prod()
            for mean, cov in parts
        ]
        np.testing.assert_allclose(found[row], np.log(np.mean(each)), rtol=1e-9)


def test_an_item_with_nothing_gets_the_latent_of_a_learned_prior() -> None:
    model = SharedPrivate(pg.modalities(pg.truth()), **SIZES, prior="diagonal")
    with torch.no_grad():
        model.prior.loc.fill_(5.0)
        model.prior.log_scale.fill_(-1.0)
    vae = VAE(model, MixturePrivate(pg.modalities(pg.truth()), **SIZES, model=model))
    data = pg.dataset(pg.ragged(pg.truth()), pg.truth())
    weights = pg.fitted(vae, pg.modalities(pg.truth()), "pyro").log_weights(data, [], particles=4)
    np.testing.assert_allclose(weights, 0.0, atol=1e-12)


def test_dmvae_in_expectation_is_its_closed_form_and_below_the_evidence() -> None:
    oracle, times = pg.truth(), 2000
    values = pg.ragged(oracle, items=6)
    found = pg.shares(exact(), make("dmvae"), pg.repeated(values, times))
    drawn = sum(found.values()).reshape(-1, times)  # type: ignore[union-attr]
    expected, sources = dmvae_by_hand(oracle, values)
    error = drawn.std(1) / np.sqrt(times)
    assert (np.abs(drawn.mean(1) - expected) < 4.5 * error + 1e-9).all()
    assert (expected <= sources * oracle.evidence(values) + 1e-9).all()


def dmvae_by_hand(oracle: lg.LinearGaussian, values: lg.Arrays) -> tuple[np.ndarray, np.ndarray]:
    """The objective of each item, and how many sources of z it has: all modalities, and each that is there."""
    there = {name: ~np.isnan(array[:, 0]) for name, array in values.items()}
    count = np.maximum(sum(there.values()), 1)
    mean, cov = oracle.posterior(values)
    scale = np.sqrt(np.einsum("ill->il", cov))
    total = source(oracle, values, mean, scale, count)
    for name, present in there.items():
        # Crossed sources are the experts of the product themselves, in which the prior speaks for every modality.
        alone, spread = oracle.posterior({name: values[name]})
        loc, wide = mean.copy(), scale.copy()
        loc[:, : pg.SHARED] = alone[:, : pg.SHARED]
        wide[:, : pg.SHARED] = np.sqrt(np.einsum("ill->il", spread))[:, : pg.SHARED]
        total = total + np.where(present, source(oracle, values, loc, wide, count), 0.0)
    return total, 1 + sum(there.values())


def source(
    oracle: lg.LinearGaussian, values: lg.Arrays, loc: np.ndarray, scale: np.ndarray, count: np.ndarray
) -> np.ndarray:
    """The ELBO under ``N(loc, scale²)``, less ``count − 1`` times the KL divergence of z."""
    m, s = loc[:, : pg.SHARED], scale[:, : pg.SHARED]
    kl = 0.5 * (s**2 + m**2 - 1 - 2 * np.log(s)).sum(1)
    return oracle.elbo(values, loc, scale) - (count - 1) * kl


def test_mmvae_is_the_evidence_for_one_modality_with_its_exact_posterior() -> None:
    values = {"b": pg.ragged(pg.truth())["b"]}
    for gradient in ("iwae", "dreg"):
        found = pg.shares(mixed(), make("mmvae", draws=3, gradient=gradient), Batch(values))["the bound"]
        np.testing.assert_allclose(found, pg.truth().evidence(values), atol=1e-10)


def test_mmvae_grows_with_the_draws_and_stays_below_the_evidence() -> None:
    oracle, times = pg.truth(), 500
    values = pg.ragged(oracle, items=6)
    one, ten = (
        pg.shares(mixed(), make("mmvae", draws=draws), pg.repeated(values, times))["the bound"].reshape(-1, times)
        for draws in (1, 10)
    )
    error = np.hypot(one.std(1), ten.std(1)) / np.sqrt(times)
    several = sum(~np.isnan(array[:, 0]) for array in values.values()) > 1
    assert several.sum() >= 2
    assert (ten.mean(1) - one.mean(1) > 4.5 * error)[several].all()
    assert (ten.mean(1) <= oracle.evidence(values) + 4.5 * ten.std(1) / np.sqrt(times) + 1e-9).all()
    assert (oracle.evidence(values) - one.mean(1) > 4.5 * one.std(1) / np.sqrt(times))[several].all()


def test_the_gradients_of_dreg_and_iwae_agree_in_expectation() -> None:
    """For everything but the experts of z, where DReG is exact for one modality or draw alone."""
    vae = skewed()
    values = {name: array[:1] for name, array in pg.truth().draw(1, 3).items() if name != "c"}
    z = z_scores(vae, Batch({name: np.repeat(array, 250, 0) for name, array in values.items()}), draws=3)
    assert {"guide.auxiliary", "guide.private.networks.b.1.weight", "model.likelihoods.a.log_scale"} <= set(z)
    for name, scores in z.items():
        if "shared" not in name:
            assert np.abs(scores).max() < 4.5, name
    for case, draws in (({"a": values["a"]}, 3), (values, 1)):
        z = z_scores(vae, Batch({name: np.repeat(array, 250, 0) for name, array in case.items()}), draws)
        assert np.abs(z["guide.shared.networks.a.1.weight"]).max() < 4.5


def skewed() -> VAE:
    """The mixture's pair with experts and auxiliary scales that are off, so that gradients are not zero."""
    vae = mixed()
    with torch.no_grad():
        for name, parameter in vae.guide.named_parameters():
            parameter.add_(0.3 if "bias" in name or "auxiliary" in name else 0.0)
    return vae


def z_scores(vae: VAE, batch: Batch, draws: int, chunks: int = 40) -> dict[str, np.ndarray]:
    """The mean difference of both gradients in standard errors, where either is not always zero."""
    kinds = [make("mmvae", draws=draws, gradient=kind) for kind in ("iwae", "dreg")]
    runs = [[pg.gradients(vae, kind, batch, "pyro", seed) for seed in range(chunks)] for kind in kinds]
    found = {}
    for name in runs[0][0]:
        iwae, dreg = (np.stack([run[name] for run in kind]) for kind in runs)
        gap = iwae - dreg
        assert np.isfinite(gap).all()
        if np.abs(iwae).max() > 0:
            found[name] = gap.mean(0) / (gap.std(0, ddof=1) / np.sqrt(chunks) + 1e-12)
    return found


def pair(guide: type) -> VAE:
    """A small untrained pair for ragged views."""
    torch.manual_seed(0)
    model = SharedPrivate(pg.views().modalities, **SMALL)
    extra = {"model": model} if guide is MixturePrivate else {}
    return VAE(model, guide(pg.views().modalities, **SMALL, **extra))


guides = pytest.mark.parametrize(
    ("guide", "objective"), [(ProductPrivate, "dmvae"), (MixturePrivate, "mmvae")], ids=["dmvae", "mmvae_plus"]
)


@guides
def test_both_backends_give_the_same_densities_and_gradients_on_ragged_rows(guide: type, objective: str) -> None:
    report = ppvae.parity(pair(guide), pg.views().batch(), dtype="float64")
    assert {"z", "w_kar", "w_pix", "w_mor", "guide z", "guide w_mor"} <= set(report["sites"])
    assert report["ok"]


@guides
def test_every_parameter_gets_a_finite_gradient_on_ragged_rows(guide: type, objective: str) -> None:
    found = pg.gradients(pair(guide), make(objective), pg.views().batch(), "pyro")
    assert [name for name, g in found.items() if not np.isfinite(g).all() or not g.any()] == []


@guides
def test_what_fills_a_hole_moves_neither_value_nor_gradient(guide: type, objective: str) -> None:
    runs = []
    for value in (0.0, 1e9):
        batch = pg.filled(pg.views().batch(), value)
        made, vae = make(objective), pair(guide)
        runs.append((pg.gradients(vae, made, batch, "pyro"), pg.shares(vae, made, batch)))
    for kind in (0, 1):
        for name, found in runs[0][kind].items():
            np.testing.assert_array_equal(found, runs[1][kind][name], err_msg=name)


@guides
def test_an_items_density_depends_on_no_other_item(guide: type, objective: str) -> None:
    vae, data, order = pair(guide), pg.views(), np.random.default_rng(0).permutation(25)[:9]
    with torch.no_grad(), torch.random.fork_rng():
        whole = sites(vae.guide, data.batch())
        values = {name: value[order] for name, value in latents(whole).items()}
        some = sites(vae.guide, data.take(order).batch(), values)
        for name, site in whole.items():
            torch.testing.assert_close(density(some[name]), density(site)[order], rtol=1e-9, atol=1e-9)


def test_own_networks_are_made_for_shared_and_private_latents_together() -> None:
    asked: list[int] = []
    modality = ppvae.Modality("x", (2,), decoder=lambda latent: asked.append(latent) or torch.nn.Linear(latent, 2))
    SharedPrivate([modality], latent=3, private=4)
    assert asked == [7]
