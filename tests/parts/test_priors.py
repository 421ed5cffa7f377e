"""Priors: densities, draws, pseudo-inputs, and what learning them is worth."""

from __future__ import annotations

import copy

import jax
import numpy as np
import pyro as real_pyro
import pytest
import torch
from scipy import stats
from scipy.special import logsumexp
from torch import nn

import ppvae
from ppvae import VAE, Dataset, Modality, Program, dist, pyro
from ppvae.backends import mirror
from ppvae.backends import numpyro as numpyro_engine
from ppvae.backends import pyro as pyro_engine
from ppvae.backends.mirror.running.program import Mirror
from ppvae.guides.product import Product
from ppvae.language.batch import Batch
from ppvae.language.modality import COUNTS, LEVELED, REALS
from ppvae.language.ppl import items
from ppvae.language.traces import alone, density, random_sites
from ppvae.models.joint import Joint
from ppvae.parts.priors import PRIORS, PseudoInputs, prior
from ppvae.runs.settings import Settings
from ppvae.training.fit import init

DOUBLE = Settings(dtype="float64", device="cpu")
SMALL = {"latent": 2, "hidden": (8,)}
LEARNED = [name for name in PRIORS if name != "standard"]


@pytest.fixture(scope="module")
def data():
    """A normal and a count modality of a common latent, with holes of every kind."""
    generator = np.random.default_rng(0)
    z = generator.normal(size=(40, 2))
    arrays = {"a": z @ generator.normal(size=(2, 3)), "b": generator.poisson(np.exp(0.5 * z)).astype(float)}
    arrays["a"][:5] = np.nan
    arrays["a"][20, 1] = np.nan
    arrays["b"][3:9] = np.nan
    return Dataset(arrays, likelihood={"b": "negative_binomial"})


def made(name, data, seed=0):
    """A pair with this prior in double precision, all of its weights drawn anew."""
    vae = ppvae.method("mvae", data.modalities, prior=name, **SMALL)
    generator = torch.Generator().manual_seed(seed)
    vae.pair.double()
    with torch.no_grad():
        for parameter in vae.pair.parameters():
            parameter.copy_(
                (0.1 if name == "flow" else 0.3)
                * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            )
    return vae


def logpdf(model, z):
    with pyro_engine.environment(DOUBLE), torch.no_grad():
        return model.prior().log_prob(torch.as_tensor(z)).numpy()


@pytest.mark.parametrize("name", PRIORS)
def test_a_prior_is_one_items_distribution_and_integrates_to_one(name, data):
    model = made(name, data).model
    with pyro_engine.environment(DOUBLE):
        p = model.prior()
    assert (tuple(p.batch_shape), tuple(p.event_shape)) == ((), (2,))
    axis = np.linspace(-10, 10, 301)
    grid = np.stack(np.meshgrid(axis, axis), -1)
    assert np.exp(logpdf(model, grid)).sum() * (axis[1] - axis[0]) ** 2 == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("name", PRIORS)
def test_draws_follow_the_density_on_both_backends(name, data):
    model = made(name, data).model
    axis = np.linspace(-10, 10, 301)
    grid = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)
    weights = np.exp(logpdf(model, grid)) * (axis[1] - axis[0]) ** 2
    mean = weights @ grid
    second = np.einsum("n,ni,nj->ij", weights, grid, grid)
    for backend in ("pyro", "numpyro"):
        z = drawn(model.prior, 20_000, backend)
        np.testing.assert_allclose(z.mean(0), mean, atol=0.04, err_msg=backend)
        np.testing.assert_allclose(z.T @ z / len(z), second, atol=0.08, err_msg=backend)


def drawn(program, draws, backend):
    if backend == "pyro":
        with pyro_engine.environment(DOUBLE), torch.no_grad():
            pyro_engine.seed(0)
            return program()(torch.Size([draws])).numpy()
    with numpyro_engine.environment(DOUBLE):
        p = mirror.Parameters(mirror.arrays(program), mirror.aliases(program))
        return np.asarray(Mirror(program, p)().sample(jax.random.key(0), (draws,)))


