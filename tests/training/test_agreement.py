"""A program that would mean something else on NumPyro is refused before it trains there, and any other is not."""

from __future__ import annotations

import random
import time
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
import torch
from torch import nn

import ppvae
from ppvae import VAE, Dataset, Modality, Program, dist, pyro
from ppvae.backends import mirror
from ppvae.training.checks.agreement import check_agreement
from ppvae.training.fit import init

DATA = Dataset({"x": np.random.default_rng(0).normal(size=(12, 3))})


sinc = torch.sinc


@pytest.fixture(autouse=True)
def wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rule for one of torch's functions that is wrong, as a user may register one."""
    monkeypatch.setitem(mirror.FUNCTIONS, sinc, lambda x: jnp.cos(x))


class Model(Program):
    """z ~ Normal(0, 1);  x ~ Normal(f(net(z)), 1)."""

    def __init__(self, function: Any = torch.tanh) -> None:
        super().__init__()
        self.net, self.function = nn.Linear(2, 3), function

    def forward(self, batch: Any) -> Any:
        with batch.plate():
            z = pyro.sample("z", dist.Normal(0.0, 1.0).expand([2]).to_event(1))
            return pyro.sample("x", dist.Normal(self.function(self.net(z)), 1.0).to_event(1), obs=batch.get("x"))


class Guide(Program):
    """z ~ Normal(f(net(x)), scale)."""

    def __init__(self, function: Any = torch.tanh) -> None:
        super().__init__()
        self.net, self.function = nn.Linear(3, 2), function

    def forward(self, batch: Any) -> Any:
        with batch.plate():
            return pyro.sample("z", dist.Normal(self.function(self.net(batch.get("x"))), 0.5).to_event(1))


class Elsewhere:
    """Functions of another answer each time, by something that torch's generator knows nothing of."""

    def __init__(self) -> None:
        self.calls, self.own, self.torchs = 0, np.random.default_rng(0), torch.Generator()

    def counted(self, x: Any) -> Any:
        self.calls += 1
        return x * min(1.0, self.calls / 50)

    def pythons(self, x: Any) -> Any:
        return x * random.random()

    def numpys(self, x: Any) -> Any:
        return x + np.random.normal()

    def clock(self, x: Any) -> Any:
        return x * (time.perf_counter() % 1)

    def generators(self, x: Any) -> Any:
        return x + self.own.normal()

    def torch_generators(self, x: Any) -> Any:
        return x + torch.rand((), generator=self.torchs)


@pytest.mark.parametrize("name", [name for name in vars(Elsewhere) if name[0] != "_"])
@pytest.mark.parametrize(("role", "site"), [("model", "x"), ("guide", "z")])
def test_what_changes_from_run_to_run_is_refused_on_numpyro_and_told_on_pyro(role: str, site: str, name: str) -> None:
    function = getattr(Elsewhere(), name)
    vae = VAE(Model(function), Guide()) if role == "model" else VAE(Model(), Guide(function))
    said = f"the site '{site}' of {role.title()} changes from run to run at the same draws"
    with pytest.raises(ValueError, match=rf"{said}.* NumPyro compiles .*: draw by pyro.sample or torch.rand"):
        init(vae, DATA, backend="numpyro")
    with pytest.warns(UserWarning, match=f"{said}.* no seed repeats this run: draw by pyro.sample or torch.rand"):
        init(vae, DATA, backend="pyro")


def test_draws_of_torchs_own_generator_are_no_change() -> None:
    vae = VAE(Model(lambda x: x + torch.rand_like(x)), Guide(torch.nn.functional.dropout))
    assert int(init(vae, DATA, backend="numpyro").step) == 0


@pytest.mark.parametrize(("role", "site"), [("model", "x"), ("guide", "z")])
def test_a_difference_is_an_error_that_names_the_site(role: str, site: str) -> None:
    vae = VAE(Model(sinc), Guide()) if role == "model" else VAE(Model(), Guide(sinc))
    with pytest.raises(ValueError, match=rf"^the {role}'s site '{site}' is not the same on NumPyro as on Pyro, with "):
        ppvae.fit(vae, DATA, epochs=1, backend="numpyro")


