"""Products and mixtures of experts: identities, extremes and densities, on both backends."""

from __future__ import annotations

from functools import cache, partial
from typing import Any

import hypothesis.extra.numpy as hnp
import numpy as np
import numpyro
import pytest
import torch
from expert_harness import (
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
    weighed,
)
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import logsumexp
from scipy.stats import laplace, norm

from ppvae.language import ppl
from ppvae.parts import experts


@cache
def fixed(name: str, **options: Any) -> Any:
    """A function of ``experts`` with some options: the same object for the same ones, so that it compiles once."""
    return partial(getattr(experts, name), **options)


def product(backend: str, loc: Any, scale: Any, present: Any, prior: bool, dtype: str = "float64") -> Any:
    return call(backend, fixed("product", prior=prior), loc, scale, present, dtype=dtype)


def products(backend: str, loc: Any, scale: Any, present: Any, members: Any, prior: bool) -> Any:
    return call(backend, fixed("products", prior=prior), loc, scale, present, members)


def by_hand(loc: np.ndarray, scale: np.ndarray, present: np.ndarray, prior: bool) -> tuple[np.ndarray, np.ndarray]:
    """The product's moments from sums of precisions; the standard normal where nothing speaks."""
    precision = present[..., None] / scale**2
    alone = np.ones(loc.shape[1:]) if prior else (~present.any(0)).astype(float)[:, None]
    total = precision.sum(0) + alone
    return (precision * loc).sum(0) / total, total**-0.5


@both
@pytest.mark.parametrize("prior", [True, False])
@light
@given(loc=locs, scale=scales, present=presents)
def test_a_product_has_the_sum_of_precisions(backend: str, prior: bool, loc: Any, scale: Any, present: Any) -> None:
    found = product(backend, loc, scale, present, prior)
    for mine, theirs in zip(found, by_hand(loc, scale, present, prior), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-10, atol=1e-10)


@both
@light
@given(loc=locs, scale=scales, x=hnp.arrays(np.float64, (MODALITIES,), elements=st.floats(-5, 5)))
def test_a_product_of_likelihood_factors_and_prior_is_the_conditional_of_a_gaussian(
    backend: str, loc: Any, scale: Any, x: Any
) -> None:
    """x_m = z + noise_m: the conditional of a joint Gaussian, by the Schur complement rather than by precisions."""
    noise = scale[:, 0, 0]
    cov = np.ones((MODALITIES, MODALITIES)) + np.diag(noise**2)
    gain = np.linalg.solve(cov, np.ones(MODALITIES))
    stacked = np.broadcast_to(x[:, None, None], SHAPE)
    spread = np.broadcast_to(noise[:, None, None], SHAPE)
    mean, deviation = product(backend, stacked, spread, np.ones((MODALITIES, ITEMS), bool), True)
    np.testing.assert_allclose(mean, gain @ x, atol=1e-8)
    np.testing.assert_allclose(deviation**2, 1 - gain.sum(), rtol=1e-6, atol=1e-8)


