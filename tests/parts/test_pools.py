"""Barycentres, the consensus of dependent experts and the Hölder pool: identities, extremes, densities, gradients."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from expert_harness import (
    BACKENDS,
    ITEMS,
    LATENT,
    MODALITIES,
    SHAPE,
    both,
    call,
    call_with_gradient,
    draw_gradient,
    drawn,
    extreme,
    light,
    locs,
    presents,
    running,
    scales,
)
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import logsumexp
from scipy.stats import norm

from ppvae import ops
from ppvae.parts import experts, pools


def barycentre(loc: Any, scale: Any, present: Any) -> Any:
    mean, spread = pools.barycentres(loc, scale, present, ops.ones((1, len(loc))))
    return mean[0], spread[0]


@cache
def consensus(rho: float) -> Any:
    return lambda loc, scale, present: pools.consensus(loc, scale, present, rho)


def without_prior(loc: Any, scale: Any, present: Any) -> Any:
    return experts.product(loc, scale, present, prior=False)


def powers(loc: Any, scale: Any, present: Any) -> Any:
    return experts.generalised_product(loc, scale, present, 0.3 * loc, prior=False)


# Every pool that is one Gaussian: ``(loc, scale, present) -> loc, scale``, without the prior as an expert.
GAUSSIAN = {
    "product": without_prior,
    "generalised product": powers,
    "barycentre": barycentre,
    "independent consensus": consensus(0.0),
    "consensus": consensus(0.6),
    "holder": pools.holder_matched,
}
pooled = pytest.mark.parametrize("pool", GAUSSIAN.values(), ids=list(GAUSSIAN))


@both
@pooled
@light
@given(loc=locs, scale=extreme, speaker=st.integers(0, MODALITIES - 1))
def test_a_pool_of_one_expert_is_that_expert(backend: str, pool: Any, loc: Any, scale: Any, speaker: int) -> None:
    present = np.arange(MODALITIES)[:, None] * np.ones(ITEMS) == speaker
    mean, deviation = call(backend, pool, loc, scale, present)
    np.testing.assert_allclose(mean, loc[speaker], rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(deviation, scale[speaker], rtol=1e-12)


@both
@pooled
def test_with_nothing_present_a_pool_is_standard_normal(backend: str, pool: Any) -> None:
    rng = np.random.default_rng(0)
    loc, scale = rng.normal(size=SHAPE), rng.uniform(0.5, 2, SHAPE)
    mean, deviation = call(backend, pool, loc, scale, np.zeros((MODALITIES, ITEMS), bool))
    np.testing.assert_array_equal(mean, np.zeros((ITEMS, LATENT)))
    np.testing.assert_allclose(deviation, np.ones((ITEMS, LATENT)), rtol=1e-15)


@both
@pooled
@light
@given(loc=locs, scale=scales, present=presents, data=st.data())
def test_the_order_of_modalities_and_of_items_does_not_matter(
    backend: str, pool: Any, loc: Any, scale: Any, present: Any, data: Any
) -> None:
    turn, shuffle = data.draw(st.permutations(range(MODALITIES))), data.draw(st.permutations(range(ITEMS)))
    found = call(backend, pool, loc, scale, present)
    turned = call(backend, pool, *(x[turn][:, shuffle] for x in (loc, scale, present)))
    for mine, theirs in zip(found, turned, strict=True):
        np.testing.assert_allclose(mine[shuffle], theirs, rtol=1e-9, atol=1e-9)


@both
@pooled
@pytest.mark.parametrize("nonsense", [1e30, np.inf, np.nan])
def test_what_an_absent_expert_says_moves_neither_value_nor_gradient(backend: str, pool: Any, nonsense: float) -> None:
    rng = np.random.default_rng(0)
    loc, scale = rng.normal(size=SHAPE), rng.uniform(0.5, 2, SHAPE)
    present = np.array([[True, True, False, False], [True, False, True, False], [False, True, False, False]])
    there = present[..., None]
    quiet = call_with_gradient(backend, pool, loc, scale, present, dtype="float32")
    nonsensical = np.where(there, loc, nonsense), np.where(there, scale, nonsense)
    loud = call_with_gradient(backend, pool, *nonsensical, present, dtype="float32")
    for number, (mine, theirs) in enumerate(zip(quiet, loud, strict=True)):
        # The logits of the generalised product are made of the locations, with their own gradient where absent.
        kept = np.broadcast_to(there, mine.shape) if number > 1 else np.ones(mine.shape, bool)
        assert np.array_equal(mine[kept], theirs[kept])
        assert number < 2 or not theirs[~kept].any()
    assert all(np.abs(gradient).max() > 0.1 for gradient in quiet[2:])


@both
@pooled
@light
@given(loc=locs, scale=extreme, present=presents)
def test_scales_twelve_orders_apart_stay_finite_in_single_precision(
    backend: str, pool: Any, loc: Any, scale: Any, present: Any
) -> None:
    mean, deviation, *gradients = call_with_gradient(backend, pool, loc, scale, present, dtype="float32")
    assert np.isfinite(mean).all()
    assert (np.isfinite(deviation) & (deviation > 0)).all()
    assert all(np.isfinite(gradient).all() for gradient in gradients)


@both
@light
@given(loc=locs, scale=scales, present=presents)
def test_a_barycentre_is_the_mean_of_locations_and_of_scales(backend: str, loc: Any, scale: Any, present: Any) -> None:
    members = np.array(experts.subsets(MODALITIES), dtype=float)
    mean, spread = call(backend, pools.barycentres, loc, scale, present, members)
    for row, chosen in enumerate(members.astype(bool)):
        for item in range(ITEMS):
            speakers = chosen & present[:, item]
            expected = (loc[speakers, item].mean(0), scale[speakers, item].mean(0)) if speakers.any() else (0.0, 1.0)
            np.testing.assert_allclose(mean[row, item], expected[0], rtol=1e-10, atol=1e-10)
            np.testing.assert_allclose(spread[row, item], expected[1], rtol=1e-10)


@both
@light
@given(loc=locs, scale=scales, present=presents)
def test_independent_experts_agree_on_their_product(backend: str, loc: Any, scale: Any, present: Any) -> None:
    found = call(backend, consensus(0.0), loc, scale, present)
    for mine, theirs in zip(found, call(backend, without_prior, loc, scale, present), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-10, atol=1e-10)


@both
@pytest.mark.parametrize("rho", [0.2, 0.9])
@light
@given(loc=locs, scale=scales, present=presents)
def test_a_consensus_is_the_best_linear_estimate(backend: str, rho: float, loc: Any, scale: Any, present: Any) -> None:
    mean, deviation = call(backend, consensus(rho), loc, scale, present)
    for item, dim in np.ndindex(ITEMS, LATENT):
        there = present[:, item]
        if there.any():
            sigma, mu = scale[there, item, dim], loc[there, item, dim]
            cov = np.outer(sigma, sigma) * (rho + (1 - rho) * np.eye(len(mu)))
            weights = np.linalg.solve(cov, np.ones(len(mu)))
            variance = 1 / weights.sum()
            np.testing.assert_allclose(deviation[item, dim], variance**0.5, rtol=1e-7)
            np.testing.assert_allclose(mean[item, dim], variance * weights @ mu, rtol=1e-7, atol=1e-6)


def components(backend: str, loc: Any, scale: Any, present: Any) -> Any:
    return call(backend, pools.holder_components, loc, scale, present)


@both
@light
@given(loc=locs, scale=extreme, present=presents)
def test_the_weights_of_a_holder_pool_sum_to_one_over_the_present(
    backend: str, loc: Any, scale: Any, present: Any
) -> None:
    weights = np.exp(components(backend, loc, scale, present)[2])
    np.testing.assert_allclose(weights.sum(0), 1.0, rtol=1e-12)
    first, second = np.triu_indices(MODALITIES)
    forbidden = ~(present[first] & present[second]) & present.any(0)
    assert not weights[forbidden].any()


def holder_log_prob(backend: str, loc: Any, scale: Any, present: Any, z: Any) -> np.ndarray:
    return call(backend, _holder_log_prob, loc, scale, present, z)


def _holder_log_prob(loc: Any, scale: Any, present: Any, z: Any) -> Any:
    return pools.holder(loc, scale, present).log_prob(z)


def square_of_roots(loc: Any, scale: Any, present: Any, z: Any) -> np.ndarray:
    """``2 log Σ_m √q_m(z)`` over those present: the log of the pool but for a constant."""
    each = norm.logpdf(z[:, None], loc, scale).sum(-1)
    return 2 * logsumexp(0.5 * each, 1, b=present)


@both
@light
@given(loc=locs.map(lambda x: x / 10), scale=scales.map(lambda x: 0.3 + x / 50), present=presents)
def test_a_holder_pool_is_the_square_of_a_sum_of_roots(backend: str, loc: Any, scale: Any, present: Any) -> None:
    present[0] |= ~present.any(0)
    z = np.random.default_rng(0).normal(size=(20, ITEMS, LATENT)) * 3
    gap = holder_log_prob(backend, loc, scale, present, z) - square_of_roots(loc, scale, present, z)
    np.testing.assert_allclose(gap, np.broadcast_to(gap[0], gap.shape), rtol=1e-9, atol=1e-9)


@both
def test_a_holder_pool_in_one_dimension_integrates_to_one(backend: str) -> None:
    loc, scale, present = case()
    grid = np.linspace(-20, 20, 8001)
    z = np.broadcast_to(grid[:, None, None], (len(grid), ITEMS, 1))
    density = np.exp(holder_log_prob(backend, loc[..., :1], scale[..., :1], present, z))
    np.testing.assert_allclose(density.sum(0) * (grid[1] - grid[0]), 1.0, atol=1e-6)


def case(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Experts that overlap, with all, two, one and none of them present."""
    rng = np.random.default_rng(seed)
    present = np.array([[True, True, False, False], [True, True, True, False], [True, False, False, False]])
    return rng.normal(size=SHAPE), rng.uniform(0.5, 1.5, SHAPE), present


