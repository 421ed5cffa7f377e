"""Stages: which objective trains when, what rests meanwhile, and runs that end within or between them."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import optax
import pytest
import torch
from torch import nn

import ppvae
from ppvae import VAE, Dataset, Program, dist, objectives, ops, pyro
from ppvae.inference.fitted import Fitted
from ppvae.objectives import Stage, ends, stage_at, stages
from ppvae.objectives.elbo import elbo
from ppvae.objectives.staged import telbo
from ppvae.training import fit as fitting
from ppvae.training.epochs import order

BACKENDS = ("pyro", "numpyro")
both = pytest.mark.parametrize("backend", BACKENDS)


class Model(Program):
    """``z ~ N(0, I)``;  ``a`` and ``b`` linear in it."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(2, 3), nn.Linear(2, 2)

    def forward(self, batch: Any) -> Any:
        with batch.plate():
            z = pyro.sample("z", dist.Normal(0.0, 1.0).expand([2]).to_event(1))
            for name in ("a", "b"):
                pyro.sample(name, dist.Normal(getattr(self, name)(z), 0.5).to_event(1), obs=batch.get(name))


class Guide(Program):
    """``joint`` where both are given, else the network of the one that is."""

    def __init__(self) -> None:
        super().__init__()
        self.joint, self.a, self.b = nn.Linear(5, 4), nn.Linear(3, 4), nn.Linear(2, 4)

    def forward(self, batch: Any) -> Any:
        given = [name for name in ("a", "b") if name in batch.arrays]
        network = self.joint if len(given) == 2 else getattr(self, given[0])
        loc, log_scale = ops.split(network(ops.cat([batch.get(name) for name in given], -1)), 2, -1)
        with batch.plate():
            return pyro.sample("z", dist.Normal(loc, ops.exp(ops.clamp(log_scale, -5.0, 5.0))).to_event(1))


def pair(objective: Any) -> VAE:
    torch.manual_seed(0)
    return VAE(Model(), Guide(), objective)


@cache
def items() -> Dataset:
    rng = np.random.default_rng(0)
    z = rng.normal(size=(40, 2))
    return Dataset({"a": z @ rng.normal(size=(2, 3)), "b": z @ rng.normal(size=(2, 2))})


@pytest.fixture(name="data")
def _data() -> Dataset:
    return items()


OPTIONS: dict[str, Any] = {"batch_size": 10, "seed": 3, "lr": 0.02, "clip": 5.0, "optimizer": "adamw"}


def fit(data: Dataset, objective: Any, backend: str, epochs: int, **options: Any) -> Fitted:
    return ppvae.fit(pair(objective), data, backend=backend, epochs=epochs, **{**OPTIONS, **options})


@cache
def whole(backend: str) -> Fitted:
    """Four epochs in two stages."""
    return fit(items(), "telbo", backend, 4)


def moved(one: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray]) -> set[str]:
    return {name.rpartition(".")[0] for name in one if not np.array_equal(one[name], other[name])}


@pytest.mark.parametrize(
    ("shares", "epochs", "expected"),
    [
        ((0.5, 0.5), 10, [5, 10]),
        ((0.5, 0.5), 5, [3, 5]),
        ((0.5, 0.5), 1, [1, 2]),
        ((0.9, 0.1), 3, [2, 3]),
        ((0.01, 0.99), 3, [1, 3]),
        ((1, 2, 1), 8, [2, 6, 8]),
        ((1, 1, 1), 2, [1, 2, 3]),
        ((1,), 4, [4]),
    ],
)
def test_every_stage_gets_whole_epochs_and_one_at_least(shares: Any, epochs: int, expected: list[int]) -> None:
    parts = [Stage("elbo", share) for share in shares]
    assert ends(parts, epochs) == expected
    reached = [stage_at(parts, epoch, epochs) for epoch in range(epochs)]
    assert reached == [min(i for i, end in enumerate(expected) if epoch < end) for epoch in range(epochs)]
    assert stage_at(parts, expected[0] - 0.01, epochs) == 0
    assert stage_at(parts, epochs + 1.0, epochs) == len(parts) - 1


def test_a_share_is_more_than_nothing() -> None:
    with pytest.raises(ValueError, match=r"a stage's share of the epochs is more than 0, not 0\.0"):
        telbo(share=1.0)


