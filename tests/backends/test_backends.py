"""Both backends train alike: the libraries' own losses, the same optimisers, the same bits from the same seed."""

from __future__ import annotations

import copy
import gc
from dataclasses import replace

import jax
import numpy as np
import pyro as real_pyro
import pytest
import torch
from torch import nn

import ppvae
from ppvae import VAE, Dataset, Program, dist, ops, pyro
from ppvae.backends import numpyro as numpyro_engine
from ppvae.backends import pyro as pyro_engine
from ppvae.runs.plan import Pace
from ppvae.training.epochs import order
from ppvae.training.fit import init

BACKENDS = ["pyro", "numpyro"]
FULL = Pace(np.float64(1.0), np.float64(1.0))


@pytest.fixture(scope="module")
def data():
    generator = np.random.default_rng(0)
    z = generator.normal(size=(40, 2))
    arrays = {"a": z @ generator.normal(size=(2, 3)), "b": z @ generator.normal(size=(2, 4))}
    arrays["a"][:5] = np.nan
    arrays["b"][7, 2] = np.nan
    return Dataset(arrays)


@pytest.fixture(scope="module")
def mvae(data):
    return replace(ppvae.method("mvae", data.modalities, latent=2, hidden=(8,)), objective="elbo")


class Level(Program):
    """z ~ N(0, 1);  x ~ N(level, 1), whatever z: with an analytic KL its objective has no noise."""

    def __init__(self):
        super().__init__()
        self.level = nn.Parameter(torch.tensor([2.0, -1.0, 0.5]))

    def forward(self, batch):
        with batch.plate():
            pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("x", dist.Normal(self.level, 1.0).to_event(1), obs=batch.get("x"))


class Fixed(Program):
    """z ~ N(loc, scale), the same for every item."""

    def __init__(self):
        super().__init__()
        self.loc = nn.Parameter(torch.tensor(1.5))
        self.log_scale = nn.Parameter(torch.tensor(-0.5))

    def forward(self, batch):
        with batch.plate():
            pyro.sample("z", dist.Normal(self.loc, ops.exp(self.log_scale)))


@pytest.fixture(scope="module")
def noiseless():
    x = np.random.default_rng(1).normal(size=(24, 3))
    return VAE(Level(), Fixed(), objective="mean_field_elbo"), Dataset({"x": x})


@pytest.mark.parametrize("objective", ["elbo", "mean_field_elbo"])
def test_the_loss_on_pyro_is_that_of_pyros_own_estimator(mvae, data, objective):
    state = init(replace(mvae, objective=objective), data, backend="pyro", dtype="float64")
    batch = data.batch(slice(0, 10))
    with pyro_engine.environment(state.plan.settings):
        pyro_engine.seed(3)
        own, _ = pyro_engine.loss_by_site(state, batch, 1.0)
        pyro_engine.seed(3)
        theirs = state.estimator.differentiable_loss(*state.pair.values(), batch) / len(data)
        pairs = [torch.autograd.grad(loss, list(state.pair.parameters()), allow_unused=True) for loss in (own, theirs)]
    assert own.item() == pytest.approx(theirs.item(), rel=1e-12)
    for ours, reference in zip(*pairs, strict=True):
        assert (ours is None) == (reference is None)
        if ours is not None:
            torch.testing.assert_close(ours, reference, rtol=1e-10, atol=1e-12)


def test_the_loss_on_numpyro_is_that_of_numpyros_own_estimator(mvae, data):
    from numpyro.infer import Trace_ELBO

    state = init(mvae, data, backend="numpyro", dtype="float64")
    with numpyro_engine.environment(state.plan.settings):
        batch, key = data.batch(slice(0, 10)), jax.random.key(3)
        own, shares = numpyro_engine.loss_by_site(state.params, state, batch, 1.0, key, training=True)
        programs = numpyro_engine.programs(state.plan.vae.pair, {**state.fixed, **state.params}, state.run.aliases)
        theirs = Trace_ELBO().loss(key, {}, *programs, batch) / len(data)
    assert float(own) == pytest.approx(float(theirs), rel=1e-12)
    assert set(shares) == {"z", "a", "b"}


class Coin(Program):
    """k ~ Bernoulli(1/2);  x ~ N(2 k − 1, 1)."""

    def forward(self, batch):
        with batch.plate():
            k = pyro.sample("k", dist.Bernoulli(0.5))
            pyro.sample("x", dist.Normal((2 * k - 1)[..., None], 1.0).to_event(1), obs=batch.get("x"))


class Toss(Program):
    """k ~ Bernoulli(sigmoid(logit)), which cannot be reparameterised."""

    def __init__(self):
        super().__init__()
        self.logit = nn.Parameter(torch.tensor(0.3))

    def forward(self, batch):
        with batch.plate():
            pyro.sample("k", dist.Bernoulli(logits=self.logit))


