"""Parameters that a program's text declares: trained, kept and shared as all weights are, on both backends."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyro as library
import pytest
import torch
import torch.nn.functional as F
from pyro.nn import PyroModule, PyroParam, PyroSample
from torch import nn
from torch.distributions import constraints as torchs

import ppvae
from ppvae import VAE, Dataset, Program, dist, pyro
from ppvae.backends.declarations import initial
from ppvae.backends.devices.in_torch import defaults
from ppvae.language import ppl

both = pytest.mark.parametrize("backend", ppl.BACKENDS)


def data() -> Dataset:
    return Dataset({"x": np.random.default_rng(0).normal(size=(12, 3))})


class Stated(Program):
    """Weights by pyro.module, parameters by pyro.param, in the tutorials' own spelling."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(2, 3)

    def forward(self, batch: Any) -> None:
        pyro.module("model", self)
        net = pyro.module("net", self.net)
        scale = pyro.param("scale", torch.tensor(1.5), constraint=dist.constraints.positive)
        shares = pyro.param("of.each", lambda: torch.tensor([0.2, 0.3, 0.5]), constraint=dist.constraints.simplex)
        with batch.plate():
            z = pyro.sample("z", dist.Normal(0.0, 1.0).expand([2]).to_event(1))
            pyro.sample("x", dist.Normal(net(z) * shares, scale).to_event(1), obs=batch.get("x"))


class Shared(Program):
    """A guide with no module at all, which shares the model's scale; some constraints are torch's own objects."""

    def forward(self, batch: Any) -> None:
        weight = pyro.param("type", lambda: torch.randn(3, 2))
        scale = pyro.param("scale", torch.tensor(1.5), constraint=torchs.positive)
        low = pyro.param("low", torch.tensor([0.3, 0.4]), constraint=dist.constraints.interval(0.1, 2.0))
        above = pyro.param("above", torch.tensor(3.0), constraint=torchs.greater_than(2.0))
        root = pyro.param("root", torch.eye(2), constraint=dist.constraints.lower_cholesky)
        with ppl.handlers.block():
            again = pyro.param("low") * above
        with batch.plate():
            loc = batch.get("x") @ weight * again + low
            pyro.sample("z", dist.MultivariateNormal(loc, scale_tril=root * scale))