def test_a_stage_may_name_its_objective_but_not_one_of_several_stages() -> None:
    assert [callable(stage.objective) for stage in stages((Stage("mvae"), Stage("elbo")))] == [True, False]
    with pytest.raises(ValueError, match="'jnf' has stages of its own"):
        pair((Stage("elbo"), Stage("jnf")))
    with pytest.raises(ValueError, match="unknown objective 'mvea'"):
        pair((Stage("mvea"),))


@pytest.mark.parametrize(("backend", "name"), [("pyro", "telbo"), ("pyro", "jnf"), ("numpyro", "telbo")])
def test_the_switch_comes_when_it_should_and_what_rests_keeps_its_bits(backend: str, name: str, data: Dataset) -> None:
    """The last parameters of the first stage are those of a run that ended with it."""
    objective = objectives.make(name)
    first = fit(data, (objective[0],), backend, 2).snapshot.weights
    run = whole(backend) if name == "telbo" else fit(data, name, backend, 4)
    last = run.snapshot.weights
    fresh = {key: value.numpy() for key, value in pair(name).pair.state_dict().items()}
    assert moved(fresh, first) >= {"model.a", "model.b", "guide.joint"}
    assert moved(first, last) == {"guide.a", "guide.b"}
    sites = [set(entry["sites"]) for entry in run.history]
    assert sites[0] == sites[1] == {"a", "b", "z"}
    assert sites[2] == sites[3] == ({"a", "b", "z"} if name == "telbo" else {"z"})
    losses = [entry["loss"] for entry in run.history]
    assert losses[3] < losses[2]


@both
def test_each_stage_begins_with_an_optimiser_that_remembers_nothing(backend: str, data: Dataset) -> None:
    """The same objective twice: the second stage is a run of its own that starts from the first one's weights."""
    part = Stage(elbo())
    two = fit(data, (part, part), backend, 2, optimizer="adam", clip=None)
    one = fit(data, elbo(), backend, 1, optimizer="adam", clip=None)
    straight = fit(data, elbo(), backend, 2, optimizer="adam", clip=None)
    assert moved(two.snapshot.weights, straight.snapshot.weights)
    count = data.arrays["a"].shape[0] // OPTIONS["batch_size"]
    name = "model.a.weight"
    # Adam moves no element by more than lr a step, and by almost that in the first one.
    steps = np.abs(two.snapshot.weights[name] - one.snapshot.weights[name])
    assert steps.max() <= count * OPTIONS["lr"] * 1.01
    ratio = two.snapshot.moments["nu"][name].mean() / straight.snapshot.moments["nu"][name].mean()
    assert ratio < 0.75, "the second moment holds the gradients of half as many steps"


class Interrupted(Exception):
    pass


@pytest.mark.parametrize(("backend", "kept"), [("pyro", 1), ("pyro", 2), ("pyro", 3), ("numpyro", 2), ("numpyro", 3)])
def test_a_run_that_is_interrupted_near_the_switch_ends_with_the_same_bits(
    backend: str, kept: int, data: Dataset, tmp_path: Path
) -> None:
    def stop(entry: Mapping[str, Any]) -> None:
        if entry["epoch"] == kept:
            raise Interrupted

    with pytest.raises(Interrupted):
        fit(data, "telbo", backend, 4, out=tmp_path, callbacks=[stop], checkpoint_every=1)
    assert len(ppvae.load(tmp_path, vae=pair("telbo")).history) == kept
    resumed = fit(data, "telbo", backend, 4, out=tmp_path, resume=True, checkpoint_every=1)
    for name, weight in whole(backend).snapshot.weights.items():
        np.testing.assert_array_equal(resumed.snapshot.weights[name], weight, err_msg=name)
    for moment, values in whole(backend).snapshot.moments.items():
        for name, value in values.items():
            np.testing.assert_array_equal(resumed.snapshot.moments[moment][name], value, err_msg=name)
    losses = [[entry["loss"] for entry in run.history] for run in (resumed, whole(backend))]
    assert losses[0] == losses[1]