@pytest.mark.parametrize("beta", [1.0, 0.3])
def test_a_discrete_latent_gets_the_score_function_gradient_on_pyro_and_is_refused_on_numpyro(beta):
    x = np.array([[0.8], [-0.2]])
    data, vae = Dataset({"x": x}), VAE(Coin(), Toss())
    state = init(vae, data, backend="pyro", dtype="float64", particles=4000)
    with pyro_engine.environment(state.plan.settings), real_pyro.validation_enabled(False):
        pyro_engine.seed(0)
        loss, _ = pyro_engine.loss_by_site(state, data.batch(), beta)
        loss.backward()
    logit = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    q = torch.sigmoid(logit)
    kl = q * torch.log(q / 0.5) + (1 - q) * torch.log((1 - q) / 0.5)
    squares = torch.as_tensor((q * torch.as_tensor((x - 1) ** 2) + (1 - q) * torch.as_tensor((x + 1) ** 2)).mean())
    (exact,) = torch.autograd.grad(0.5 * squares + beta * kl, [logit])
    assert state.pair["guide"].logit.grad.item() == pytest.approx(exact.item(), abs=0.02)
    with pytest.raises(ValueError, match=r"'k'.*backend='pyro'"):
        init(vae, data, backend="numpyro")


def test_the_score_function_gradient_is_pyros_own_draw_by_draw():
    data = Dataset({"x": np.array([[0.8], [-0.2]])})
    state = init(VAE(Coin(), Toss()), data, backend="pyro", dtype="float64")
    logit = state.pair["guide"].logit
    with pyro_engine.environment(state.plan.settings), real_pyro.validation_enabled(False):
        for number in range(4):
            pyro_engine.seed(number)
            (found,) = torch.autograd.grad(pyro_engine.loss_by_site(state, data.batch(), 1.0)[0], [logit])
            pyro_engine.seed(number)
            whole = real_pyro.infer.Trace_ELBO().differentiable_loss(*state.pair.values(), data.batch())
            (expected,) = torch.autograd.grad(whole / len(data), [logit])
            torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(
    "options",
    [
        {"optimizer": "adam"},
        {"optimizer": "adamw", "guide_lr": 0.002},
        {"optimizer": "rmsprop", "schedule": "cosine"},
        {"optimizer": "momentum", "clip": 0.05},
        {"optimizer": "sgd", "schedule": "linear", "beta": 0.5, "kl_warmup": 3},
    ],
    ids=lambda options: options["optimizer"],
)
def test_an_objective_without_noise_takes_both_backends_down_the_same_path(noiseless, options):
    vae, data = noiseless
    common = {"epochs": 6, "batch_size": 8, "lr": 0.05, "dtype": "float64", **options}
    runs = [ppvae.fit(vae, data, backend=backend, **common) for backend in BACKENDS]
    np.testing.assert_allclose(*[[e["loss"] for e in run.history] for run in runs], rtol=1e-5)
    for name, weight in runs[0].snapshot.weights.items():
        np.testing.assert_allclose(runs[1].snapshot.weights[name], weight, rtol=1e-5, atol=1e-9, err_msg=name)
    moved = [
        name
        for name, p in vae.pair.named_parameters()
        if not np.array_equal(p.detach(), runs[0].snapshot.weights[name])
    ]
    assert moved == ["model.level", "guide.loc", "guide.log_scale"]


@pytest.mark.parametrize("there", BACKENDS)
def test_a_run_that_changes_backend_midway_ends_where_it_would_have(noiseless, there):
    vae, data = noiseless
    back = BACKENDS[1 - BACKENDS.index(there)]
    common = {"batch_size": 8, "lr": 0.05, "dtype": "float64", "schedule": "constant"}
    whole = ppvae.fit(vae, data, backend=there, epochs=6, **common)
    half = ppvae.fit(vae, data, backend=there, epochs=2, **common)
    other = ppvae.fit(half, data, backend=back, epochs=4, **common)
    again = ppvae.fit(other, data, backend=there, epochs=6, **common)
    assert again.snapshot.step == whole.snapshot.step == 18
    for group in ("mu", "nu"):
        for name, value in whole.snapshot.moments[group].items():
            np.testing.assert_allclose(again.snapshot.moments[group][name], value, rtol=1e-6, err_msg=name)
    for name, value in whole.snapshot.weights.items():
        np.testing.assert_allclose(again.snapshot.weights[name], value, rtol=1e-9, err_msg=name)


