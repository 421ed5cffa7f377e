"""Plain programs: the libraries' own SVI, NUTS, Predictive and renderers run a pair, and its weights come back in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
import numpyro.infer
import optax
import pyro as pyro_itself
import pyro.infer
import pytest
import torch
from numpyro import handlers
from torch import nn

import ppvae
from ppvae import VAE, Batch, Dataset, Program, dist, pyro
from ppvae.inference.fitted import Fitted

BACKENDS = ("pyro", "numpyro")
both = pytest.mark.parametrize("backend", BACKENDS)


class Scores(Program):
    """z ~ N(0, 1);  x ~ N(loadings(z), 1)."""

    def __init__(self) -> None:
        super().__init__()
        self.loadings = nn.Linear(1, 3)

    def forward(self, batch: Batch) -> Any:
        with batch.plate():
            z = pyro.sample("z", dist.Normal(0.0, 1.0).expand([1]).to_event(1))
            return pyro.sample("x", dist.Normal(self.loadings(z), 1.0).to_event(1), obs=batch.get("x"))


class Loc(Program):
    """A part of a guide: the mean of q(z | x)."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.zeros(1, 3).T)  # which is not contiguous once it is transposed
        self.gain.data = torch.full((1, 3), 0.1).T

    def forward(self, x: Any) -> Any:
        return x @ self.gain


class Guess(Program):
    """q(z | x) = N(loc(x), scale)."""

    def __init__(self) -> None:
        super().__init__()
        self.loc = Loc()
        self.log_scale = nn.Parameter(torch.tensor(-0.5))
        self.still = nn.Parameter(torch.tensor(1.0), requires_grad=False)

    def forward(self, batch: Batch) -> None:
        with batch.plate():
            pyro.sample("z", dist.Normal(self.loc(batch.get("x")), self.log_scale.exp() * self.still).to_event(1))


@pytest.fixture(autouse=True)
def _empty_store() -> Iterator[None]:
    pyro_itself.clear_param_store()
    yield
    pyro_itself.clear_param_store()


@pytest.fixture(scope="module")
def data() -> Dataset:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 1)) @ np.array([[1.5, -1.0, 0.5]]) + rng.normal(size=(40, 3)) + [2.0, 0.0, 1.0]
    return Dataset({"x": x.astype(np.float32)})


def vae() -> VAE:
    torch.manual_seed(0)
    return VAE(Scores(), Guess())


def elbo(fitted: Fitted, data: Dataset) -> float:
    return float(fitted.elbo_and_evidence(data, particles=2000)[0].mean())


def by_pyros_svi(model: Any, guide: Any, batch: Batch, steps: int = 200) -> dict[str, Any]:
    torch.manual_seed(1)
    svi = pyro.infer.SVI(model, guide, pyro_itself.optim.Adam({"lr": 0.02}), pyro.infer.Trace_ELBO())
    for _ in range(steps):
        svi.step(batch)
    return dict(pyro_itself.get_param_store().items())


def by_numpyros_svi(model: Any, guide: Any, batch: Batch, steps: int = 200) -> dict[str, Any]:
    svi = numpyro.infer.SVI(model, guide, optax.adam(0.02), numpyro.infer.Trace_ELBO())
    state, update = svi.init(jax.random.key(1), batch), jax.jit(svi.update)
    for _ in range(steps):
        state, _ = update(state, batch)
    return svi.get_params(state)


@pytest.fixture(scope="module")
def reached(data: Dataset) -> tuple[float, float]:
    """The ELBO at the start, and where ``fit`` gets to in 200 steps."""
    runs = [ppvae.fit(vae(), data, epochs=epochs, batch_size=40, lr=0.02) for epochs in (0, 200)]
    return elbo(runs[0], data), elbo(runs[1], data)


@pytest.mark.parametrize("way", ["programs", "to_pyro", "to_numpyro"])
def test_the_librarys_own_svi_moves_every_weight_and_gets_as_far_as_fit(
    way: str, data: Dataset, reached: tuple[float, float]
) -> None:
    start = ppvae.fit(vae(), data, epochs=0)
    plain = (start.vae.model, start.vae.guide) if way == "programs" else getattr(start, way)()[:2]
    params = (by_numpyros_svi if way == "to_numpyro" else by_pyros_svi)(*plain, data.batch())
    back = vae().load(params)
    for (name, before), after in zip(vae().pair.named_parameters(), back.pair.parameters(), strict=True):
        assert torch.equal(before, after) is (name == "guide.still"), name
    assert elbo(ppvae.fit(back, data, epochs=0), data) == pytest.approx(reached[1], abs=0.05)
    assert reached[1] > reached[0] + 0.5


