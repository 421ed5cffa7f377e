"""Clustered: the cluster is summed out exactly, and says which items belong together."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import private_gaussian as pg
import pytest
import torch
from scipy import stats
from scipy.special import softmax

import ppvae
from ppvae import VAE, Batch
from ppvae.backends import mirror
from ppvae.backends.devices.in_torch import defaults
from ppvae.backends.numpyro import environment, programs
from ppvae.guides.mixture_private import MixturePrivate
from ppvae.inference.fitted import Fitted
from ppvae.language.traces import random_sites
from ppvae.models.clustered import Clustered
from ppvae.models.shared_private import SharedPrivate
from ppvae.objectives import make
from ppvae.runs.settings import Settings

both = pytest.mark.parametrize("backend", pg.BACKENDS)
SIZES: dict[str, Any] = {"latent": pg.SHARED, "private": pg.PRIVATE}
SMALL: dict[str, Any] = {"latent": 3, "private": 2, "hidden": (8,)}


def clustered(clusters: int = 3, seed: int = 0) -> Clustered:
    """The oracle's decoders behind clusters of unequal weights and scales."""
    torch.manual_seed(seed)
    model = Clustered(pg.modalities(pg.truth()), **SIZES, clusters=clusters)
    with torch.no_grad():
        model.prior.logits.copy_(torch.randn(clusters))
        model.prior.log_scale.copy_(0.3 * torch.randn(clusters, pg.SHARED))
    return pg.set_scales(model, pg.truth())


def with_guide(model: Any) -> VAE:
    guide = MixturePrivate(pg.modalities(pg.truth(), prior_in_shared=True), **SIZES, model=model)
    return VAE(model, guide.double())


def marginal(model: Clustered) -> SharedPrivate:
    """The same model with ``dist.MixtureSameFamily`` in place of the site ``cluster``."""
    other = pg.set_scales(SharedPrivate(pg.modalities(pg.truth()), **SIZES), pg.truth())
    other.prior = model.prior
    return other


@cache
def fitted(backend: str, summed: bool) -> Fitted:
    model = clustered()
    return pg.fitted(with_guide(model if summed else marginal(model)), pg.modalities(pg.truth()), backend)


@both
def test_log_weights_are_those_of_the_mixture_written_as_one_distribution(backend: str) -> None:
    data = pg.dataset(pg.ragged(pg.truth()), pg.truth())
    found, expected = (fitted(backend, summed).log_weights(data, particles=20) for summed in (True, False))
    np.testing.assert_allclose(found, expected, atol=1e-10)
    assert found.std() > 1
    np.testing.assert_allclose(found[:, 1], 0.0, atol=1e-12, err_msg="an item with nothing has probability one")


@pytest.mark.parametrize("name", ["elbo", "mmvae"])
def test_objectives_and_gradients_are_those_of_the_mixture_written_as_one_distribution(name: str) -> None:
    objective: Any = {"elbo": ppvae.objectives.elbo(), "mmvae": make("mmvae", draws=3)}[name]
    vaes = [with_guide(clustered()), with_guide(marginal(clustered()))]
    batch = Batch(pg.ragged(pg.truth()))
    found, expected = (sum(pg.shares(vae, objective, batch).values()) for vae in vaes)
    np.testing.assert_allclose(found, expected, atol=1e-10)
    summed, written = (pg.gradients(vae, objective, batch, "pyro") for vae in vaes)
    assert np.abs(summed["model.prior.logits"]).max() > 1e-3
    for parameter, gradient in summed.items():
        np.testing.assert_allclose(gradient, written[parameter], atol=1e-9, err_msg=parameter)


@both
def test_responsibilities_are_bayes_rule_for_any_leading_dimensions(backend: str) -> None:
    model, z = clustered(), np.random.default_rng(0).normal(size=(2, 5, pg.SHARED))
    prior = {name: np.asarray(p.detach()) for name, p in model.prior.named_parameters()}
    each = stats.norm.logpdf(z[..., None, :], prior["loc"], np.exp(prior["log_scale"])).sum(-1)
    found = responsibilities(model, z, backend)
    np.testing.assert_allclose(found, softmax(prior["logits"] + each, -1), rtol=1e-10)


def responsibilities(model: Clustered, z: np.ndarray, backend: str) -> np.ndarray:
    if backend == "pyro":
        return np.asarray(model.responsibilities(torch.as_tensor(z)).detach())
    vae = with_guide(model)
    with environment(Settings(backend="numpyro", dtype="float64", device="cpu")):
        mirrored, _ = programs(vae.pair, mirror.arrays(vae.pair), mirror.aliases(vae.pair))
        return np.asarray(mirrored.responsibilities(z))


def test_generated_items_fall_into_the_clusters_by_their_weights() -> None:
    model, items = clustered(), 20_000
    with defaults(torch.float64), torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(0)
        drawn = random_sites(model, Batch(size=items))
    c, z = drawn["cluster"]["value"].numpy(), drawn["z"]["value"].numpy()
    chances = softmax(model.prior.logits.detach().numpy())
    assert np.abs(np.bincount(c, minlength=3) / items - chances).max() < 4.5 * 0.5 / np.sqrt(items)
    for cluster in range(3):
        own, count = z[c == cluster], (c == cluster).sum()
        loc = model.prior.loc[cluster].detach().numpy()
        scale = model.prior.log_scale[cluster].exp().detach().numpy()
        assert (np.abs(own.mean(0) - loc) < 4.5 * scale / np.sqrt(count)).all()
        assert (np.abs(own.std(0) / scale - 1) < 4.5 / np.sqrt(2 * count)).all()


def test_clusters_start_apart_and_follow_the_seed() -> None:
    starts = [clustered(10, seed).prior.loc.detach().numpy() for seed in (1, 1, 2)]
    np.testing.assert_array_equal(starts[0], starts[1])
    assert np.abs(starts[0] - starts[2]).max() > 0.1
    gaps = np.linalg.norm(starts[0][:, None] - starts[0][None], axis=-1)
    assert gaps[~np.eye(10, dtype=bool)].min() > 0.05


@cache
def views() -> VAE:
    torch.manual_seed(0)
    model = Clustered(pg.views().modalities, **SMALL, clusters=4)
    return VAE(model, MixturePrivate(pg.views().modalities, **SMALL, model=model))


def test_both_backends_give_the_same_densities_and_gradients_on_ragged_rows() -> None:
    report = ppvae.parity(views(), pg.views().batch(), dtype="float64")
    assert {"z", "w_kar", "guide z"} <= set(report["sites"])
    assert report["ok"]


def test_every_parameter_gets_a_finite_gradient_and_what_fills_a_hole_moves_none() -> None:
    runs = [pg.gradients(views(), make("mmvae"), pg.filled(pg.views().batch(), value), "pyro") for value in (0.0, 1e9)]
    assert [name for name, g in runs[0].items() if not np.isfinite(g).all() or not g.any()] == []
    for name, gradient in runs[0].items():
        np.testing.assert_array_equal(gradient, runs[1][name], err_msg=name)