class Kept(PyroModule):
    """Constrained attributes, one of them a stock layer's own weight."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = PyroModule[nn.Linear](2, 3)
        self.linear.weight = PyroParam(torch.rand(3, 2) + 0.1, torchs.positive)
        self.offset, self.plain = PyroParam(torch.zeros(3)), nn.Linear(3, 3)

    def forward(self, z: Any) -> Any:
        return self.plain(self.linear(z) + self.offset)


class Attributes(Program, PyroModule):
    """A model whose own attributes are constrained too."""

    def __init__(self) -> None:
        super().__init__()
        self.net = Kept()
        self.scale = PyroParam(torch.tensor(1.2), torchs.positive)

    def forward(self, batch: Any) -> None:
        with batch.plate():
            z = pyro.sample("z", dist.Normal(0.0, 1.0).expand([2]).to_event(1))
            pyro.sample("x", dist.Normal(self.net(z), self.scale).to_event(1), obs=batch.get("x"))


PAIRS: list[Callable[[], VAE]] = [lambda: VAE(Stated(), Shared()), lambda: VAE(Attributes(), Shared())]
pairs = pytest.mark.parametrize("pair", PAIRS, ids=["statements", "attributes"])


@pairs
def test_declared_parameters_are_the_same_on_both_backends(pair: Callable[[], VAE]) -> None:
    found = ppvae.parity(pair(), data().batch(), dtype="float64")
    assert max(found["max_logprob_difference"], found["max_gradient_difference"]) < 1e-10
    assert {"guide.pyro_params.type", "guide.pyro_params.low"} < set(found["parameters"])


@pytest.mark.parametrize(
    ("pair", "backend"),
    [
        pytest.param(PAIRS[0], "pyro", id="statements-pyro"),
        pytest.param(PAIRS[0], "numpyro", id="statements-numpyro", marks=pytest.mark.slow),
        pytest.param(PAIRS[1], "pyro", id="attributes-pyro"),
        pytest.param(PAIRS[1], "numpyro", id="attributes-numpyro"),
    ],
)
def test_declared_parameters_train_and_are_saved_and_go_on_elsewhere(
    pair: Callable[[], VAE], backend: str, tmp_path: Path
) -> None:
    torch.manual_seed(0)  # how far a parameter moves depends on where the others start
    settings: dict[str, Any] = {"batch_size": 6, "dtype": "float64", "seed": 3}
    start, run = (
        ppvae.fit(pair(), data(), backend=backend, epochs=n, lr=lr, **settings) for n, lr in ((1, 1e-9), (2, 0.1))
    )
    names = [name for name in run.snapshot.weights if "pyro_params" in name or "unconstrained" in name]
    for name in names:
        assert np.abs(run.snapshot.weights[name] - start.snapshot.weights[name]).max() > 1e-2, name
    run.save(tmp_path / "run")
    loaded = ppvae.load(tmp_path / "run", vae=pair())
    np.testing.assert_array_equal(loaded.encode(data(), draws=2)["z"], run.encode(data(), draws=2)["z"])
    other = next(name for name in ppl.BACKENDS if name != backend)
    on = ppvae.fit(loaded, data(), backend=other, epochs=3, lr=1e-12, **settings)
    for name, weight in run.snapshot.weights.items():
        np.testing.assert_allclose(on.snapshot.weights[name], weight, atol=1e-9)
    assert not len(library.get_param_store())


def test_model_and_guide_share_a_parameter_of_one_name_and_a_seed_gives_its_first_value() -> None:
    one, two, other = (
        dict(
            ppvae.init(VAE(Stated(), Shared()), data(), seed=seed).plan.vae.pair.named_parameters(
                remove_duplicate=False
            )
        )
        for seed in (1, 1, 2)
    )
    scale, drawn = "model.pyro_params.scale", "guide.pyro_params.type"
    assert one[scale] is one["guide.pyro_params.scale"]
    torch.testing.assert_close(one[scale].exp(), torch.tensor(1.5))
    assert torch.equal(one[drawn], two[drawn])
    assert not torch.equal(one[drawn], other[drawn])


def test_outside_ppvae_a_trained_program_speaks_by_its_own_parameters_and_an_untrained_one_by_pyros_store() -> None:
    fitted = ppvae.fit(VAE(Stated(), Shared()), data(), epochs=1, batch_size=6, lr=0.1)
    trace = library.poutine.trace(fitted.vae.model).get_trace(data().batch())
    trained = fitted.vae.model.pyro_params.scale.exp()
    torch.testing.assert_close(trace.nodes["x"]["fn"].base_dist.scale, trained.expand(12, 3))
    with library.get_param_store().scope({"params": {}, "constraints": {}}) as state:
        Stated()(data().batch())
    assert {"scale", "of.each", "net$$$weight"} < set(state["params"])


class Wrong(Shared):
    """A guide with one more line."""

    def __init__(self, line: Callable[[Any], Any]) -> None:
        super().__init__()
        self.line, self.held = line, nn.Linear(3, 3)

    def forward(self, batch: Any) -> None:
        self.line(self)
        super().forward(batch)


SENTENCES = [
    (lambda _: pyro.param("new"), r"pyro.param\('new'\) has no initial value, and Wrong declares it nowhere before"),
    (lambda _: pyro.param("new", torch.tensor(-1.0), torchs.positive), "starts at a value that its constraint"),
    (lambda _: pyro.module("free", nn.Linear(1, 1)), r"a module that Wrong does not hold, so that its weights would"),
    (lambda _: pyro.get_param_store(), "pyro.get_param_store is for code outside programs: the parameters of Wrong"),
    (lambda _: pyro.clear_param_store(), "pyro.clear_param_store is for code outside programs"),
]


@pytest.mark.parametrize(("line", "said"), SENTENCES)
def test_what_would_not_train_is_one_sentence(line: Callable[[Any], Any], said: str) -> None:
    with (
        library.get_param_store().scope({"params": {}, "constraints": {}}),
        pytest.raises((ValueError, NotImplementedError), match=said),
    ):
        ppvae.init(VAE(Stated(), Wrong(line)), data())


@both
def test_what_was_not_declared_before_training_is_refused_in_it(backend: str) -> None:
    said = []
    late = Wrong(lambda guide: pyro.param("late", torch.ones(1)) if said else None)
    state = ppvae.init(VAE(Stated(), late), data(), backend=backend)
    said.append("now")
    state.plan.vae.guide.line = late.line
    with pytest.raises(ValueError, match=r"pyro.param\('late'\) was not there when Wrong was run before training"):
        ppvae.step(state, data().batch(range(4)))


def test_a_first_value_is_as_near_its_constraint_as_its_own_digits() -> None:
    with defaults(torch.float64):
        found = initial("turned", torch.tensor([0.6, 0.8]), dist.constraints.sphere)
        with pytest.raises(ValueError, match="constraint Sphere does not allow"):
            initial("turned", torch.tensor([0.6, 0.9]), dist.constraints.sphere)
    torch.testing.assert_close(found.detach(), torch.tensor([0.6, 0.8], dtype=torch.float64))


class Drawn(Program):
    """A layer whose weights are drawn, as PyroSample has it."""

    def __init__(self) -> None:
        super().__init__()
        self.net = PyroModule[nn.Linear](2, 3, bias=False)
        self.net.weight = PyroSample(dist.Normal(0.0, 1.0).expand([3, 2]).to_event(2))

    def mean(self, z: Any) -> Any:
        return self.net(z)

    def forward(self, batch: Any) -> None:
        with batch.plate():
            z = pyro.sample("z", dist.Normal(0.0, 1.0).expand([2]).to_event(1))
        mean = self.mean(z)
        with batch.plate():
            pyro.sample("x", dist.Normal(mean, 1.0).to_event(1), obs=batch.get("x"))


class Written(Drawn):
    """The same, drawn by the program itself."""

    def __init__(self) -> None:
        super().__init__()
        del self.net

    def mean(self, z: Any) -> Any:
        return F.linear(z, pyro.sample("weight", dist.Normal(0.0, 1.0).expand([3, 2]).to_event(2)))


class Global(Shared):
    """A guide for both."""

    def forward(self, batch: Any) -> None:
        pyro.sample("weight", dist.Normal(torch.ones(3, 2), 0.1).to_event(2))
        super().forward(batch)


class Depending(Drawn):
    """A prior that depends on another, in a module of its own."""

    def __init__(self) -> None:
        super().__init__()
        del self.net
        self.whole = PyroModule[nn.Sequential](PyroModule[nn.Linear](2, 3, bias=False), nn.Identity())
        self.whole[0].mean = PyroParam(torch.tensor(0.3))
        self.whole[0].weight = PyroSample(lambda self: dist.Normal(self.mean, 1.0).expand([3, 2]).to_event(2))

    def mean(self, z: Any) -> Any:
        return self.whole(z)


class Named(Global):
    """Its guide."""

    def forward(self, batch: Any) -> None:
        pyro.sample("0.weight", dist.Normal(torch.ones(3, 2), 0.1).to_event(2))
        Shared.forward(self, batch)


@pytest.mark.parametrize("pair", [(Drawn, Global), (Written, Global), (Depending, Named)])
def test_pyro_samples_are_drawn_on_both_backends(pair: Any) -> None:
    vae = VAE(*(program() for program in pair))
    found = ppvae.parity(vae, data().batch(), dtype="float64")
    assert found["max_logprob_difference"] < 1e-10
    assert found["max_gradient_difference"] < 1e-10
    ends = [ppvae.fit(vae, data(), epochs=3, backend=backend).history[-1]["loss"] for backend in ("pyro", "numpyro")]
    assert ends[0] == pytest.approx(ends[1], rel=0.5)


def test_a_pyro_sample_means_what_a_written_one_does() -> None:
    pairs = [VAE(Drawn(), Global()), VAE(Written(), Global())]
    ends = [ppvae.fit(vae, data(), epochs=1, seed=3, backend="numpyro").history[-1]["loss"] for vae in pairs]
    assert ends[0] == pytest.approx(ends[1], rel=1e-6)
