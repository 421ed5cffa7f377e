"""Optimisers of optax and torch, learning rates by name and by epoch: as by hand, resumed to the bit, or refused."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import hand_loops as hand
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
from torch import nn

import ppvae
from ppvae.backends.optimizers import in_optax
from ppvae.inference.fitted import Fitted
from ppvae.runs.settings import Settings
from ppvae.training.epochs import order

BACKENDS = ("pyro", "numpyro")
both = pytest.mark.parametrize("backend", BACKENDS)

IN_TORCH: dict[str, Any] = {
    "nadam": torch.optim.NAdam,
    "amsgrad": partial(torch.optim.AdamW, lr=0.02, amsgrad=True, weight_decay=0.1),
    "asgd": torch.optim.ASGD,
}
PARTS = optax.multi_transform(
    {"guide": optax.adamw(optax.linear_schedule(0.05, 0.0, 5)), "model": optax.sgd(0.1, momentum=0.9)},
    lambda params: {name: name.partition(".")[0] for name in params},
)
NOISE = optax.add_noise(0.1, 0.5, jax.random.key(0))
IN_OPTAX: dict[str, Any] = {
    "all sorts": optax.chain(optax.clip_by_global_norm(0.5), NOISE, PARTS, optax.contrib.reduce_on_plateau())
}
EACH = pytest.mark.parametrize(
    ("backend", "name"),
    [("pyro", n) for n in IN_TORCH] + [pytest.param("numpyro", n, marks=pytest.mark.slow) for n in IN_OPTAX],
)


def fit(backend: str, epochs: int = 2, **more: Any) -> Fitted:
    return ppvae.fit(hand.pair(), hand.data(), **{**hand.options(backend, epochs), **more})


def stopped_and_resumed(backend: str, folder: Path, **options: Any) -> Fitted:
    """A run of four epochs, and one that an exception ended in its third and that went on, end with the same bytes."""

    def breaking(entry: Mapping[str, Any]) -> None:
        if entry["epoch"] == 3:
            raise KeyboardInterrupt

    run = fit(backend, 4, out=folder / "whole", **options)
    with pytest.raises(KeyboardInterrupt):
        fit(backend, 4, out=folder / "cut", callbacks=[breaking], checkpoint_every=2, **options)
    fit(backend, 4, out=folder / "cut", resume=True, **options)
    whole, cut = ((folder / place / "weights.safetensors").read_bytes() for place in ("whole", "cut"))
    assert whole == cut
    return run


@EACH
def test_an_optimizer_of_a_library_takes_the_steps_of_a_loop_by_hand_and_goes_on_to_the_same_bits(
    backend: str, name: str, tmp_path: Path
) -> None:
    made = {**IN_TORCH, **IN_OPTAX}[name]
    given = {} if isinstance(made, partial) else {"lr": 1e-3}
    expected = (
        hand.in_optax(made, epochs=4)
        if backend == "numpyro"
        else hand.in_torch(lambda named: made(named.values(), **given), epochs=4)
    )
    hand.assert_close(stopped_and_resumed(backend, tmp_path, optimizer=made).snapshot.weights, expected)


@both
def test_it_is_asked_for_again_where_a_run_goes_on(backend: str, tmp_path: Path) -> None:
    made, other, name = {
        "pyro": (torch.optim.NAdam, torch.optim.RAdam, r"torch\.optim\.nadam\.NAdam\(\)"),
        "numpyro": (optax.adam(0.1), optax.adam(0.2), r"optax\.transforms\._combining\.chain #\w{8}"),
    }[backend]
    run = fit(backend, optimizer=made, out=tmp_path)
    for options in ({}, {"optimizer": other}):
        with pytest.raises(ValueError, match=f"trained with optimizer '{name}'; go on with the same one"):
            fit(backend, 3, out=tmp_path, resume=True, **options)
    for options in ({}, {"optimizer": {"pyro": optax.adam(0.1), "numpyro": torch.optim.NAdam}[backend]}):
        there = BACKENDS[1 - BACKENDS.index(backend)]
        with pytest.raises(ValueError, match=f"{name}', whose memory stays with backend='{backend}'; go on there"):
            fit(there, 3, out=tmp_path, resume=True, **options)
    loaded = ppvae.load(tmp_path, vae=hand.pair())
    with pytest.raises(ValueError, match=f"of {name} the name alone is known: pass the optimizer or the function it"):
        ppvae.fit(loaded, hand.data(), **loaded.settings.model_dump())
    for fitted in (run, loaded):
        moved = fitted.to(BACKENDS[1 - BACKENDS.index(backend)])
        assert moved.encode(hand.data(), draws=2)["z"].shape == (2, 24, 2)
        moved.save(tmp_path / f"moved {fitted is run}")


@pytest.mark.parametrize(
    ("backend", "optimizer", "said"),
    [
        ("pyro", torch.optim.LBFGS, r"LBFGS\(\) cannot train this pair: .* missing 1 required .* 'closure'"),
        ("pyro", torch.optim.SparseAdam, "cannot train this pair: SparseAdam does not support dense gradients"),
        ("pyro", partial(torch.optim.Adam, rate=1), "cannot train this pair: .* unexpected keyword argument 'rate'"),
        ("numpyro", optax.lbfgs(), "cannot train this pair: .* missing 2 required keyword-only arguments"),
        ("pyro", optax.adam(0.1), r"the optimizer optax.* runs on backend='numpyro' alone"),
        ("numpyro", torch.optim.Adam, r"the optimizer torch\.optim\.adam\.Adam\(\) runs on backend='pyro' alone"),
        (
            "pyro",
            torch.optim.lr_scheduler.StepLR,
            "choose adam, .*, an optax transformation, or a class of torch.optim",
        ),
        ("pyro", torch.optim.SGD([nn.Parameter(torch.ones(1))]), "setting 'optimizer' is SGD .* choose adam, "),
        ("numpyro", "adamax", "setting 'optimizer' is 'adamax': choose adam, adamw, rmsprop, momentum, sgd, an optax"),
    ],
)
def test_what_a_backend_cannot_run_is_refused_before_training(backend: str, optimizer: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said) as refusal:
        fit(backend, optimizer=optimizer, callbacks=[pytest.fail])
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("backend", "optimizer"), [("numpyro", optax.adam(0.1)), ("pyro", partial(torch.optim.Adam, lr=0.1))]
)
@pytest.mark.parametrize("options", [{"lr": 0.5}, {"guide_lr": 0.5}, {"lr": lambda epoch: 0.1}])
def test_two_learning_rates_are_one_too_many(backend: str, optimizer: Any, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="holds its own learning rate: drop lr and guide_lr"):
        fit(backend, optimizer=optimizer, **options)


def halving(epoch: float) -> float:
    return 0.1 * 0.5**epoch


NAMED = {"": 0.02, "guide.loc": halving, "guide.loc.bias": 0.3}


def rate_of(name: str) -> Any:
    return {"guide.loc.weight": halving, "guide.loc.bias": 0.3}.get(name, 0.02)


@both
def test_rates_go_by_the_longest_name_and_are_functions_of_the_fractional_epoch(backend: str) -> None:
    if backend == "pyro":
        groups = lambda named: [{"params": [p], "rate": rate_of(n), "lr": 0.02} for n, p in named.items()]  # noqa: E731
        expected = hand.in_torch(lambda named: torch.optim.SGD(groups(named)))
        hand.assert_close(fit(backend, lr=NAMED, optimizer=torch.optim.SGD).snapshot.weights, expected)
    else:
        each = {"0.02": 0.02, "halving": lambda count: halving(count / 3), "0.3": 0.3}
        names = {"guide.loc.weight": "halving", "guide.loc.bias": "0.3"}
        labels = lambda params: {n: names.get(n, "0.02") for n in params}  # noqa: E731
        expected = hand.in_optax(optax.multi_transform({name: optax.sgd(rate) for name, rate in each.items()}, labels))
    # optax computes schedules in single precision
    hand.assert_close(fit(backend, lr=NAMED, optimizer="sgd").snapshot.weights, expected, rtol=1e-6)


@both
def test_a_run_whose_rates_are_functions_goes_on_to_the_same_bits(backend: str, tmp_path: Path) -> None:
    stopped_and_resumed(backend, tmp_path, lr=NAMED)
    said = r"trained with \{'lr': \{.*'guide.loc': 'function .*halving'.*, of which names alone are kept; pass lr again"
    with pytest.raises(ValueError, match=said):
        fit(backend, 5, out=tmp_path / "cut", resume=True)
    assert len(fit(backend, 5, out=tmp_path / "cut", resume=True, lr=0.01).history) == 5


def failing(epoch: float) -> float:
    return [0.1, 0.1][epoch]  # type: ignore[call-overload]


@pytest.mark.parametrize(
    ("lr", "said"),
    [
        (
            failing,
            r"lr, function .*failing, called with the fractional epoch 0.0, fails: list indices must be integers",
        ),
        (lambda epoch: 1 - epoch, r"called with the fractional epoch 2.0, gives -1.0; give a number from 0 to 1e18"),
        (lambda epoch: float("nan"), r"gives nan; give a number from 0"),
        ({"model": 0.1}, r"lr names no learning rate for the parameter 'guide.log_scale'; add one for it, or for ''"),
        ({"": 0.1, "guide.lo": 1.0}, r"a learning rate for 'guide.lo', which no parameter is called; there are model"),
        ({"": -1.0}, r"setting 'lr' is -1.0: input should be greater than or equal to"),
        ("fast", r"setting 'lr' is 'fast': input should be a valid number"),
    ],
)
@both
def test_rates_that_cannot_be_are_refused_before_training(backend: str, lr: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        fit(backend, 3, lr=lr, callbacks=[pytest.fail])


def test_a_rate_of_the_guide_beside_rates_by_name_is_refused() -> None:
    with pytest.raises(ValueError, match=r"write it as lr\['guide'\]"):
        fit("pyro", lr=NAMED, guide_lr=0.1)


@both
def test_a_step_tells_the_norm_of_the_gradient_before_it_is_clipped(backend: str) -> None:
    """One step of plain gradient descent at rate 1 is as long as the gradient."""
    options = {**hand.options(backend, 1), "batch_size": 24, "lr": 1.0, "optimizer": "sgd"}
    run = ppvae.fit(hand.pair(), hand.data(), **options)
    moved = [run.snapshot.weights[n] - p.detach().double().numpy() for n, p in hand.pair().pair.named_parameters()]
    length = np.sqrt(sum((step**2).sum() for step in moved))
    assert run.history[0]["gradient_norm"] == pytest.approx(length, rel=1e-9)
    rows = order(run.settings, 24, 0)[0]
    _, info = ppvae.step(ppvae.init(hand.pair(), hand.data(), **options, clip=1e-3), hand.data().batch(rows))
    assert info["gradient_norm"] == pytest.approx(length, rel=1e-9)


@pytest.mark.parametrize("squares", [in_optax._squares_by_array, in_optax._squares_at_once])
def test_both_ways_to_sum_squares_find_their_sum(squares: Any) -> None:
    arrays = [np.random.default_rng(0).normal(size=shape) for shape in ((), (1,), (7,), (3, 5), (2, 3, 4))]
    with jax.enable_x64(True):
        found = squares(*map(jnp.asarray, arrays))
    np.testing.assert_allclose(found, np.square(np.concatenate([array.ravel() for array in arrays])).sum(), rtol=1e-14)


@both
def test_a_callback_sees_the_pair_of_the_moment_and_cannot_change_it(backend: str, tmp_path: Path) -> None:
    seen: list[Fitted] = []

    def spoiling(entry: dict[str, Any], fitted: Fitted, factor: float = 0.0) -> None:
        assert fitted.history[-1] == entry
        seen.append(fitted.encode(hand.data())["z"])
        for weight in (*fitted.vae.pair.parameters(), *map(torch.from_numpy, fitted.snapshot.weights.values())):
            weight.detach().mul_(factor)
        fitted.history[-1]["loss"] = entry["loss"] = np.nan

    marks: list[int] = []
    plain = fit(backend, 2)
    run = fit(backend, 2, callbacks=[spoiling, lambda entry, marks=marks: marks.append(entry["epoch"])])
    assert marks == [1, 2]
    hand.assert_close(run.snapshot.weights, dict(plain.snapshot.weights), rtol=0)
    assert [entry["loss"] for entry in run.history] == [entry["loss"] for entry in plain.history]
    assert not np.array_equal(*seen)
    np.testing.assert_array_equal(seen[1], plain.encode(hand.data())["z"])


@pytest.mark.parametrize("name", in_optax.OPTIMIZERS)
def test_what_an_optimiser_remembers_at_first_is_what_optax_begins_with(name: str) -> None:
    settings, params = Settings(optimizer=name), {"a": jnp.ones((2, 3)), "b": jnp.ones(4)}
    optimizer = in_optax.made(settings)
    found, expected = in_optax.fresh(settings, optimizer, params), optimizer.init(params)
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for one, other in zip(*map(jax.tree.leaves, (found, expected)), strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)