def test_a_program_that_svi_runs_is_trained_whatever_the_store_holds(data: Dataset) -> None:
    for _ in range(2):
        pair = vae()
        by_pyros_svi(pair.model, pair.guide, data.batch(), steps=2)
        assert not torch.equal(pair.model.loadings.weight, vae().model.loadings.weight)


class Either(Program):
    """z ~ N(loc, 1);  x ~ N(z, 1), or as a guide q(z) = N(loc, 1)."""

    def __init__(self, role: str) -> None:
        super().__init__()
        self.role, self.loc = role, nn.Parameter(torch.tensor(0.5))

    def forward(self, batch: Batch) -> None:
        z = pyro.sample("z", dist.Normal(self.loc, 1.0))
        if self.role == "model":
            with batch.plate():
                pyro.sample("x", dist.Normal(z, 1.0).expand([3]).to_event(1), obs=batch.get("x"))


def test_model_and_guide_of_one_class_have_weights_of_their_own(data: Dataset) -> None:
    model, guide = Either("model"), Either("guide")
    params = by_pyros_svi(model, guide, data.batch(), steps=3)
    assert set(params) == {"Either.loc", "Either_2.loc"}
    back = VAE(Either("model"), Either("guide")).load(params)
    assert (back.model.loc.item(), back.guide.loc.item()) == (model.loc.item(), guide.loc.item())
    assert 0.5 not in (model.loc.item(), guide.loc.item())
    assert model.loc.item() != guide.loc.item()


def test_weights_that_pyro_is_told_to_hide_rest(data: Dataset) -> None:
    pair = vae()
    by_pyros_svi(pair.model, pyro_itself.poutine.block(pair.guide, hide_types=["param"]), data.batch(), steps=2)
    assert torch.equal(pair.guide.loc.gain, vae().guide.loc.gain)
    assert not torch.equal(pair.model.loadings.weight, vae().model.loadings.weight)


class Mean(Program):
    """z ~ N(0, I);  x ~ N(shared(z), 1), or as a guide q(z | x) = N(shared(x), 1)."""

    def __init__(self, shared: nn.Module, site: str) -> None:
        super().__init__()
        self.shared, self.site = shared, site

    def forward(self, batch: Batch) -> None:
        with batch.plate():
            loc = self.shared(batch.get("x")) if self.site == "q" else 0.0
            z = pyro.sample("z", dist.Normal(loc, 1.0).expand([batch.size, 3]).to_event(1))
            if self.site == "p":
                pyro.sample("x", dist.Normal(self.shared(z), 1.0).to_event(1), obs=batch.get("x"))


@pytest.mark.parametrize("way", ["programs", "to_pyro", "to_numpyro"])
def test_shared_weights_are_one_parameter(way: str, data: Dataset) -> None:
    def tied() -> VAE:
        torch.manual_seed(0)
        shared = nn.Linear(3, 3)
        return VAE(Mean(shared, "p"), Mean(shared, "q"))

    fitted = ppvae.fit(tied(), data, epochs=0)
    plain = (fitted.vae.model, fitted.vae.guide) if way == "programs" else getattr(fitted, way)()[:2]
    params = (by_numpyros_svi if way == "to_numpyro" else by_pyros_svi)(*plain, data.batch(), steps=2)
    assert sorted(name.rpartition(".")[2] for name in params) == ["bias", "weight"]
    back = tied().load(params)
    assert back.model.shared is back.guide.shared
    assert not torch.equal(back.model.shared.weight, tied().model.shared.weight)


@both
def test_nuts_has_the_mean_of_the_exact_posterior(backend: str, data: Dataset) -> None:
    x = data.arrays["x"][:3].astype(float)
    x[0, 1], x[1] = np.nan, np.nan
    fitted, batch = ppvae.fit(vae(), data, epochs=0), Dataset({"x": x}, modalities=data.modalities).batch()
    if backend == "pyro":
        torch.manual_seed(0)
        kernel = pyro.infer.NUTS(fitted.to_pyro().model)
        chain = pyro.infer.MCMC(kernel, num_samples=200, warmup_steps=80, disable_progbar=True)
        chain.run(batch)
    else:
        kernel = numpyro.infer.NUTS(fitted.to_numpyro().model)
        chain = numpyro.infer.MCMC(kernel, num_warmup=80, num_samples=200, progress_bar=False)
        chain.run(jax.random.key(0), batch)
    z = np.asarray(chain.get_samples()["z"])[..., 0]
    weight, bias = (p.detach().numpy() for p in fitted.vae.model.loadings.parameters())
    variance = 1 / (1 + np.where(np.isnan(x), 0, weight.T**2).sum(1))
    mean = variance * np.where(np.isnan(x), 0, weight.T * (x - bias)).sum(1)
    assert np.all(np.abs(z.mean(0) - mean) < 4 * np.sqrt(variance / 50))  # as of at least 50 independent draws


