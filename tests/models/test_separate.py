"""Separate: each modality's own latent is exact, the mixture lends to what is absent, and MMVM is its formula."""

from __future__ import annotations

from functools import cache, partial
from typing import Any

import linear_gaussian as lg
import numpy as np
import private_gaussian as pg
import pytest
import torch
from scipy import integrate, stats

import ppvae
from ppvae import VAE, Batch, Modality
from ppvae.backends.devices.in_torch import defaults
from ppvae.guides.separate import Separate as Guide
from ppvae.language.traces import density, latents, random_sites
from ppvae.models.separate import Separate as Model
from ppvae.objectives import make

both = pytest.mark.parametrize("backend", pg.BACKENDS)
LATENT = 1
SMALL: dict[str, Any] = {"latent": 3, "hidden": (8,)}


def truth() -> lg.LinearGaussian:
    """Two modalities, each of one latent: ``[z_a, z_b]``."""
    rng = np.random.default_rng(0)
    weights = {"a": np.zeros((3, 2)), "b": np.zeros((2, 2))}
    weights["a"][:, 0], weights["b"][:, 1] = rng.normal(size=3), rng.normal(size=2)
    return lg.LinearGaussian(
        weights, {n: rng.normal(size=len(w)) for n, w in weights.items()}, {"a": np.full(3, 0.8), "b": np.full(2, 0.6)}
    )


def modalities() -> list[Modality]:
    return [_modality(name, number) for number, name in enumerate(truth().names)]


def _modality(name: str, number: int) -> Modality:
    weight, bias, noise = (part[name] for part in (truth().weights, truth().biases, truth().scales))
    own = weight[:, [number]]
    network = partial(pg.expert, own, bias, noise, 1.0)
    return Modality(name, (len(bias),), decoder=lambda latent: lg.linear(own, bias), encoder=lambda latent: network())


def pair() -> VAE:
    """The oracle and its exact experts."""
    model = pg.set_scales(Model(modalities(), latent=LATENT), truth())
    return VAE(model, Guide(modalities(), latent=LATENT).double())


def ragged() -> lg.Arrays:
    """Both; neither; a alone; b alone; both."""
    values = truth().draw(5, 1)
    values["a"][[1, 3]], values["b"][[1, 2]] = np.nan, np.nan
    return values


@cache
def weights(backend: str) -> np.ndarray:
    data = ppvae.Dataset(ragged(), modalities=modalities())
    return pg.fitted(pair(), modalities(), backend).log_weights(data, particles=4000)


@both
def test_evidence_is_the_sum_over_modalities_of_their_own(backend: str) -> None:
    evidence, complete = truth().evidence(ragged()), [0, 4]
    np.testing.assert_allclose(weights(backend)[:, complete], np.tile(evidence[complete], (4000, 1)), atol=1e-10)
    np.testing.assert_allclose(weights(backend)[:, 1], 0.0, atol=1e-12)


@both
def test_the_borrowed_latent_of_an_absent_modality_weighs_its_prior_over_its_mixture(backend: str) -> None:
    """With one modality present the mixture is its expert: E[p/q] = 1, and the weights tell E log(p/q)."""
    for row, name, number in ((2, "a", 0), (3, "b", 1)):
        mean, cov = truth().posterior({name: ragged()[name][[row]]})
        m, v = mean[0, number], cov[0, number, number]
        gap = weights(backend)[:, row] - truth().evidence(ragged())[row]
        kl = 0.5 * (v + m**2 - 1 - np.log(v))
        assert np.abs(gap.mean() + kl) < 4.5 * gap.std() / np.sqrt(len(gap))
        assert gap.std() > 0.1


