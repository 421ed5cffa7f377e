"""Densities: exact in single precision's tails, sums of one, and draws that follow them on both backends."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal, localcontext
from typing import Any

import jax
import numpy as np
import numpyro
import pyro as pyro_itself
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats
from torch import nn

from ppvae import Batch, Modality, Program
from ppvae.backends import mirror
from ppvae.backends.mirror.running.program import Mirror
from ppvae.language import ppl
from ppvae.parts.densities import ContinuousBernoulli, DiscretisedLogistic
from ppvae.parts.likelihoods import Likelihood

DRAWS = 5_000
LOGITS = [-400.0, -30.0, -3.0, -0.51, -0.49, -1e-2, -1e-6, 0.0, 1e-6, 1e-2, 0.49, 0.51, 3.0, 30.0, 400.0]


def tilted(x: float, y: float) -> float:
    """The log of ``y exp(x y) / (exp(y) - 1)``, by long arithmetic."""
    with localcontext(prec=400):
        rate = Decimal(y)
        return x * y + (float((rate / (rate.exp() - 1)).ln()) if y else 0.0)


def tilted_mean(y: float) -> float:
    """The mean of the same, by integration from the end where the mass is."""
    weight = lambda t: np.exp(-abs(y) * t)  # noqa: E731
    scale = min(1.0, 40 / max(abs(y), 1.0))
    total, moment = (integrate.quad(f, 0, scale)[0] for f in (weight, lambda t: t * weight(t)))
    return moment / total if y < 0 else 1 - moment / total


@pytest.mark.parametrize("x", [0.0, 0.3, 1.0])
def test_a_continuous_bernoulli_is_exact_in_single_precision(x: float) -> None:
    logits = torch.tensor(LOGITS, requires_grad=True)
    found = ContinuousBernoulli(logits).log_prob(torch.tensor(x))
    expected = [tilted(float(np.float32(x)), float(np.float32(y))) for y in LOGITS]
    np.testing.assert_allclose(found.detach(), expected, rtol=1e-6, atol=1e-6)
    (slope,) = torch.autograd.grad(found.sum(), logits)
    np.testing.assert_allclose(slope, [x - tilted_mean(y) for y in LOGITS], rtol=1e-5, atol=1e-6)


def test_a_continuous_bernoullis_mean_is_its_integral() -> None:
    found = ContinuousBernoulli(torch.tensor(LOGITS, dtype=torch.float64)).mean
    np.testing.assert_allclose(found, [tilted_mean(y) for y in LOGITS], rtol=1e-10)


def mass(x: int, loc: float, scale: float, top: int) -> float:
    """The log of the difference of two logistic distribution functions, by long arithmetic, from the nearer tail."""
    if x > loc:
        return mass(top - x, top - loc, scale, top)
    with localcontext(prec=400):
        below = lambda edge: 1 / (1 + ((Decimal(loc) - Decimal(edge)) / Decimal(scale)).exp())  # noqa: E731
        upper = below(x + 0.5) if x < top else Decimal(1)
        return float((upper - (below(x - 0.5) if x > 0 else 0)).ln())


@pytest.mark.parametrize("scale", [0.0625, 1.0, 30.0, 4096.0])
@pytest.mark.parametrize("loc", [-40.0, 0.0, 100.25, 254.5, 300.0])
@pytest.mark.parametrize("x", [0, 1, 100, 254, 255])
def test_a_discretised_logistic_is_exact_in_single_precision(x: int, loc: float, scale: float) -> None:
    place, width = torch.tensor(loc, requires_grad=True), torch.tensor(scale, requires_grad=True)
    found = DiscretisedLogistic(place, width, 255.0).log_prob(torch.tensor(float(x)))
    np.testing.assert_allclose(found.item(), mass(x, loc, scale, 255), rtol=2e-6, atol=1e-30)
    step = scale * 1e-4
    slopes = [
        (mass(x, loc + step, scale, 255) - mass(x, loc - step, scale, 255)) / (2 * step),
        (mass(x, loc, scale + step, 255) - mass(x, loc, scale - step, 255)) / (2 * step),
    ]
    np.testing.assert_allclose(torch.autograd.grad(found, [place, width]), slopes, rtol=1e-4, atol=1e-6 / scale)


@given(st.floats(-50, 60), st.floats(1e-3, 1e3), st.integers(1, 12))
def test_a_discretised_logistics_masses_sum_to_one_and_give_its_mean(loc: float, scale: float, levels: int) -> None:
    values = torch.arange(levels, dtype=torch.float64)
    law = DiscretisedLogistic(*torch.tensor([loc, scale], dtype=torch.float64), levels - 1.0)
    masses = law.log_prob(values).exp()
    np.testing.assert_allclose(masses.sum(), 1.0, rtol=1e-9)
    np.testing.assert_allclose(law.mean, (masses * values).sum(), rtol=1e-9, atol=1e-12)


class Constant(nn.Module):
    """The same predictor for every latent."""

    def __init__(self, y: Any) -> None:
        super().__init__()
        self.register_buffer("y", torch.tensor(y, dtype=torch.float64))

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return 0 * z.sum(-1).reshape(-1, *(1,) * self.y.ndim) + self.y


class Model(Program):
    """A modality whose predictor is known."""

    def __init__(self, modality: Modality) -> None:
        super().__init__()
        self.likelihood = Likelihood(modality, 1)

    def forward(self, batch: Batch) -> Any:
        with batch.plate():
            return self.likelihood(ppl.ops.zeros((batch.size, 1)))


def draws(backend: str, family: str, y: Any, **options: Any) -> np.ndarray:
    """Draws of one element, ``(DRAWS,)``."""
    model = Model(Modality("x", (1,), family, decoder=lambda latent: Constant(y), **options)).double()
    pyro_itself.set_rng_seed(0)
    with ppl.running(backend), jax.enable_x64(True), numpyro.handlers.seed(rng_seed=0), torch.no_grad():
        arrays = mirror.Parameters(mirror.arrays(model), mirror.aliases(model))
        program = model if backend == "pyro" else Mirror(model, arrays)
        return np.asarray(program(Batch(size=DRAWS)))[:, 0]


both = pytest.mark.parametrize("backend", ["pyro", "numpyro"])


def tilted_below(y: float) -> Callable[[np.ndarray], np.ndarray]:
    return lambda x: np.expm1(x * y) / np.expm1(y) if y else x


@both
@pytest.mark.parametrize(
    ("family", "y", "options", "below"),
    [
        ("student_t", 0.5, {"center": 1.0, "spread": 2.0}, stats.t(10.0, 2.0, 2.0).cdf),
        *(("continuous_bernoulli", y, {}, tilted_below(y)) for y in (-25.0, -0.3, 0.0, 2.0)),
    ],
)
def test_draws_follow_the_distribution_function(backend: str, family: str, y: Any, options: Any, below: Any) -> None:
    assert stats.kstest(draws(backend, family, [y], **options), below).pvalue > 1e-3


@both
@pytest.mark.parametrize(
    ("family", "y", "parts"),
    [
        ("logistic", [0.25], [(1.0, 5.0, 4.0)]),
        ("logistic", [-1.5], [(1.0, -2.0, 4.0)]),
        ("logistic_mixture", [[0.0, np.log(3), -1.0, 1.0, -1.0, 0.0]], [(0.25, 0.0, 4 / np.e), (0.75, 8.0, 4.0)]),
    ],
)
def test_whole_draws_have_the_masses(backend: str, family: str, y: Any, parts: Any) -> None:
    drawn = draws(backend, family, y, center=4.0, spread=4.0, levels=12, components=2)
    inner = np.arange(0.5, 11)
    below = sum(weight * stats.logistic.cdf(inner, loc, scale) for weight, loc, scale in parts)
    masses = np.diff(np.concatenate([[0.0], below, [1.0]]))
    assert stats.chisquare(np.bincount(drawn.astype(int), minlength=12), masses * DRAWS).pvalue > 1e-3