def test_the_mixtures_density_is_the_sum_of_its_components():
    program = prior("mixture", 3).double()
    with torch.no_grad():
        program.logits.copy_(torch.linspace(-1, 1, 50))
        program.log_scale.copy_(0.3 * torch.randn(50, 3, generator=torch.Generator().manual_seed(1)))
    logits, loc, scale = (p.detach().numpy() for p in (program.logits, program.loc, program.log_scale.exp()))
    z = np.random.default_rng(0).normal(size=(4, 5, 3))
    each = stats.norm.logpdf(z[..., None, :], loc, scale).sum(-1) + logits - logsumexp(logits)
    np.testing.assert_allclose(program().log_prob(torch.as_tensor(z)).detach(), logsumexp(each, -1), rtol=1e-10)


def test_the_vamp_prior_mixes_the_guides_posteriors_at_the_pseudo_inputs(data):
    vae = made("vamp", data)
    with pyro_engine.environment(DOUBLE), torch.no_grad():
        inputs = {name: make() for name, make in vae.model.prior.inputs.items()}
        q = random_sites(vae.guide, Batch(inputs))["z"]["fn"]
    z = np.random.default_rng(0).normal(size=(4, 5, 2))
    each = stats.norm.logpdf(z[..., None, :], q.mean.numpy(), q.variance.sqrt().numpy()).sum(-1)
    np.testing.assert_allclose(logpdf(vae.model, z), logsumexp(each, -1) - np.log(50), rtol=1e-10)


def test_the_guides_own_plates_and_sites_stay_out_of_the_models_trace(data):
    model, batch = made("vamp", data).model, alone(data.batch(slice(0, 7)))
    z = torch.as_tensor(np.random.default_rng(0).normal(size=(3, 7, 2)))
    with pyro_engine.environment(DOUBLE), items().draws(3), items().enumerating(), real_pyro.plate("more", 1, dim=-3):
        sites = random_sites(model, batch, {"z": z})
    assert list(sites) == ["z", "a", "b"]
    np.testing.assert_allclose(density(sites["z"]).detach()[0], logpdf(model, z.numpy()), rtol=1e-10)


@pytest.mark.parametrize("likelihood", ppvae.language.modality.ELEMENTWISE)
def test_pseudo_inputs_are_values_the_likelihood_can_take(likelihood):
    levels = 4 if likelihood in LEVELED else None
    modality = Modality("x", (2, 3), likelihood, levels=levels, center=0.6, spread=0.2)
    inputs = PseudoInputs(modality, 5000)
    x = inputs()
    assert x.shape == (5000, 2, 3)
    if likelihood in REALS:
        assert x.mean().item() == pytest.approx(0.6, abs=0.01)
        assert x.std().item() == pytest.approx(0.2, abs=0.01)
        return
    with torch.no_grad():
        inputs.free.mul_(30)
    extremes = torch.cat([x, inputs()])
    assert (extremes >= 0).all()
    assert (extremes <= modality.top).all()
    middle = torch.log1p(x) if likelihood in COUNTS else x
    assert middle.median().item() == pytest.approx(0.6, abs=0.1)


class Other(Program):
    """A guide that draws another latent before z."""

    def __init__(self):
        super().__init__()
        self.loc = nn.Parameter(torch.zeros(2))

    def forward(self, batch):
        with batch.plate():
            y = pyro.sample("y", dist.Normal(self.loc, 1.0).to_event(1))
            return pyro.sample("z", dist.Normal(y, 1.0).to_event(1))


def test_what_a_prior_lacks_is_said_in_one_sentence(data):
    with pytest.raises(ValueError, match="unknown prior 'vampire'; choose one of standard, diagonal, mixture"):
        prior("vampire", 2)
    with pytest.raises(ValueError, match="'vamp' needs the modalities"):
        prior("vamp", 2)
    with pytest.raises(ValueError, match="unknown prior 'vampire'"):
        ppvae.method("mvae", data.modalities, prior="vampire", **SMALL)
    vamp = prior("vamp", 2, data.modalities)
    with pytest.raises(ValueError, match=r"call prior.attach\(guide\)"):
        vamp()
    vamp.attach(Other())
    with pytest.raises(ValueError, match="draws 'z' first, given its inputs alone, not 'y'"):
        vamp()


