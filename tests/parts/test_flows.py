"""Flows: inverses, Jacobians and densities, on both backends."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from ppvae.backends import mirror
from ppvae.backends import numpyro as numpyro_engine
from ppvae.backends.mirror.running.program import Mirror
from ppvae.parts.flows import BOUND, ExpertFlow, Flow
from ppvae.runs.settings import Settings

DOUBLE = Settings(dtype="float64", device="cpu")


def shaken(program, seed=0, size=0.5):
    """The program in double precision, its weights drawn anew."""
    generator = torch.Generator().manual_seed(seed)
    program = program.double()
    with torch.no_grad():
        for parameter in program.parameters():
            parameter.copy_(size * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return program


def normal(*shape, seed=0):
    return torch.as_tensor(np.random.default_rng(seed).normal(size=shape))


@settings(max_examples=25, deadline=None)
@given(latent=st.integers(1, 5), context=st.integers(0, 2), layers=st.integers(1, 5), seed=st.integers(0, 99))
def test_the_inverse_undoes_the_flow_and_its_jacobian(latent, context, layers, seed):
    flow = shaken(Flow(latent, context, layers, (8,)), seed, size=0.25)  # larger ones are worse conditioned than 1e-10
    noise, given_ = normal(3, 4, latent, seed=seed), normal(4, context, seed=seed + 1) if context else None
    z, log_det = flow(noise, given_)
    back, inverse_log_det = flow.inverse(z, given_)
    assert (z.shape, log_det.shape) == ((3, 4, latent), (3, 4))
    torch.testing.assert_close(back, noise, rtol=0, atol=1e-10)
    torch.testing.assert_close(inverse_log_det, -log_det, rtol=0, atol=1e-10)


@pytest.mark.parametrize("latent", [1, 2, 5])
def test_the_log_determinant_is_that_of_the_jacobian(latent):
    flow, context = shaken(Flow(latent, 2, 3, (8,))), normal(2)
    for noise in normal(5, latent):
        jacobian = torch.autograd.functional.jacobian(lambda x: flow(x, context)[0], noise)
        torch.testing.assert_close(flow(noise, context)[1], torch.linalg.slogdet(jacobian)[1], rtol=1e-10, atol=1e-10)


def test_the_flows_density_integrates_to_one_over_the_plane():
    flow = shaken(Flow(2, layers=3, hidden=(8,)), size=0.25)
    axis = torch.linspace(-20, 20, 1201, dtype=torch.float64)
    noise, log_det = flow.inverse(torch.cartesian_prod(axis, axis))
    density = torch.exp(log_det - 0.5 * (noise**2).sum(-1)) / (2 * np.pi)
    assert (density.sum() * (axis[1] - axis[0]) ** 2).item() == pytest.approx(1, abs=1e-4)


def test_both_backends_agree_on_values_determinants_and_gradients():
    flow, noise, context = shaken(Flow(3, 2, 4, (8,))), normal(5, 4, 3), normal(4, 2, seed=1)
    expected = [*flow(noise, context), *flow.inverse(noise, context)]
    weights = torch.autograd.grad(sum((x**2).sum() for x in expected), list(flow.parameters()))
    with numpyro_engine.environment(DOUBLE):
        aliases, arrays = mirror.aliases(flow), mirror.arrays(flow)
        x, c = jnp.asarray(noise.numpy()), jnp.asarray(context.numpy())

        def run(params):
            program = Mirror(flow, mirror.Parameters({**arrays, **params}, aliases))
            found = [*program(x, c), *program.inverse(x, c)]
            return sum((value**2).sum() for value in found), found

        trained = {name: arrays[name] for name, _ in flow.named_parameters()}
        gradients, found = jax.grad(run, has_aux=True)(trained)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs.detach(), rtol=1e-10, atol=1e-12)
    for name, theirs in zip(trained, weights, strict=True):
        np.testing.assert_allclose(gradients[name], theirs, rtol=1e-9, atol=1e-9)


def test_a_flow_starts_as_the_identity_and_its_scales_are_bounded():
    noise = normal(6, 4)
    z, log_det = Flow(4).double()(noise)
    assert z.equal(noise)
    assert not log_det.any()
    _, log_det = shaken(Flow(4, layers=1), size=100.0)(noise)
    assert (log_det.abs() <= 2 * BOUND + 1e-9).all(), "one layer moves two of four elements"


def test_every_element_is_moved_and_kept_in_turn():
    assert Flow(3, layers=3).moved.tolist() == [[0, 1, 0], [1, 0, 1], [0, 1, 0]]
    assert Flow(1, layers=2).moved.tolist() == [[1], [1]]


def test_an_expert_flow_has_the_density_of_its_draws():
    expert, loc, scale = shaken(ExpertFlow(2, 3, (8,))), normal(2), torch.exp(normal(2, seed=1))
    for noise in normal(4, 2, seed=2):
        jacobian = torch.autograd.functional.jacobian(lambda x: expert(x, loc, scale), noise)
        expected = stats.norm.logpdf(noise).sum() - torch.linalg.slogdet(jacobian)[1].item()
        found = expert.log_prob(expert(noise, loc, scale), loc, scale)
        assert found.item() == pytest.approx(expected, rel=1e-10)


def test_a_fresh_expert_flow_is_the_gaussian_of_its_location_and_scale():
    loc, scale, z = normal(5, 3), torch.exp(normal(5, 3, seed=1)), normal(2, 5, 3, seed=2)
    expected = stats.norm.logpdf(z, loc, scale).sum(-1)
    np.testing.assert_allclose(ExpertFlow(3).double().log_prob(z, loc, scale).detach(), expected, rtol=1e-10)