@both
@light
@given(loc=locs, scale=extreme, speaker=st.integers(0, MODALITIES - 1))
def test_one_expert_alone_is_that_expert(backend: str, loc: Any, scale: Any, speaker: int) -> None:
    present = np.zeros((MODALITIES, ITEMS), bool)
    present[speaker] = True
    mean, deviation = product(backend, loc, scale, present, False)
    np.testing.assert_allclose(mean, loc[speaker], rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(deviation, scale[speaker], rtol=1e-12)


@both
@pytest.mark.parametrize("prior", [True, False])
@light
@given(loc=locs, scale=extreme)
def test_with_nothing_present_a_product_is_the_prior(backend: str, prior: bool, loc: Any, scale: Any) -> None:
    mean, deviation = product(backend, loc, scale, np.zeros((MODALITIES, ITEMS), bool), prior)
    assert np.array_equal(mean, np.zeros((ITEMS, LATENT)))
    assert np.array_equal(deviation, np.ones((ITEMS, LATENT)))


@both
@light
@given(loc=locs, scale=scales, present=presents, order=st.permutations(range(MODALITIES)))
def test_the_order_of_experts_does_not_matter(backend: str, loc: Any, scale: Any, present: Any, order: Any) -> None:
    found = product(backend, loc, scale, present, True)
    turned = product(backend, loc[order], scale[order], present[order], True)
    for mine, theirs in zip(found, turned, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-12, atol=1e-12)


@both
@light
@given(loc=locs, scale=scales, present=presents)
def test_products_over_subsets_are_products_of_their_members(backend: str, loc: Any, scale: Any, present: Any) -> None:
    members = np.array(experts.subsets(MODALITIES), dtype=float)
    found = products(backend, loc, scale, present, members, False)
    for row, chosen in enumerate(members.astype(bool)):
        expected = by_hand(loc, scale, present & chosen[:, None], False)
        for mine, theirs in zip(found, expected, strict=True):
            np.testing.assert_allclose(mine[row], theirs, rtol=1e-10, atol=1e-10)


def product_and_gradient(backend: str, loc: Any, scale: Any, present: Any, prior: bool, dtype: str) -> list[np.ndarray]:
    """Location and scale of the product, and the gradient of a weighted sum of both."""
    return call_with_gradient(backend, fixed("product", prior=prior), loc, scale, present, dtype=dtype)


@both
def test_one_expert_by_itself_is_the_product_of_one_and_nobody(backend: str) -> None:
    rng = np.random.default_rng(2)
    loc, scale = rng.normal(size=(2, ITEMS, LATENT)), rng.uniform(0.1, 3, (2, ITEMS, LATENT))
    present = np.array([[True, False, True, True], [False] * ITEMS])
    alone, among = (product_and_gradient(backend, loc[:n], scale[:n], present[:n], False, "float64") for n in (1, 2))
    for mine, theirs in zip(alone, (*among[:2], among[2][:1], among[3][:1]), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-12, atol=1e-14)


@both
@pytest.mark.parametrize("nonsense", [1e30, 1e-30, np.inf, np.nan])
def test_what_an_absent_expert_says_moves_neither_value_nor_gradient(backend: str, nonsense: float) -> None:
    rng = np.random.default_rng(0)
    loc, scale = rng.normal(size=SHAPE), rng.uniform(0.5, 2, SHAPE)
    present = np.array([[True, True, False, False], [True, False, True, False], [False, True, False, False]])
    quiet = product_and_gradient(backend, loc, scale, present, False, "float32")
    there = present[..., None]
    loud_loc, loud_scale = np.where(there, loc, nonsense), np.where(there, scale, nonsense)
    loud = product_and_gradient(backend, loud_loc, loud_scale, present, False, "float32")
    for mine, theirs in zip(quiet, loud, strict=True):
        assert np.array_equal(mine, theirs)
    for gradient in quiet[2:]:
        assert not gradient[np.broadcast_to(~there, SHAPE)].any()
        assert np.abs(gradient[np.broadcast_to(there, SHAPE)]).max() > 0.1


@both
@pytest.mark.parametrize("prior", [True, False])
@light
@given(loc=locs, scale=extreme, present=presents)
def test_scales_twelve_orders_apart_stay_finite_in_single_precision(
    backend: str, prior: bool, loc: Any, scale: Any, present: Any
) -> None:
    mean, deviation, *gradients = product_and_gradient(backend, loc, scale, present, prior, "float32")
    expected = by_hand(loc, scale, present, prior)
    np.testing.assert_allclose(mean, expected[0], rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(deviation, expected[1], rtol=1e-4)
    assert all(np.isfinite(gradient).all() for gradient in gradients)


@both
def test_the_gradient_of_a_product_is_that_of_its_formula(backend: str) -> None:
    rng = np.random.default_rng(1)
    loc, scale, present = rng.normal(size=SHAPE), rng.uniform(0.1, 3, SHAPE), rng.random((MODALITIES, ITEMS)) < 0.7
    *_, by_loc, by_scale = product_and_gradient(backend, loc, scale, present, True, "float64")
    step = 1e-6
    for index in np.ndindex(SHAPE):
        for argument, gradient in ((0, by_loc), (1, by_scale)):
            moved = [[loc.copy(), scale.copy()] for _ in range(2)]
            moved[0][argument][index] += step
            moved[1][argument][index] -= step
            up, down = (weighed(*by_hand(*pair, present, True)) for pair in moved)
            assert gradient[index] == pytest.approx((up - down) / (2 * step), abs=1e-6)


def test_subsets_are_all_but_the_empty_one_each_once() -> None:
    found = experts.subsets(4)
    assert len(found) == 15
    assert len({tuple(row) for row in found}) == 15
    assert all(any(row) for row in found)


@both
@pytest.mark.parametrize("modalities", [1, 4, 9])
def test_members_are_the_subsets_as_zeros_and_ones(backend: str, modalities: int) -> None:
    with running(backend):
        np.testing.assert_array_equal(np.asarray(experts.members(modalities)), experts.subsets(modalities))


@both
@light
@given(present=presents)
def test_subsets_of_what_is_present_share_the_weight_equally(backend: str, present: Any) -> None:
    members = np.array(experts.subsets(MODALITIES), dtype=float)
    with running(backend) as array:
        allowed = experts.present_subsets(array(present), array(members))
        weights = np.asarray(experts.uniform(allowed))
    for item in range(ITEMS):
        inside = ~(members.astype(bool) & ~present[:, item]).any(1)
        expected = inside if present[:, item].any() else np.ones(len(members), bool)
        assert np.array_equal(np.asarray(allowed)[:, item], expected)
        np.testing.assert_allclose(weights[:, item], expected / expected.sum(), rtol=1e-15)


COMPONENTS = 3


def mixture_case(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Components of four items: of equal weights, of unequal ones, with one forbidden, and with one alone."""
    rng = np.random.default_rng(seed)
    loc, scale = 2 * rng.normal(size=(COMPONENTS, ITEMS, LATENT)), rng.uniform(0.3, 1.5, (COMPONENTS, ITEMS, LATENT))
    weights = np.array([[1 / 3, 1 / 3, 1 / 3], [0.2, 0.5, 0.3], [0.5, 0.5, 0], [0, 0, 1]]).T
    return loc, scale, weights


def mixture_log_prob(backend: str, loc: Any, scale: Any, weights: Any, z: Any) -> np.ndarray:
    with running(backend) as array:
        return np.asarray(experts.mixture(array(loc), array(scale), array(weights)).log_prob(array(z)))


@both
@light
@given(z=hnp.arrays(np.float64, (5, ITEMS, LATENT), elements=st.floats(-30, 30)))
def test_a_mixtures_density_is_the_log_sum_of_its_components(backend: str, z: Any) -> None:
    loc, scale, weights = mixture_case()
    each = norm.logpdf(z[:, None], loc, scale).sum(-1)
    np.testing.assert_allclose(
        mixture_log_prob(backend, loc, scale, weights, z), logsumexp(each, 1, b=weights), rtol=1e-10
    )


@both
def test_a_mixture_in_one_dimension_integrates_to_one(backend: str) -> None:
    loc, scale, weights = (part[..., :1] if part.ndim == 3 else part for part in mixture_case())
    grid = np.linspace(-15, 15, 6001)
    z = np.broadcast_to(grid[:, None, None], (len(grid), ITEMS, 1))
    density = np.exp(mixture_log_prob(backend, loc, scale, weights, z))
    np.testing.assert_allclose(density.sum(0) * (grid[1] - grid[0]), 1.0, atol=1e-6)


@both
def test_a_mixture_of_one_component_is_that_component(backend: str) -> None:
    loc, scale, _ = mixture_case()
    z = np.random.default_rng(2).normal(size=(ITEMS, LATENT))
    found = mixture_log_prob(backend, loc[:1], scale[:1], np.ones((1, ITEMS)), z)
    np.testing.assert_allclose(found, norm.logpdf(z, loc[0], scale[0]).sum(-1), rtol=1e-12)


def draws(backend: str, loc: Any, scale: Any, weights: Any, count: int) -> np.ndarray:
    return drawn(backend, experts.mixture, loc, scale, weights, count=count)


@both
def test_a_mixture_chooses_a_component_anew_for_each_item_and_draw(backend: str) -> None:
    loc, scale, weights = mixture_case()
    count = 20_000
    z = draws(backend, loc, scale, weights, count)
    assert z.shape == (count, ITEMS, LATENT)
    mean = np.einsum("ki,kil->il", weights, loc)
    second = np.einsum("ki,kil,kim->ilm", weights, loc, loc)
    second += np.einsum("ki,kil,lm->ilm", weights, scale**2, np.eye(LATENT))
    cov = second - mean[..., :, None] * mean[..., None, :]
    np.testing.assert_allclose(z.mean(0), mean, atol=5 * np.sqrt(cov.max() / count))
    centred = z - mean
    found = np.einsum("dil,dim->ilm", centred, centred) / count
    np.testing.assert_allclose(found, cov, atol=5 * 2 * cov.max() / np.sqrt(count))


@both
def test_items_of_a_mixture_choose_independently(backend: str) -> None:
    loc = np.broadcast_to(np.array([-1.0, 1.0])[:, None, None], (2, ITEMS, LATENT))
    z = draws(backend, loc, np.full(loc.shape, 0.01), np.full((2, ITEMS), 0.5), 4000)
    signs = np.sign(z)
    assert (signs[..., 0] == signs[..., 1]).all()
    agreement = np.einsum("di,dj->ij", signs[..., 0], signs[..., 0]) / len(signs)
    assert np.abs(agreement - np.eye(ITEMS)).max() < 5 / np.sqrt(len(signs))


@both
def test_a_forbidden_component_is_never_drawn(backend: str) -> None:
    loc = np.stack([np.full((ITEMS, LATENT), 1e6), np.zeros((ITEMS, LATENT))])
    weights = np.stack([np.zeros(ITEMS), np.ones(ITEMS)])
    assert np.abs(draws(backend, loc, np.ones(loc.shape), weights, 500)).max() < 10


@both
def test_the_gradient_of_a_mixtures_draws_is_that_of_their_expectation(backend: str) -> None:
    """E[z²] = Σ w (loc² + scale²): its gradients are 2 w loc and 2 w scale."""
    loc, scale, weights = mixture_case()
    by_loc, by_scale = draw_gradient(backend, experts.mixture, lambda z: z**2, loc, scale, weights, count=20_000)
    tolerance = 0.15
    np.testing.assert_allclose(by_loc, 2 * weights[..., None] * loc, atol=tolerance)
    np.testing.assert_allclose(by_scale, 2 * weights[..., None] * scale, atol=tolerance)


@both
def test_a_mixture_of_products_of_one_modality_is_its_product(backend: str) -> None:
    loc, scale, _ = mixture_case()
    present = np.array([[True, True, False, True]])
    z = np.random.default_rng(3).normal(size=(ITEMS, LATENT))
    with running(backend) as array:
        members = array(np.array(experts.subsets(1), dtype=float))
        weights = experts.uniform(experts.present_subsets(array(present), members))
        parts = experts.products(array(loc[:1]), array(scale[:1]), array(present), members, False)
        found = np.asarray(experts.mixture(*parts, weights).log_prob(array(z)))
    mean, deviation = by_hand(loc[:1], scale[:1], present, False)
    np.testing.assert_allclose(found, norm.logpdf(z, mean, deviation).sum(-1), rtol=1e-12)


LOGITS = st.floats(-20, 20)


@both
@pytest.mark.parametrize("prior", [True, False])
@light
@given(loc=locs, scale=scales, present=presents, logits=hnp.arrays(np.float64, SHAPE, elements=LOGITS))
def test_a_generalised_product_has_the_weighed_sum_of_precisions(
    backend: str, prior: bool, loc: Any, scale: Any, present: Any, logits: Any
) -> None:
    found = call(backend, fixed("generalised_product", prior=prior), loc, scale, present, logits)
    power = np.where(present[..., None], np.exp(logits), 0)
    power = power / np.maximum(power.sum(0), 1e-300)
    with np.errstate(divide="ignore"):
        expected = by_hand(loc, scale / np.sqrt(power), present, prior)
    for mine, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-9, atol=1e-9)


@both
@light
@given(loc=locs, scale=extreme, speaker=st.integers(0, MODALITIES - 1))
def test_a_generalised_product_of_one_expert_is_that_expert(backend: str, loc: Any, scale: Any, speaker: int) -> None:
    present = np.arange(MODALITIES)[:, None] * np.ones(ITEMS) == speaker
    logits = np.array([3.0, -2.0, 0.5])[:, None, None]
    mean, deviation = call(backend, fixed("generalised_product", prior=False), loc, scale, present, logits)
    np.testing.assert_allclose(mean, loc[speaker], rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(deviation, scale[speaker], rtol=1e-12)


@both
@light
@given(loc=locs, scale=extreme, present=presents)
def test_a_generalised_product_stays_finite_in_single_precision(
    backend: str, loc: Any, scale: Any, present: Any
) -> None:
    logits = np.array([30.0, -30.0, 0.0])[:, None, None]
    function = fixed("generalised_product", prior=False)
    found = call_with_gradient(backend, function, loc, scale, present, logits, dtype="float32")
    assert all(np.isfinite(part).all() for part in found)


@both
@light
@given(loc=locs, scale=scales, present=presents)
def test_products_of_what_subsets_share_with_the_present_fall_back_to_all_present(
    backend: str, loc: Any, scale: Any, present: Any
) -> None:
    members = np.array(experts.subsets(MODALITIES), dtype=float)
    found = call(backend, experts.shared_products, loc, scale, present, members)
    for row, chosen in enumerate(members.astype(bool)):
        shared = present & chosen[:, None]
        shared = np.where(shared.any(0), shared, present)
        for mine, theirs in zip(found, by_hand(loc, scale, shared, False), strict=True):
            np.testing.assert_allclose(mine[row], theirs, rtol=1e-10, atol=1e-10)


def moments(backend: str, family: str, loc: Any, scale: Any, weights: Any) -> list[np.ndarray]:
    """Mean and variance of a mixture, by itself and as the plates of draws and items expand it."""
    with running(backend) as array, ppl.handlers.seed(rng_seed=0):
        mixture = experts.mixture(*(array(x) for x in (loc, scale, weights)), getattr(ppl.dist, family))

        def program() -> None:
            with ppl.pyro.plate("draws", 5, dim=-2), ppl.pyro.plate("items", ITEMS, dim=-1):
                ppl.pyro.sample("z", mixture)

        seen = ppl.handlers.trace(program).get_trace().nodes["z"]["fn"]
        return [np.asarray(part) for part in (mixture.mean, mixture.variance, seen.mean, seen.variance)]


@both
@pytest.mark.parametrize(("family", "unit"), [("Normal", 1.0), ("Laplace", 2.0)])
def test_a_mixture_knows_its_moments_in_any_plates(backend: str, family: str, unit: float) -> None:
    loc, scale, weights = mixture_case()
    mean = np.einsum("ki,kil->il", weights, loc)
    variance = np.einsum("ki,kil->il", weights, unit * scale**2 + loc**2) - mean**2
    found = moments(backend, family, loc, scale, weights)
    for mine, theirs in zip(found, (mean, variance, mean, variance), strict=True):
        np.testing.assert_allclose(mine, np.broadcast_to(theirs, mine.shape), rtol=1e-12)
    assert found[2].shape == (5, ITEMS, LATENT)


@both
def test_a_mixture_of_laplaces_has_their_density_and_draws(backend: str) -> None:
    loc, scale, weights = mixture_case()
    z = np.random.default_rng(4).normal(size=(7, ITEMS, LATENT)) * 3
    make = partial(mixture_of, "Laplace")
    with running(backend) as array:
        found = np.asarray(make(*(array(x) for x in (loc, scale, weights))).log_prob(array(z)))
    each = laplace.logpdf(z[:, None], loc, scale).sum(-1)
    np.testing.assert_allclose(found, logsumexp(each, 1, b=weights), rtol=1e-10)
    mean = np.einsum("ki,kil->il", weights, loc)
    deviation = np.sqrt(np.einsum("ki,kil->il", weights, 2 * scale**2 + loc**2) - mean**2)
    count = 20_000
    sampled = drawn(backend, make, loc, scale, weights, count=count)
    np.testing.assert_allclose(sampled.mean(0), mean, atol=5 * deviation.max() / np.sqrt(count))
    np.testing.assert_allclose(sampled.std(0), deviation, rtol=0.05)


def mixture_of(family: str, *arguments: Any) -> Any:
    return experts.mixture(*arguments, family=getattr(ppl.dist, family))


@both
def test_a_distribution_written_without_moments_says_so(backend: str) -> None:
    with running(backend):
        written = ppl.distribution(lambda draw: None, lambda z: z.sum(-1), (ITEMS,), (LATENT,))
        with pytest.raises(NotImplementedError, match="written without its mean"):
            _ = written.mean
        with pytest.raises(NotImplementedError, match="written without its variance"):
            _ = written.variance


@both
@pytest.mark.parametrize("modalities", [1, 3])
def test_every_subset_is_drawn_equally_often_and_the_empty_one_never(backend: str, modalities: int) -> None:
    count, subsets = 6000, 2**modalities - 1
    with running(backend), numpyro.handlers.seed(rng_seed=0):
        torch.manual_seed(0)
        drawn = np.asarray(experts.random_subsets(count, modalities))
    share = np.bincount((drawn @ 2 ** np.arange(modalities)).astype(int), minlength=subsets + 1) / count
    assert share[0] == 0
    np.testing.assert_allclose(share[1:], 1 / subsets, atol=4 * (subsets * count) ** -0.5)


@both
def test_subsets_of_many_modalities_are_drawn_without_listing_them(backend: str) -> None:
    with running(backend), numpyro.handlers.seed(rng_seed=0):
        drawn = np.asarray(experts.random_subsets(500, 80))
    assert drawn.shape == (500, 80)
    assert abs(drawn.mean() - 0.5) < 0.02


@both
def test_an_expert_alone_is_the_product_of_itself(backend: str) -> None:
    loc, log_scale = np.random.default_rng(0).normal(size=(2, *SHAPE))
    scale = np.exp(log_scale)
    present = np.random.default_rng(1).random(SHAPE[:2]) < 0.5
    found = call(backend, experts.singly, loc, scale, present)
    for one, other in zip(found, products(backend, loc, scale, present, np.eye(MODALITIES), False), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)