@pytest.mark.parametrize("name", PRIORS)
def test_both_backends_give_the_same_densities_and_gradients(name, data):
    report = ppvae.parity(made(name, data), data.batch(slice(0, 12)), dtype="float64")
    assert report["max_logprob_difference"] <= 1e-10
    assert report["max_gradient_difference"] <= 1e-9


@pytest.mark.parametrize("name", LEARNED)
def test_training_moves_every_parameter_of_a_prior_and_new_items_come_of_it(name, data):
    vae = ppvae.method("mvae", data.modalities, prior=name, **SMALL)
    run = ppvae.fit(vae, data, backend="pyro", epochs=2, batch_size=20)
    trained = dict(run.vae.model.prior.named_parameters())
    fresh = dict(vae.model.prior.named_parameters())
    assert fresh
    assert [key for key, value in fresh.items() if value.equal(trained[key])] == []
    new = run.generate(6)
    assert {key: value.shape for key, value in new.items()} == {"a": (6, 3), "b": (6, 2)}
    assert all(np.isfinite(value).all() for value in new.values())


@pytest.fixture(scope="module")
def vamp_run(data):
    vae = ppvae.method("mopoe", data.modalities, prior="vamp", **SMALL)
    return ppvae.fit(vae, data, backend="numpyro", epochs=2, batch_size=20)


@pytest.mark.slow
def test_a_shared_guide_stays_shared_when_a_pair_is_copied_trained_saved_and_loaded(vamp_run, data, tmp_path):
    vamp_run.save(tmp_path / "run")
    loaded = ppvae.load(tmp_path / "run")
    for vae in (vamp_run.vae, copy.deepcopy(vamp_run.vae), loaded.vae):
        assert vae.model.prior.guide is vae.guide
    weights = vamp_run.snapshot.weights
    for name, weight in weights.items():
        if name.startswith("guide."):
            np.testing.assert_array_equal(weights[f"model.prior.{name}"], weight)
    rows = data.take(slice(0, 8))
    answers = [run.log_weights(rows, particles=3) for run in (vamp_run, loaded)]
    np.testing.assert_array_equal(*answers)
    assert np.isfinite(answers[0]).all()


def test_the_guide_of_a_vamp_prior_rests_only_where_the_guide_does(data):
    vae = VAE(Joint(data.modalities, prior="vamp", **SMALL), Product(data.modalities, **SMALL), "telbo")
    vae.model.prior.attach(vae.guide)
    plan = init(vae, data, backend="pyro").plan
    names = [name for name, _ in plan.vae.pair.named_parameters()]
    assert [name for name in names if not plan.rests(name, 1)] == [n for n in names if "prior.guide" in n]
    assert not any(plan.rests(name, 0) for name in names)


@pytest.fixture(scope="module")
def clusters():
    """Items of eight tight clusters on a ring, in two views."""
    generator = np.random.default_rng(0)
    angle = 2 * np.pi * generator.integers(0, 8, size=400) / 8
    z = 3 * np.stack([np.cos(angle), np.sin(angle)], 1) + 0.05 * generator.normal(size=(400, 2))
    return Dataset({name: z @ generator.normal(size=(2, 4)) + 0.1 * generator.normal(size=(400, 4)) for name in "ab"})


@pytest.mark.slow
def test_learned_priors_raise_the_elbo_of_clustered_data(clusters):
    final = {}
    for name in ("standard", "mixture", "flow", "vamp"):
        vae = ppvae.method("vae", clusters.modalities, latent=2, hidden=(32,), prior=name)
        run = ppvae.fit(vae, clusters, backend="numpyro", epochs=100, batch_size=100, lr=0.01)
        final[name] = np.mean([-entry["loss"] for entry in run.history[-10:]])
    for name in ("mixture", "flow", "vamp"):
        assert final[name] > final["standard"] + 0.3, final