@pytest.mark.parametrize("backend", BACKENDS)
def test_one_seed_gives_the_same_bits_and_another_does_not(mvae, data, backend):
    runs = [ppvae.fit(mvae, data, backend=backend, epochs=2, batch_size=16, seed=seed) for seed in (5, 5, 6)]
    names = list(runs[0].snapshot.weights)
    assert all(np.array_equal(*(run.snapshot.weights[n] for run in runs[:2])) for n in names)
    assert any(not np.array_equal(*(run.snapshot.weights[n] for run in runs[1:])) for n in names)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_loss_is_minus_the_sum_of_the_shares_and_the_pair_passed_in_stays_as_it_was(mvae, data, backend):
    before = copy.deepcopy(mvae.pair.state_dict())
    run = ppvae.fit(mvae, data, backend=backend, epochs=2, batch_size=16, validation=data)
    for entry in run.history:
        assert entry["loss"] == pytest.approx(-sum(entry["sites"].values()), rel=1e-6)
        assert np.isfinite(entry["validation_loss"])
    assert all(torch.equal(value, before[name]) for name, value in mvae.pair.state_dict().items())


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_users_own_loop_over_step_is_the_first_epoch(mvae, data, backend):
    options = {"backend": backend, "batch_size": 16, "dtype": "float64"}
    state = ppvae.init(mvae, data, epochs=1, **options)
    losses = []
    for rows in order(state.plan.settings, len(data), 0):
        batch = data.batch(rows)
        state, info = ppvae.step(state, batch)
        losses.append(info["loss"])
    run = ppvae.fit(mvae, data, epochs=1, **options)
    assert np.mean(losses) == pytest.approx(run.history[0]["loss"], rel=1e-9)


class Tied(Program):
    """A decoder that is also used by the guide."""

    def __init__(self, shared):
        super().__init__()
        self.shared = shared

    def forward(self, batch):
        with batch.plate():
            z = pyro.sample("z", dist.Normal(0.0, 1.0).expand([3]).to_event(1))
            pyro.sample("x", dist.Normal(self.shared(z), 1.0).to_event(1), obs=batch.get("x"))


class TiedGuide(Program):
    """q(z | x) = N(shared(x), 1)."""

    def __init__(self, shared):
        super().__init__()
        self.shared = shared

    def forward(self, batch):
        with batch.plate():
            pyro.sample("z", dist.Normal(self.shared(batch.get("x")), 1.0).to_event(1))


def test_weights_shared_by_model_and_guide_are_trained_once_and_agree_between_backends():
    torch.manual_seed(0)
    shared = nn.Linear(3, 3)
    vae = VAE(Tied(shared), TiedGuide(shared))
    data = Dataset({"x": np.random.default_rng(2).normal(size=(16, 3))})
    assert ppvae.parity(vae, data.batch(), dtype="float64")["ok"]
    for backend in BACKENDS:
        run = ppvae.fit(vae, data, backend=backend, epochs=2)
        assert run.vae.model.shared is run.vae.guide.shared
        weights = run.snapshot.weights
        assert np.array_equal(weights["model.shared.weight"], weights["guide.shared.weight"])
        assert not np.array_equal(weights["model.shared.weight"], shared.weight.detach().numpy())


class Plain(Program):
    """A model with a plain plate over the batch."""

    def forward(self, batch):
        with pyro.plate("items", batch.size):
            pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("x", dist.Normal(0.0, 1.0).expand([3]).to_event(1), obs=batch.get("x"))


class PlainGuide(Program):
    """q(z) = N(loc, 1) in a plain plate."""

    def __init__(self):
        super().__init__()
        self.loc = nn.Parameter(torch.tensor(0.0))

    def forward(self, batch):
        with pyro.plate("items", batch.size):
            pyro.sample("z", dist.Normal(self.loc, 1.0))


@pytest.mark.parametrize("backend", BACKENDS)
def test_figures_are_per_item_under_a_plain_plate_too(backend):
    x = np.random.default_rng(3).normal(size=(30, 3))
    run = ppvae.fit(VAE(Plain(), PlainGuide()), Dataset({"x": x}), backend=backend, epochs=1, batch_size=10, lr=1e-9)
    exact = -(0.5 * x**2 + 0.5 * np.log(2 * np.pi)).sum(1).mean()
    assert run.history[0]["sites"]["x"] == pytest.approx(exact, rel=1e-5)


@pytest.mark.parametrize("backend", ["pyro", pytest.param("numpyro", marks=pytest.mark.slow)])
def test_dropout_is_random_in_training_and_silent_in_answers(data, backend):
    modalities = [
        replace(m, encoder=lambda latent, n=m.shape[0]: nn.Sequential(nn.Linear(n, 2 * latent), nn.Dropout(0.5)))
        for m in data.modalities
    ]
    vae = ppvae.method("mvae", modalities, latent=2, hidden=(8,))
    run = ppvae.fit(vae, data.like(modalities), backend=backend, epochs=1, batch_size=16)
    twice = [run.encode(data, draws=3)["z"] for _ in range(2)]
    np.testing.assert_array_equal(*twice)
    means = [run.to(other).encode(data, draws=2000)["z"].mean(0) for other in BACKENDS]
    np.testing.assert_allclose(*means, atol=0.15)


def test_what_was_compiled_for_a_run_goes_with_it() -> None:
    rows = Dataset({"x": np.random.default_rng(0).normal(size=(20, 3))})
    held = []
    for _ in range(2):
        run = ppvae.fit(VAE(Level(), Fixed()), rows, epochs=2, validation=rows, progress=False)
        del run
        gc.collect()
        held.append(len(jax.devices()[0].client.live_executables()))
    assert held[1] == held[0]
