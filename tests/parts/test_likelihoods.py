"""Likelihoods: log densities against scipy's, in the data's own units, with holes, on both backends."""

from __future__ import annotations

from functools import cache
from typing import Any

import jax
import numpy as np
import numpyro
import pyro as pyro_itself
import pytest
import torch
from scipy import special, stats
from torch import nn

from ppvae import Batch, Modality, Program, handlers, ops, pyro
from ppvae.backends import mirror, pyro_items
from ppvae.backends.mirror.running.program import Mirror
from ppvae.language import ppl
from ppvae.language.modality import ELEMENTWISE, LEVELED, REALS
from ppvae.parts.likelihoods import Likelihood

BACKENDS = ("pyro", "numpyro")
ITEMS, LATENT, SHAPE, LEVELS = 5, 3, (2, 4), 3

both = pytest.mark.parametrize("backend", BACKENDS)
every = pytest.mark.parametrize("family", ELEMENTWISE)


class Model(Program):
    """One modality under a latent that is known."""

    def __init__(self, modality: Modality, z: np.ndarray) -> None:
        super().__init__()
        self.likelihood = Likelihood(modality, LATENT, hidden=(6,))
        self.register_buffer("z", torch.as_tensor(z))

    def forward(self, batch: Batch) -> Any:
        with batch.plate():
            return self.likelihood(self.z, batch.get("x"))


@cache
def case(family: str) -> tuple[Model, np.ndarray]:
    """A model with random parameters and units, and data that fit it."""
    rng = np.random.default_rng(ELEMENTWISE.index(family))
    options = {"center": rng.normal(size=SHAPE), "spread": rng.uniform(0.5, 2, SHAPE), "levels": LEVELS}
    torch.manual_seed(0)
    model = Model(Modality("x", SHAPE, family, **options), rng.normal(size=(ITEMS, LATENT))).double()
    if hasattr(model.likelihood, "log_scale"):
        model.likelihood.log_scale.data.copy_(torch.as_tensor(rng.normal(0, 0.3, SHAPE)))
    size = (ITEMS, *SHAPE)
    if family in REALS:
        return model, rng.normal(size=size)
    if family == "continuous_bernoulli":
        return model, rng.random(size)
    return model, rng.integers(0, min(model.likelihood.top + 1, 9), size).astype(float)


def reference(family: str) -> np.ndarray:
    """Each element's log density by scipy, ``(items, *shape)``."""
    model, x = case(family)
    with torch.no_grad():
        y = model.likelihood.decoder(model.z).numpy()
    center, spread = model.likelihood.center.numpy(), model.likelihood.spread.numpy()
    scale = np.exp(model.likelihood.log_scale.detach().numpy()) if hasattr(model.likelihood, "log_scale") else 1.0
    if family == "categorical":
        return np.take_along_axis(special.log_softmax(y, -1), x[..., None].astype(int), -1)[..., 0]
    if family == "logistic_mixture":
        weights, place, log_scale = np.split(y, 3, -1)
        each = binned(
            x[..., None], center[..., None] + spread[..., None] * place, spread[..., None] * np.exp(log_scale)
        )
        return special.logsumexp(special.log_softmax(weights, -1) + each, -1)
    loc = center + spread * y
    mean = np.exp(loc)
    return {
        "normal": lambda: stats.norm.logpdf(x, loc, spread * scale),
        "laplace": lambda: stats.laplace.logpdf(x, loc, spread * scale),
        "student_t": lambda: stats.t.logpdf(x, 10.0, loc, spread * scale),
        "continuous_bernoulli": lambda: x * y + np.log(y / np.expm1(y)),
        "logistic": lambda: binned(x, loc, spread * scale),
        "bernoulli": lambda: stats.bernoulli.logpmf(x, special.expit(y)),
        "poisson": lambda: stats.poisson.logpmf(x, mean),
        "negative_binomial": lambda: stats.nbinom.logpmf(x, scale, scale / (scale + mean)),
    }[family]()