def test_a_program_that_is_the_same_on_both_is_trained() -> None:
    assert ppvae.fit(VAE(Model(), Guide()), DATA, epochs=1, backend="numpyro").history
    ppvae.fit(VAE(Model(sinc), Guide()), DATA, epochs=1, backend="pyro")


def test_a_network_within_a_method_is_compared_too() -> None:
    class Net(nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(sinc(x))

    kinds = [Modality("x", (3,), encoder=lambda latent: Net(3, 2 * latent))]
    with pytest.raises(ValueError, match=r"^the guide's site 'z' is not the same on NumPyro as on Pyro, with "):
        ppvae.fit(ppvae.method("vae", kinds, latent=2), DATA, epochs=1, backend="numpyro")


def test_what_draws_for_itself_differs_from_run_to_run_and_is_not_asked() -> None:
    drop = lambda x: torch.nn.functional.dropout(x, 0.5, training=True)  # noqa: E731
    check_agreement(VAE(Model(drop), Guide(drop)), DATA.batch())


def test_a_program_of_single_precision_is_the_same_up_to_rounding() -> None:
    check_agreement(VAE(Model(lambda x: torch.tanh(x.float()).double()), Guide()), DATA.batch())


class Level(Program):
    """A mean for all items, of which the guide is sure: its value is a parameter itself."""

    def __init__(self, sure: bool):
        super().__init__()
        self.sure, self.mean = sure, nn.Parameter(torch.zeros(()))

    def forward(self, batch):
        level = pyro.sample("level", dist.Delta(self.mean) if self.sure else dist.Normal(0.0, 1.0))
        if not self.sure:
            with batch.plate():
                pyro.sample("x", dist.Normal(level, 1.0), obs=batch.get("x"))


def test_a_value_that_is_a_parameter_is_compared_too() -> None:
    data = Dataset({"x": np.ones(6)}, modalities=[Modality("x", ())])
    run = ppvae.fit(VAE(Level(False), Level(True)), data, backend="numpyro", epochs=0, dtype="float64")
    assert run.log_evidence(data, particles=2) == pytest.approx(np.full(6, -0.5 - 0.5 * np.log(2 * np.pi)))


class Among(Program):
    """Items of three numbers, of which model or guide sees a function of the whole batch."""

    def __init__(self, role: str, of: Any) -> None:
        super().__init__()
        self.role, self.of, self.net = role, of, nn.Linear(3, 3)

    def forward(self, batch: Any) -> None:
        x = batch.get("x")
        with batch.plate():
            loc = torch.zeros(3) if self.role == "model" else self.net(self.of(x))
            z = pyro.sample("z", dist.Normal(loc, 1.0).to_event(1))
            if self.role == "model":
                pyro.sample("x", dist.Normal(self.net(self.of(z)), 1.0).to_event(1), obs=x)


def itself(x: Any) -> Any:
    return x


@pytest.mark.parametrize("backend", ["pyro", "numpyro"])
@pytest.mark.parametrize(
    "of", [lambda x: x - x.mean(0), lambda x: (x - x.mean(0)) / x.std(0), lambda x: x.softmax(0), lambda x: x.cumsum(0)]
)
def test_items_that_look_at_each_other_are_refused_since_answers_take_them_alone(of: Any, backend: str) -> None:
    x = np.random.default_rng(0).normal(size=(9, 3)) + 1
    data = Dataset({"x": np.where(np.arange(9)[:, None] % 4 == 1, np.nan, x)}, modalities=[Modality("x", (3,))])
    for pair, site in (((itself, of), "the guide's site 'z'"), ((of, itself), "the model's site 'x'")):
        vae = VAE(Among("model", pair[0]), Among("guide", pair[1]))
        with pytest.raises(ValueError, match=f"{site} has a log-density of .* for an item beside others and of"):
            ppvae.init(vae, data.take(range(8, -1, -1)), backend=backend)
    assert ppvae.init(
        VAE(Among("model", itself), Among("guide", lambda x: x - x.mean(-1, True))), data, backend=backend
    )
