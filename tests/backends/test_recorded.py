"""Recorded steps: bits of runs that record, and programs whose steps are never recorded."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import ppvae
from ppvae import VAE, Dataset, Modality, Program, dist, pyro
from ppvae.backends import pyro as engine
from ppvae.objectives import known_latents, subsets
from ppvae.objectives.elbo import elbo
from ppvae.training.fit import init

OPTIONS = {"backend": "pyro", "batch_size": 16}


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short runs record."""
    monkeypatch.setattr(engine.recorded, "WORTH", 2)
    monkeypatch.setattr(engine.recorded, "AFTER", 2)


def data() -> Dataset:
    random = np.random.default_rng(0)
    a, b = (random.normal(size=(48, size)) for size in (3, 4))
    b[random.random(b.shape) < 0.3] = np.nan
    return Dataset({"a": a, "b": b}, {"a": random.random(48) < 0.7})


def pair(**options: Any) -> VAE:
    return ppvae.method("mvae", data().modalities or (), latent=2, hidden=(8,), **options)


def recordings(state: Any) -> list[Any]:
    return [held for held in state.recordings.values() if not isinstance(held, int)]


def run(vae: VAE, epochs: int = 2, **options: Any) -> Any:
    """The state after some epochs of three steps, each of the same rows, at a pace of its own."""
    state = init(vae, data(), **OPTIONS, **options)
    with engine.environment(state.plan.settings):
        given = engine.put(data().arrays), engine.put(data().observed or {})
    rows = np.arange(48).reshape(3, 16)
    for _ in range(epochs):
        pace = engine.Pace(np.ones(3, np.float32), np.array([1.0, 1.0, options.get("beta", 1.0)], np.float32))
        state, _ = engine.epoch(state, *given, rows, rows, pace)
    return state


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"weights": np.arange(48) % 3},
        {"clip": 0.1},
        {"kl_warmup": 2},
        {"optimizer": "sgd"},
        {"precision": "bfloat16"},
    ],
)
def test_a_run_that_records_is_the_run_that_does_not(options: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {**OPTIONS, "epochs": 5, **options}
    first = ppvae.fit(pair(), data(), **settings)
    monkeypatch.setattr(engine.recorded, "WORTH", 10**9)
    second = ppvae.fit(pair(), data(), **settings)
    for one, other in zip(first.history, second.history, strict=True):
        assert {**one, "seconds": 0} == {**other, "seconds": 0}
    for name, weight in first.snapshot.weights.items():
        np.testing.assert_array_equal(weight, second.snapshot.weights[name])


def test_each_weight_of_latent_sites_has_a_recording_of_its_own() -> None:
    assert len(recordings(run(pair()))) == 1
    assert len(recordings(run(pair(), epochs=5, beta=0.5))) == 2


def test_short_runs_and_steps_that_others_take_are_not_recorded() -> None:
    state = init(pair(), data(), **OPTIONS, epochs=0)
    assert state.recordings is None
    state = init(pair(), data(), **OPTIONS)
    for _ in range(4):
        state, _ = ppvae.step(state, data().batch(slice(16)))
    assert state.recordings is None


class Counting(Program):
    """z ~ Normal(0, 1);  a ~ Normal(z, n) in its n-th run, which no recording would know."""

    def __init__(self) -> None:
        super().__init__()
        self.runs = 0

    def forward(self, batch: Any) -> Any:
        self.runs += 1
        with batch.plate():
            z = pyro.sample("z", dist.Normal(0.0, 1.0).expand([2]).to_event(1))
            return pyro.sample("a", dist.Normal(z[..., :1], 1.0 * self.runs).to_event(1), obs=batch.get("a"))


def test_texts_networks_objectives_and_hooks_of_others_are_not_recorded() -> None:
    stock, own = engine.recorded.stock, pair()

    def objective(model: Any, guide: Any, batch: Any, beta: Any) -> Any:
        return elbo()(model, guide, batch, beta)

    class Own(nn.Linear):
        pass

    assert stock(own.pair, subsets.mvae())
    assert stock(own.pair, known_latents.asleep(elbo(), 1.0))
    assert not stock(nn.ModuleDict({"model": Counting(), "guide": own.guide}), elbo())
    assert not stock(own.pair, objective)
    assert not stock(own.pair, known_latents.asleep(objective, 1.0))
    for change in (
        lambda module: module.register_forward_hook(print),
        lambda module: module.register_forward_pre_hook(print),
        lambda module: setattr(module, "forward", print),
        lambda module: module.add_module("own", Own(2, 2)),
    ):
        changed = copy.deepcopy(own)
        change(changed.guide)
        assert not stock(changed.pair, elbo())


def test_networks_that_somebody_makes_of_torchs_are_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    def encoder(latent: int) -> nn.Module:
        return nn.Sequential(nn.Linear(3, 8), nn.LayerNorm(8), nn.Dropout(0.1), nn.Linear(8, 2 * latent))

    parts = [replace(m, encoder=encoder) if m.name == "a" else m for m in data().modalities or ()]
    states = [run(ppvae.method("gpoe", parts, latent=2, hidden=(8,)))]
    assert len(recordings(states[0])) == 1
    monkeypatch.setattr(engine.recorded, "AFTER", 10**9)
    states.append(run(ppvae.method("gpoe", parts, latent=2, hidden=(8,))))
    assert recordings(states[1]) == []
    for one, other in zip(*(state.pair.state_dict().values() for state in states), strict=True):
        assert torch.equal(one, other)


def test_a_picture_and_a_text_are_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    arrays = {"picture": random.normal(size=(48, 1, 8, 8)), "words": random.integers(4, 9, (48, 5))}
    words = Modality("words", (5,), "autoregressive", kind="text", levels=9)
    rows = Dataset(arrays, modalities=[Modality("picture", (1, 8, 8), kind="image"), words])
    vaes = [ppvae.method("mopoe", rows.modalities or (), latent=2, hidden=(8,)) for _ in range(2)]
    first = ppvae.fit(vaes[0], rows, **OPTIONS, epochs=2)
    monkeypatch.setattr(engine.recorded, "WORTH", 10**9)
    assert [e["loss"] for e in ppvae.fit(vaes[1], rows, **OPTIONS, epochs=2).history] == [
        e["loss"] for e in first.history
    ]