def moments(backend: str) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of the pool of ``case``, by quadrature of the square of a sum of roots."""
    loc, scale, present = case()
    present = np.where(present.any(0), present, True)
    nothing = ~case()[2].any(0)[:, None]
    loc, scale = np.where(nothing, 0.0, loc), np.where(nothing, 1.0, scale)
    axis = np.linspace(-10, 10, 161)
    grid = np.stack(np.meshgrid(axis, axis, indexing="ij"), -1).reshape(-1, 1, LATENT)
    density = np.exp(square_of_roots(loc, scale, present, grid))
    weights = density / density.sum(0)
    mean = np.einsum("gi,gil->il", weights, np.broadcast_to(grid, (len(grid), ITEMS, LATENT)))
    return mean, np.einsum("gi,gil->il", weights, (grid - mean) ** 2)


@pytest.mark.parametrize("backend", ["pyro", pytest.param("numpyro", marks=pytest.mark.slow)])
def test_the_moments_of_a_holder_pool_are_those_of_its_density(backend: str) -> None:
    arrays = case()
    mean, variance = moments(backend)
    matched = call(backend, pools.holder_matched, *arrays)
    pool = call(backend, _holder_moments, *arrays)
    for mine, theirs in zip((*matched, *pool), (mean, variance**0.5, mean, variance), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-6, atol=1e-6)
    count = 20_000
    sampled = drawn(backend, pools.holder, *arrays, count=count)
    np.testing.assert_allclose(sampled.mean(0), mean, atol=5 * (variance.max() / count) ** 0.5)
    np.testing.assert_allclose(sampled.var(0), variance, rtol=0.08)


def _holder_moments(loc: Any, scale: Any, present: Any) -> Any:
    pool = pools.holder(loc, scale, present)
    return pool.mean, pool.variance


def expected_square(loc: Any, scale: Any, present: Any) -> Any:
    """E[z²] + E[z_1 z_2] and its like over components, as two arrays that ``call_with_gradient`` weighs."""
    mean, spread, logits = pools.holder_components(loc, scale, present)
    weights = ops.exp(logits)[..., None]
    squares = (weights * (mean**2 + spread**2)).sum()
    return (squares + (weights[..., 0] * mean[..., 0] * mean[..., 1]).sum()) / 1.5, 0.0 * squares


def square(z: Any) -> Any:
    return (z**2).sum(-1) + z[..., 0] * z[..., 1]


@both
def test_the_gradient_of_a_holder_pools_draws_is_that_of_their_expectation(backend: str) -> None:
    """E[z²] and E[z_1 z_2] of a mixture are known; its weights depend on the experts as much as its components do."""
    arrays = case(2)
    *_, by_loc, by_scale = call_with_gradient(backend, expected_square, *arrays)
    parts = [draw_gradient(backend, pools.holder, square, *arrays, count=4000, seed=seed) for seed in range(30)]
    for found, expected in zip(zip(*parts, strict=True), (by_loc, by_scale), strict=True):
        error = np.std(found, 0, ddof=1) / np.sqrt(len(found))
        assert error.max() < 0.03
        np.testing.assert_array_less(np.abs(np.mean(found, 0) - expected), 4.5 * error + 1e-12)
    naive = draw_gradient(backend, chosen_alone, square, *arrays, count=4000)
    assert max(np.abs(one - other).max() for one, other in zip(naive, (by_loc, by_scale), strict=True)) > 0.3


def chosen_alone(loc: Any, scale: Any, present: Any) -> Any:
    """The pool with the gradient of the chosen component alone, which is not that of the expectation."""
    mean, spread, logits = pools.holder_components(loc, scale, present)
    return experts.mixture(mean, spread, logits=logits)


@both
@light
@given(loc=locs, scale=extreme, present=presents)
def test_draws_of_a_holder_pool_stay_finite_in_single_precision(
    backend: str, loc: Any, scale: Any, present: Any
) -> None:
    with running(backend, "float32") as array:
        arrays = array(loc), array(scale), array(present)
        gradients = _drawn_gradient(backend)(*arrays)
    assert all(np.isfinite(np.asarray(gradient)).all() for gradient in gradients)


@cache
def _drawn_gradient(backend: str) -> Any:
    import jax
    import torch

    def value(loc: Any, scale: Any, present: Any) -> Any:
        pool = pools.holder(loc, scale, present)
        z = pool.rsample() if backend == "pyro" else pool.sample(jax.random.key(0))
        return (z / 10).sum() - pool.log_prob(z).sum()

    if backend == "numpyro":
        return jax.jit(jax.grad(value, argnums=(0, 1)))

    def gradient(loc: Any, scale: Any, present: Any) -> Any:
        torch.manual_seed(0)
        leaves = loc.requires_grad_(), scale.requires_grad_()
        return torch.autograd.grad(value(*leaves, present), leaves)

    return gradient


def test_the_pools_run_on_both_backends_alike() -> None:
    arrays = case()
    for pool in GAUSSIAN.values():
        one, other = (call(backend, pool, *arrays) for backend in BACKENDS)
        for mine, theirs in zip(one, other, strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=1e-12, atol=1e-12)