def test_numpyros_own_tools_take_the_weights_that_they_are_given(data: Dataset) -> None:
    model, guide, params = ppvae.fit(vae(), data, epochs=0).to_numpyro()
    batch, key = data.batch(), jax.random.key(0)
    other = {**params, "model.loadings.bias": params["model.loadings.bias"] + 100}
    drawn = numpyro.infer.Predictive(model, params=other, num_samples=50)(key, Batch(size=5))
    assert drawn["x"].shape == (50, 5, 3)
    assert drawn["x"].min() > 80
    assert numpyro.infer.Predictive(guide, params=params, num_samples=50)(key, batch)["z"].shape == (50, 40, 1)
    with handlers.seed(rng_seed=0):
        sites = handlers.trace(handlers.substitute(model, other)).get_trace(batch)
    assert {name for name, site in sites.items() if site["type"] == "param"} == {n for n in params if n[:2] == "mo"}
    z = np.zeros((40, 1), np.float32)
    density, _ = numpyro.infer.util.log_density(model, (batch,), {}, {**params, "z": z})
    bias = np.asarray(params["model.loadings.bias"])
    exact = -0.5 * ((data.arrays["x"] - bias) ** 2).sum() - 40 * 4 * 0.5 * np.log(2 * np.pi)
    assert float(density) == pytest.approx(exact, rel=1e-5)
    assert '"model.loadings.bias"' in numpyro.render_model(model, (batch,), render_params=True).source


def test_pyros_own_tools_take_the_weights_that_they_are_given(data: Dataset) -> None:
    model, guide, params = ppvae.fit(vae(), data, epochs=0).to_pyro()
    batch = data.batch()
    drawn = pyro.infer.Predictive(model, num_samples=50)(Batch(size=5))
    assert drawn["x"].shape == (50, 5, 3)
    assert pyro.infer.Predictive(model, guide=guide, num_samples=50)(batch)["z"].shape == (50, 40, 1)
    moved = pyro_itself.poutine.substitute(model, {"model.loadings.bias": params["model.loadings.bias"] + 100})
    assert pyro.infer.Predictive(moved, num_samples=5)(Batch(size=5))["x"].min() > 80
    assert "model.loadings.bias" in pyro_itself.render_model(model, (batch,), render_params=True).source
    assert set(params) == {name for name, p in vae().pair.named_parameters() if p.requires_grad}


@pytest.mark.parametrize("loss", ["RenyiELBO", "TraceGraph_ELBO"])
def test_numpyros_estimators_find_the_plate_of_items(loss: str, data: Dataset) -> None:
    model, guide, _ = ppvae.fit(vae(), data, epochs=0).to_numpyro()
    batch = Batch({"x": data.arrays["x"][:10]}, total=40)
    keys = jax.random.split(jax.random.key(0), 2)
    names = (loss, "Trace_ELBO")
    estimators = [getattr(numpyro.infer, name)(num_particles=200) for name in names]
    theirs, own = [
        float(jax.jit(lambda key, e=estimator: e.loss(key, {}, model, guide, batch))(key))
        for estimator, key in zip(estimators, keys, strict=True)
    ]
    assert theirs < own - 1 if loss == "RenyiELBO" else theirs == pytest.approx(own, rel=0.02)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model.loadings.wait": np.zeros(3)}, r"no weight 'model.loadings.wait'; it has model.loadings.weight, model"),
        ({"model.loadings.bias": np.zeros((3, 1))}, r"bias' has shape \(3, 1\), where the pair's has \(3,\)"),
        ({"model.loadings.bias": None}, "the weights lack 'model.loadings.bias'; the pair has 4 and 3 were given"),
        ({"model.loadings.bias": "abc"}, "bias' is a str, not an array of numbers"),
    ],
)
def test_other_weights_are_refused(change: dict[str, Any], said: str, data: Dataset) -> None:
    params = {**ppvae.fit(vae(), data, epochs=0).to_numpyro().params, **change}
    before = vae()
    with pytest.raises(ValueError, match=said):
        before.load({name: value for name, value in params.items() if value is not None})
    for one, other in zip(before.pair.parameters(), vae().pair.parameters(), strict=True):
        assert torch.equal(one, other)


@both
def test_a_plain_pair_leaves_the_fitted_one_alone(backend: str, data: Dataset) -> None:
    fitted = ppvae.fit(vae(), data, epochs=0)
    before = {name: p.clone() for name, p in fitted.vae.pair.state_dict().items()}
    model, guide, _ = getattr(fitted, f"to_{backend}")()
    (by_pyros_svi if backend == "pyro" else by_numpyros_svi)(model, guide, data.batch(), steps=2)
    assert all(torch.equal(p, before[name]) for name, p in fitted.vae.pair.state_dict().items())