@pytest.mark.parametrize("epochs", [1, 3])
def test_the_steps_of_a_stage_are_carried_to_the_other_backend(epochs: int, data: Dataset) -> None:
    """Adam's correction of its moments counts the steps of the stage, on whichever backend it goes on."""
    snapshot = (
        fit(data, "telbo", "pyro", epochs, checkpoint_every=1).snapshot if epochs == 1 else whole("pyro").snapshot
    )
    counted = {}
    for backend in BACKENDS:
        state = fitting.init(pair("telbo"), data, backend=backend, epochs=4, **OPTIONS)
        engine = importlib.import_module(f"ppvae.backends.{backend}")
        with engine.environment(state.plan.settings):
            state = engine.restore(state, snapshot)
            assert int(state.step) == snapshot.step
            if backend == "numpyro":
                counted[backend] = int(optax.tree_utils.tree_get(state.moments, "count"))
            else:
                counts = {int(entry["step"]) for entry in state.optimizer.state.values()}
                assert len(counts) == 1
                counted[backend] = counts.pop()
        assert state.stage == (0 if epochs == 1 else 1)
    assert counted["pyro"] == counted["numpyro"] == (4 if epochs == 1 else 8)


@both
def test_a_loop_over_step_crosses_the_boundary(backend: str, data: Dataset) -> None:
    state = fitting.init(pair("jnf"), data, backend=backend, epochs=2, **OPTIONS)
    rows_of = [order(state.plan.settings, len(data), epoch) for epoch in range(2)]
    seen = []
    for rows in np.concatenate(rows_of):
        state, info = ppvae.step(state, data.batch(rows))
        seen.append(set(info["sites"]))
    assert seen == [{"a", "b", "z"}] * 4 + [{"z"}] * 4


def test_one_epoch_is_all_of_the_first_stage(data: Dataset) -> None:
    run = fit(data, "jnf", "pyro", 1)
    assert [set(entry["sites"]) for entry in run.history] == [{"a", "b", "z"}]


def test_a_later_stage_may_not_differentiate_through_what_has_no_derivative(data: Dataset) -> None:
    class Coin(Program):
        def forward(self, batch: Any) -> Any:
            with batch.plate():
                z = pyro.sample("z", dist.Bernoulli(0.5))
                pyro.sample("a", dist.Normal(z[..., None], 1.0).expand([batch.size, 3]).to_event(1), obs=batch.get("a"))
                pyro.sample("b", dist.Normal(z[..., None], 1.0).expand([batch.size, 2]).to_event(1), obs=batch.get("b"))

    class Toss(Program):
        def __init__(self) -> None:
            super().__init__()
            self.logit = nn.Parameter(torch.zeros(()))

        def forward(self, batch: Any) -> Any:
            with batch.plate():
                pyro.sample("z", dist.Bernoulli(logits=self.logit))

    assert fitting.init(VAE(Coin(), Toss(), (Stage("elbo"),)), data, backend="pyro").step == 0
    with pytest.raises(ValueError, match="differentiates through draws, which the guide's site 'z' does not allow"):
        fitting.init(VAE(Coin(), Toss(), (Stage("elbo"), Stage("mvae"))), data, backend="pyro")


@pytest.mark.parametrize(("name", "backend"), [("telbo", "pyro"), ("jnf", "numpyro")])
def test_the_fit_of_a_modality_counts_so_often_in_the_first_stage(name: str, backend: str, data: Dataset) -> None:
    def sites(**options: Any) -> dict[str, float]:
        """Of the first step."""
        state = ppvae.init(pair(objectives.make(name, **options)), data, backend=backend, epochs=2, **OPTIONS)
        return ppvae.step(state, data.batch(slice(10)))[1]["sites"]

    plain = sites()
    assert sites(modality_weights={"b": 30.0}) == pytest.approx({**plain, "b": 30 * plain["b"]}, rel=1e-5)


@both
@pytest.mark.parametrize(
    ("weights", "told"),
    [
        ({"c": 2.0}, r"modality_weights name \['c'\]; the model explains a, b"),
        ({"b": 0.0}, "modality_weights are finite numbers above 0"),
        ({"b": float("nan")}, "modality_weights are finite numbers above 0"),
    ],
)
def test_weights_are_of_known_modalities_and_above_zero(
    weights: dict[str, float], told: str, backend: str, data: Dataset
) -> None:
    with pytest.raises(ValueError, match=told):
        fit(data, telbo(modality_weights=weights), backend, 1)
