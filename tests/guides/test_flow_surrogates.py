"""Flow surrogates: who speaks for which item, with what density, and how both stages train them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pyro.infer import HMC, MCMC
from scipy import stats
from scipy.special import logsumexp

import ppvae
from ppvae import VAE, Dataset
from ppvae.backends import pyro as pyro_engine
from ppvae.guides.flow_surrogates import FlowSurrogates
from ppvae.language.batch import Batch
from ppvae.language.traces import random_sites
from ppvae.models.joint import Joint
from ppvae.objectives import make
from ppvae.parts import experts
from ppvae.runs.settings import Settings
from ppvae.training.fit import init

DOUBLE = Settings(dtype="float64", device="cpu")
NAMES = ("a", "b", "c")
SMALL = {"latent": 2, "hidden": (8,)}
# What each row has: everything, one modality, two, two, and nothing.
ROWS = {"a": [1, 1, 1, 0, 0], "b": [1, 0, 1, 1, 0], "c": [1, 0, 0, 1, 0]}
HAS = {row: [name for name in NAMES if ROWS[name][row]] for row in range(5)}


@pytest.fixture(scope="module")
def arrays():
    generator = np.random.default_rng(0)
    z = generator.normal(size=(40, 2))
    return {name: z @ generator.normal(size=(2, 3)) + 0.3 * generator.normal(size=(40, 3)) for name in NAMES}


@pytest.fixture(scope="module")
def batch(arrays):
    masks = {name: np.array(has, bool) for name, has in ROWS.items()}
    return Batch({name: array[:5] for name, array in arrays.items()}, masks)


def shaken(arrays, size):
    """A guide in double precision whose weights are all drawn anew, so that its flows are not the identity."""
    guide = FlowSurrogates(Dataset(arrays).modalities, layers=2, **SMALL).double()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in guide.parameters():
            parameter.copy_(size * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return guide


@pytest.fixture(scope="module")
def guide(arrays):
    return shaken(arrays, 0.3)


def q(guide, batch):
    with pyro_engine.environment(DOUBLE):
        return random_sites(guide, batch)["z"]["fn"]


def log_prob(guide, batch, z):
    """``(draws, items)`` as numpy."""
    with pyro_engine.environment(DOUBLE), torch.no_grad():
        return random_sites(guide, batch)["z"]["fn"].log_prob(torch.as_tensor(z)).numpy()


Z = np.random.default_rng(1).normal(size=(7, 5, 2))


def test_each_item_has_the_density_of_what_it_has(guide, batch):
    found = log_prob(guide, batch, Z)
    with pyro_engine.environment(DOUBLE), torch.no_grad():
        joint = [x.numpy() for x in guide.joint(batch)]
        single = {
            name: guide.flows[name].log_prob(torch.as_tensor(Z), *expert).numpy()
            for name, expert in guide.experts(batch).items()
        }
    np.testing.assert_allclose(found[:, 0], stats.norm.logpdf(Z, *joint).sum(-1)[:, 0], rtol=1e-10)
    for row in (1, 2, 3):
        mixture = logsumexp([single[name][:, row] for name in HAS[row]], 0) - np.log(len(HAS[row]))
        np.testing.assert_allclose(found[:, row], mixture, rtol=1e-10)
    np.testing.assert_allclose(found[:, 4], stats.norm.logpdf(Z[:, 4]).sum(-1), rtol=1e-10)


def test_one_given_modality_has_its_flow_whatever_else_the_row_had(guide, batch, arrays):
    for name in NAMES:
        alone = log_prob(guide, batch.given([name]), Z)
        with pyro_engine.environment(DOUBLE), torch.no_grad():
            expert = guide.experts(batch)[name]
            flow = guide.flows[name].log_prob(torch.as_tensor(Z), *expert).numpy()
        has = np.array(ROWS[name], bool)
        np.testing.assert_allclose(alone[:, has], flow[:, has], rtol=1e-10)
        np.testing.assert_allclose(alone[:, ~has], stats.norm.logpdf(Z).sum(-1)[:, ~has], rtol=1e-10)


def test_a_batch_without_holes_says_the_same_as_one_with_masks_that_hide_nothing(guide, arrays):
    plain = Batch({name: array[:5] for name, array in arrays.items()})
    with pyro_engine.environment(DOUBLE):
        masked = plain.without({name: torch.zeros(5, dtype=torch.bool) for name in NAMES})
    assert isinstance(q(guide, plain), torch.distributions.Independent), "its divergence has a formula"
    assert not isinstance(q(guide, masked), torch.distributions.Independent)
    np.testing.assert_allclose(log_prob(guide, masked, Z), log_prob(guide, plain, Z), rtol=1e-10)


def test_draws_follow_the_density_of_every_item(guide, batch):
    axis = np.linspace(-15, 15, 401)
    grid = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 1, 2)
    weights = np.exp(log_prob(guide, batch, np.repeat(grid, 5, 1))) * (axis[1] - axis[0]) ** 2
    np.testing.assert_allclose(weights.sum(0), 1, atol=1e-4)
    mean = np.einsum("ni,nl->il", weights, grid[:, 0])
    second = np.einsum("ni,nl,nk->ilk", weights, grid[:, 0], grid[:, 0])
    with pyro_engine.environment(DOUBLE), torch.no_grad():
        pyro_engine.seed(0)
        z = random_sites(guide, batch)["z"]["fn"].sample((40_000,)).numpy()
    np.testing.assert_allclose(z.mean(0), mean, atol=0.05)
    np.testing.assert_allclose(np.einsum("nil,nik->ilk", z, z) / len(z), second, rtol=0.03, atol=0.05)


def test_what_stands_in_a_hole_moves_neither_value_nor_gradient(guide, batch):
    found = []
    for filler in (0.0, 1e9):
        filled = {n: np.where(np.array(ROWS[n], bool)[:, None], batch.arrays[n], filler) for n in NAMES}
        held = Batch({n: torch.as_tensor(x) for n, x in filled.items()}, batch.observed)
        with pyro_engine.environment(DOUBLE):
            value = random_sites(guide, held)["z"]["fn"].log_prob(torch.as_tensor(Z))
            found.append([value, *torch.autograd.grad(value.sum(), list(guide.parameters()))])
    for first, second in zip(*found, strict=True):
        assert torch.isfinite(first).all()
        assert first.equal(second)


def test_fresh_flows_multiply_as_gaussians_do(arrays, batch):
    guide = FlowSurrogates(Dataset(arrays).modalities, **SMALL).double()
    standard = torch.distributions.Independent(torch.distributions.Normal(torch.zeros(2).double(), 1.0), 1)
    with pyro_engine.environment(DOUBLE), torch.no_grad():
        loc, scale, present = guide.encoders(batch)
        precision = (scale**-2 * present[..., None]).sum(0)
        mean = (loc * scale**-2 * present[..., None]).sum(0)
        z = torch.as_tensor(Z)
        plain = guide.product_log_prob(batch, z)
        divided = guide.product_log_prob(batch, z, standard)
        joint_loc, joint_scale = experts.product(loc, scale, present, prior=False)
    expected = stats.norm.logpdf(Z, joint_loc, joint_scale).sum(-1)
    np.testing.assert_allclose(varying(plain)[:, :4], varying(expected)[:, :4], rtol=1e-9, atol=1e-9)
    assert not plain[:, 4].any(), "nothing says nothing"
    less = precision - (present.sum(0) - 1.0)[:, None]
    quadratic = -0.5 * (less * z**2).sum(-1) + (mean * z).sum(-1)
    np.testing.assert_allclose(varying(divided), varying(quadratic), rtol=1e-9, atol=1e-9)


def varying(values):
    """What is left of log densities ``(draws, items)`` without their constants."""
    return np.asarray(values) - np.asarray(values)[:1]


def test_pyros_hmc_samples_the_product_of_flows(arrays, batch):
    guide = shaken(arrays, 0.15)
    axis = np.linspace(-12, 12, 201)
    grid = torch.as_tensor(np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 1, 2)).expand(-1, 5, 2)
    with pyro_engine.environment(DOUBLE):
        pyro_engine.seed(0)
        prior = torch.distributions.Independent(torch.distributions.Normal(torch.zeros(2), 2.0), 1)
        weights = torch.softmax(guide.product_log_prob(batch, grid, prior).detach(), 0)
        start = q(guide, batch).sample((40,))
        kernel = HMC(potential_fn=lambda p: -guide.product_log_prob(batch, p["z"], prior).sum(), trajectory_length=1.5)
        mcmc = MCMC(kernel, num_samples=150, warmup_steps=40, initial_params={"z": start}, disable_progbar=True)
        mcmc.run()
    mean = torch.einsum("ni,nl->il", weights, grid[:, 0])
    torch.testing.assert_close(mcmc.get_samples()["z"].mean((0, 1)), mean, atol=0.1, rtol=0)


def ragged(arrays):
    observed = {name: np.arange(40) % 5 != number for number, name in enumerate(NAMES)}
    return Dataset(arrays, observed)


def pair(data):
    torch.manual_seed(0)
    return VAE(Joint(data.modalities, **SMALL), FlowSurrogates(data.modalities, **SMALL), "jnf")


def test_both_backends_give_the_same_densities_and_gradients(arrays):
    data = ragged(arrays)
    report = ppvae.parity(pair(data), data.batch(slice(0, 12)), dtype="float64")
    assert report["max_logprob_difference"] <= 1e-10
    assert report["max_gradient_difference"] <= 1e-9


def test_the_first_stage_trains_the_joint_pair_and_the_second_the_surrogates_alone(arrays):
    data = Dataset(arrays)
    vae = pair(data)
    common = {"backend": "pyro", "batch_size": 20}
    half = ppvae.fit(VAE(vae.model, vae.guide, make("jnf")[:1]), data, epochs=2, **common)
    whole = ppvae.fit(vae, data, epochs=4, **common)
    fresh = {name: p.detach().numpy() for name, p in vae.pair.named_parameters()}
    for name, before in fresh.items():
        stages = [run.snapshot.weights[name] for run in (half, whole)]
        surrogate = name.startswith(("guide.encoders.", "guide.flows."))
        assert np.array_equal(stages[0], before) == surrogate, name
        assert np.array_equal(*stages) != surrogate, name


def test_the_second_stage_lowers_the_divergence_of_the_joint_posterior_from_the_surrogates(arrays):
    data = Dataset(arrays)
    run = ppvae.fit(pair(data), data, backend="numpyro", epochs=120, batch_size=20, lr=0.01)
    gap = [-entry["sites"]["z"] for entry in run.history[60:]]
    assert set(run.history[-1]["sites"]) == {"z"}
    assert np.mean(gap[-10:]) < 0.5 * np.mean(gap[:5])


def test_items_that_lack_a_modality_have_no_share_in_the_second_stage(arrays):
    data = ragged(arrays)
    state = init(pair(data), data, backend="pyro", dtype="float64")
    _, second = make("jnf")
    with pyro_engine.environment(state.plan.settings):
        share = second.objective(state.pair["model"], state.pair["guide"], data.batch(), 1.0)["z"]
    whole = np.all([data.observed[name] for name in NAMES], axis=0)
    assert (share.detach().numpy()[~whole] == 0).all()
    assert (share.detach().numpy()[whole] != 0).all()