def binned(x: np.ndarray, loc: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """The log of the mass between a whole number's neighbours, the tails at the ends."""
    below = np.where(x == 0, 0.0, stats.logistic.cdf(x - 0.5, loc, scale))
    above = np.where(x == LEVELS - 1, 1.0, stats.logistic.cdf(x + 0.5, loc, scale))
    return np.log(above - below)


def log_prob(backend: str, model: Program, batch: Batch) -> np.ndarray:
    """The log density of the site ``x``, ``(items,)``."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with ppl.running(backend), jax.enable_x64(True), torch.no_grad():
            program = model if backend == "pyro" else mirrored(model)
            site = handlers.trace(program).get_trace(batch).nodes["x"]
            return np.asarray(site["fn"].log_prob(site["value"]))
    finally:
        torch.set_default_dtype(before)


def mirrored(model: Program) -> Mirror:
    return Mirror(model, mirror.Parameters(mirror.arrays(model), mirror.aliases(model)))


@both
@every
def test_a_likelihood_is_scipys_density_in_the_datas_units(backend: str, family: str) -> None:
    model, x = case(family)
    np.testing.assert_allclose(log_prob(backend, model, Batch({"x": x})), reference(family).sum((1, 2)), rtol=1e-6)


@both
@every
def test_a_hole_leaves_out_its_element_and_a_missing_item_counts_nothing(backend: str, family: str) -> None:
    model, x = case(family)
    seen = np.random.default_rng(1).random(x.shape) < 0.6
    elements = log_prob(backend, model, Batch({"x": np.where(seen, x, np.nan)}))
    np.testing.assert_allclose(elements, (reference(family) * seen).sum((1, 2)), rtol=1e-6)
    rows = np.array([True, False, True, False, False])
    items = log_prob(backend, model, Batch({"x": x}, {"x": rows}))
    np.testing.assert_allclose(items, reference(family).sum((1, 2)) * rows, rtol=1e-6)
    assert not items[~rows].any()


@every
def test_a_likelihood_draws_what_it_takes(family: str) -> None:
    model, _ = case(family)
    drawn = model(Batch(size=ITEMS)).detach().numpy()
    assert drawn.shape == (ITEMS, *SHAPE)
    if family not in (*REALS, "continuous_bernoulli"):
        assert (drawn == np.round(drawn)).all()
    if family not in REALS:
        assert drawn.min() >= 0
        assert drawn.max() <= (LEVELS - 1 if family in LEVELED else 1 if family.endswith("bernoulli") else np.inf)


def test_a_fixed_scale_is_in_units_of_spread_and_is_not_trained() -> None:
    likelihood = Likelihood(Modality("x", (2,), scale=0.5, spread=4.0), LATENT)
    assert [name for name, p in likelihood.named_parameters() if p.requires_grad and "decoder" not in name] == []
    site = pyro_itself.poutine.trace(likelihood).get_trace(torch.zeros(3, LATENT)).nodes["x"]
    np.testing.assert_allclose(site["fn"].variance.numpy(), 4.0, rtol=1e-6)


def test_a_scale_that_is_not_given_is_learned_for_each_element() -> None:
    likelihood = Likelihood(Modality("x", (2, 4), "laplace"), LATENT)
    assert likelihood.log_scale.shape == (2, 4)
    assert likelihood.log_scale.requires_grad


@both
@pytest.mark.parametrize("family", ["normal", "laplace", "student_t"])
def test_a_learned_scale_is_never_below_a_thousandth_of_the_spread_and_can_come_back(backend: str, family: str) -> None:
    model = Model(Modality("x", (1,), family, spread=4.0), np.zeros((2, LATENT))).double()
    model.likelihood.log_scale.data.fill_(-50.0)
    net = model.likelihood.decoder
    for parameter in net.parameters():
        parameter.data.zero_()
    unit = {"normal": stats.norm, "laplace": stats.laplace, "student_t": stats.t(10.0)}[family]
    at_center = unit.logpdf(0.0) - np.log(4e-3)
    np.testing.assert_allclose(log_prob(backend, model, Batch({"x": np.zeros((2, 1))})), at_center, rtol=1e-6)
    site = pyro_itself.poutine.trace(model).get_trace(Batch({"x": np.ones((2, 1))})).nodes["x"]
    site["fn"].log_prob(site["value"]).sum().backward()
    assert model.likelihood.log_scale.grad > 0


def test_a_declared_scale_has_no_floor() -> None:
    likelihood = Likelihood(Modality("x", (2,), scale=1e-6, spread=4.0), LATENT)
    site = pyro_itself.poutine.trace(likelihood).get_trace(torch.zeros(3, LATENT)).nodes["x"]
    np.testing.assert_allclose(site["fn"].variance.numpy(), 1.6e-11, rtol=1e-5)


@pytest.mark.parametrize(("center", "spread"), [(0.01, 0.1), (0.7, 0.5), (5.0, 0.3), (23.0, 2.0)])
def test_the_rate_is_the_typical_count_where_the_decoder_gives_zero(center: float, spread: float) -> None:
    likelihood = Likelihood(Modality("x", (1,), "poisson", center=center, spread=spread), LATENT).double()
    assert np.isclose(np.exp(likelihood.center.item()), np.expm1(center), rtol=1e-6)
    step = spread * np.exp(center) / np.expm1(center)  # log(1 + x) has the slope x / (1 + x) in log x
    assert np.isclose(likelihood.spread.item(), min(step, max(1.0, spread)), rtol=1e-6)


@both
def test_a_negative_binomial_without_overdispersion_is_a_poisson_in_single_precision(backend: str) -> None:
    means, x = np.array([[0.3], [4.0], [30.0]]), np.array([[1.0], [2.0], [35.0]])
    for center, value in zip(np.log1p(means), x, strict=True):
        net = lambda latent: Zero(latent, 1)  # noqa: E731
        model = Model(Modality("x", (1,), "negative_binomial", center=center, decoder=net), np.zeros((1, LATENT)))
        model = model.float()
        model.likelihood.log_scale.data.fill_(18.0)
        with ppl.running(backend), torch.no_grad():
            program = model if backend == "pyro" else mirrored(model)
            site = handlers.trace(program).get_trace(Batch({"x": value[None].astype(np.float32)})).nodes["x"]
            found = float(np.asarray(site["fn"].log_prob(site["value"]))[0])
        assert abs(found - stats.poisson.logpmf(value, np.expm1(center))[0]) < 1e-2


class Zero(nn.Linear):
    """Gives zero whatever the latent."""

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return 0.0 * super().forward(z)


def test_the_negative_binomial_has_the_mean_and_variance_it_promises() -> None:
    model, _ = case("negative_binomial")
    with torch.no_grad():
        site = pyro_itself.poutine.trace(model).get_trace(Batch(size=ITEMS)).nodes["x"]
        likelihood = model.likelihood
        mean = torch.exp(likelihood.center + likelihood.spread * likelihood.decoder(model.z))
        inverse = torch.exp(likelihood.log_scale)
    torch.testing.assert_close(site["fn"].mean, mean)
    torch.testing.assert_close(site["fn"].variance, mean + mean**2 / inverse)


@both
@pytest.mark.parametrize("family", ["poisson", "negative_binomial"])
def test_a_rate_neither_overflows_nor_vanishes(backend: str, family: str) -> None:
    for bias in (-1e4, 1e4):
        net = nn.Linear(LATENT, 1, dtype=torch.float64)
        net.bias.data.fill_(bias)
        model = Model(Modality("x", (1,), family, decoder=lambda latent, net=net: net), np.zeros((2, LATENT))).double()
        assert np.isfinite(log_prob(backend, model, Batch({"x": np.array([[0.0], [7.0]])}))).all()


def convolutional(latent: int) -> nn.Module:
    return nn.Sequential(nn.Linear(latent, 8), nn.Unflatten(-1, (2, 2, 2)), nn.ConvTranspose2d(2, 1, 2, 2))


def test_a_convolutional_decoder_takes_any_number_of_leading_dimensions() -> None:
    likelihood = Likelihood(Modality("x", (1, 4, 4), decoder=convolutional), LATENT)
    z = torch.randn(3, 2, ITEMS, LATENT)
    y = likelihood.decoded(z)
    assert y.shape == (3, 2, ITEMS, 1, 4, 4)
    torch.testing.assert_close(y[1, 0], likelihood.decoder(z[1, 0]))


@both
@pytest.mark.parametrize("shape", [(1, 4), (4, 1), (1, 1, 4), (5,)])
def test_a_decoder_of_another_shape_is_refused_rather_than_broadcast(backend: str, shape: tuple[int, ...]) -> None:
    net = nn.Sequential(nn.Linear(LATENT, int(np.prod(shape))), nn.Unflatten(-1, shape))
    model = Model(Modality("x", (4,), decoder=lambda latent: net), np.zeros((2, LATENT))).double()
    with pytest.raises(ValueError, match="the decoder of modality 'x' maps"):
        log_prob(backend, model, Batch({"x": np.zeros((2, 4))}))


class Correlated(Program):
    """A likelihood whose elements are not independent."""

    def forward(self, batch: Batch) -> None:
        with batch.plate():
            pyro.sample("x", ppl.dist.MultivariateNormal(ops.zeros((2,)), ops.eye(2)), obs=batch.get("x"))


@both
def test_dependent_elements_may_miss_as_a_whole_but_not_one_by_one(backend: str) -> None:
    x = np.array([[1.0, 2.0], [0.0, 1.0]])
    rows = log_prob(backend, Correlated(), Batch({"x": x}, {"x": np.array([True, False])}))
    np.testing.assert_allclose(rows, [stats.multivariate_normal.logpdf([1, 2], np.zeros(2)), 0], rtol=1e-6)
    with pytest.raises(ValueError, match="site 'x' has holes within its items"):
        log_prob(backend, Correlated(), Batch({"x": np.array([[1.0, np.nan], [0.0, 1.0]])}))


@both
def test_a_draw_under_a_plate_of_draws_has_their_shape(backend: str) -> None:
    model, _ = case("categorical")
    with ppl.running(backend), jax.enable_x64(True), numpyro.handlers.seed(rng_seed=0):
        program = model if backend == "pyro" else mirrored(model)
        with pyro.plate("draws", 7, dim=-2):
            drawn = np.asarray(program(Batch(size=ITEMS)))
    assert drawn.shape == (7, ITEMS, *SHAPE)
    assert len({draw.tobytes() for draw in drawn}) == 7


def test_a_normal_likelihood_is_pyros_own_normal() -> None:
    """Its scale is worked on before it is broadcast: value and gradients are those of the plain way, masked too."""
    random = np.random.default_rng(0)
    x, y, log_scale = (torch.as_tensor(random.normal(size=size)) for size in ((5, 4), (3, 5, 4), (4,)))
    mask = torch.as_tensor(random.random((5, 4)) < 0.7)
    found = []
    for kind in (pyro_items.Normal, pyro_itself.distributions.Normal):
        loc, free = y.clone().requires_grad_(), log_scale.clone().requires_grad_()
        fn = kind(loc, free.exp()).mask(mask).to_event(1).expand([3, 5])
        value = fn.log_prob(x)
        found.append([value, *torch.autograd.grad((value * value.detach()).sum(), [loc, free])])
        assert fn.sample().shape == (3, 5, 4)
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)