def moments(values: lg.Arrays, name: str, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each item's expert of one modality."""
    mean, cov = truth().posterior({name: values[name]})
    return mean[:, number], np.sqrt(cov[:, number, number])


def test_sites_are_experts_where_present_and_their_mixture_where_not() -> None:
    values = truth().draw(5, 1)
    values["b"][2] = np.nan
    third = values["a"][:, :1].copy()
    guide = Guide([*modalities(), Modality("c", (1,), encoder=lambda latent: lg.linear(np.ones((2, 1)), np.zeros(2)))])
    batch = Batch({**values, "c": np.where(np.arange(5)[:, None] == 4, np.nan, third)})
    z = np.random.default_rng(0).normal(size=(5, 1))
    with defaults(torch.float64), torch.no_grad():
        guide.encoders.latent = LATENT
        found = random_sites(guide.double(), batch)
        log_q = {name: np.asarray(site["fn"].log_prob(torch.as_tensor(z))) for name, site in found.items()}
    each = {
        "a": stats.norm.pdf(z[:, 0], *moments(values, "a", 0)),
        "b": stats.norm.pdf(z[:, 0], *moments(values, "b", 1)),
        "c": stats.norm.pdf(z[:, 0], third[:, 0], np.exp(third[:, 0])),
    }
    expected = dict(each)
    expected["b"] = np.where(np.arange(5) == 2, (each["a"] + each["c"]) / 2, each["b"])
    expected["c"] = np.where(np.arange(5) == 4, (each["a"] + each["b"]) / 2, each["c"])
    for name, value in expected.items():
        np.testing.assert_allclose(log_q[f"z_{name}"], np.log(value), rtol=1e-9)


def test_mmvm_in_expectation_is_its_formula() -> None:
    times, values = 3000, ragged()
    found = pg.shares(pair(), make("mmvm"), pg.repeated(values, times))
    parts = {name: share.reshape(5, times) for name, share in found.items()}
    for name, number in (("a", 0), ("b", 1)):
        kl = np.array([divergence(values, name, row) for row in range(5)])
        drawn = parts[f"z_{name}"]
        assert (np.abs(drawn.mean(1) + kl) < 4.5 * drawn.std(1) / np.sqrt(times) + 1e-9).all()
        fit = parts[name]
        assert (np.abs(fit.mean(1) - likelihood(values, name, number)) < 4.5 * fit.std(1) / np.sqrt(times) + 1e-9).all()
    assert divergence(values, "a", 0) > 0.05
    assert (parts["z_a"][[1, 2, 3]] == 0).all(), "an expert alone is its own mixture; an absent one costs nothing"


def divergence(values: lg.Arrays, name: str, row: int) -> float:
    """``KL(q_m ‖ h)`` of one item by quadrature, zero where it lacks the modality."""
    there = [n for n in values if not np.isnan(values[n][row, 0])]
    if name not in there:
        return 0.0
    normal = {n: stats.norm(*(part[row] for part in moments(values, n, i))) for i, n in enumerate(values) if n in there}

    def integrand(z: float) -> float:
        q = normal[name].pdf(z)
        return q * (np.log(q) - np.log(np.mean([part.pdf(z) for part in normal.values()])))

    center, spread = normal[name].mean(), normal[name].std()
    return float(integrate.quad(integrand, center - 9 * spread, center + 9 * spread)[0])


def likelihood(values: lg.Arrays, name: str, number: int) -> np.ndarray:
    """``E_{q_m} log p(x_m | z_m)``: the ELBO plus the divergence from the standard normal."""
    mean, cov = truth().posterior({name: values[name]})
    scale = np.sqrt(np.einsum("ill->il", cov))
    kl = 0.5 * (scale**2 + mean**2 - 1 - 2 * np.log(scale)).sum(1)
    return truth().elbo({name: values[name]}, mean, scale) + kl


@both
def test_gradients_are_finite_on_rows_that_lack_some_or_all_modalities(backend: str) -> None:
    found = pg.gradients(pair(), make("mmvm"), Batch(ragged()), backend)
    assert [name for name, g in found.items() if not np.isfinite(g).all() or not g.any()] == []


def test_the_gradient_of_a_row_with_nothing_is_zero() -> None:
    found = pg.gradients(pair(), make("mmvm"), Batch({name: x[1:2] for name, x in ragged().items()}), "pyro")
    for name, gradient in found.items():
        np.testing.assert_array_equal(gradient, 0.0, err_msg=name)


@cache
def views() -> VAE:
    torch.manual_seed(0)
    return VAE(Model(pg.views().modalities, **SMALL), Guide(pg.views().modalities, **SMALL))


def test_both_backends_give_the_same_densities_and_gradients_on_ragged_rows() -> None:
    report = ppvae.parity(views(), pg.views().batch(), dtype="float64")
    assert {"z_kar", "z_pix", "z_mor", "guide z_kar"} <= set(report["sites"])
    assert report["ok"]


def test_what_fills_a_hole_moves_no_gradient() -> None:
    runs = [pg.gradients(views(), make("mmvm"), pg.filled(pg.views().batch(), value), "pyro") for value in (0.0, 1e9)]
    for name, gradient in runs[0].items():
        assert gradient.any(), name
        np.testing.assert_array_equal(gradient, runs[1][name], err_msg=name)


def test_an_items_density_depends_on_no_other_item() -> None:
    data, order = pg.views(), np.random.default_rng(0).permutation(25)[:9]
    guide = views().guide.double()
    with defaults(torch.float64), torch.no_grad(), torch.random.fork_rng():
        whole = random_sites(guide, data.batch())
        values = {name: value[order] for name, value in latents(whole).items()}
        some = random_sites(guide, data.take(order).batch(), values)
    for name, site in whole.items():
        torch.testing.assert_close(density(some[name]), density(site)[order], rtol=1e-9, atol=1e-9)
