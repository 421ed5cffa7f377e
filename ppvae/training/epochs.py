"""Epochs: one pass over the data after the other, each with its entry of the history."""

from __future__ import annotations

import importlib
import itertools
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ppvae.data.dataset import Dataset
from ppvae.runs.plan import Pace, Plan
from ppvae.runs.settings import Settings, learning_rate
from ppvae.training.early_stopping import best_epoch
from ppvae.training.feeding import Feed, feeding, joined
from ppvae.training.validation import Validation


def engine_of(settings: Settings) -> Any:
    """The backend's module."""
    return importlib.import_module(f"ppvae.backends.{settings.backend}")


def epochs(
    engine: Any, state: Any, data: Dataset, history: Sequence[Mapping[str, Any]], held_out: Validation | None
) -> Iterator[tuple[Any, dict[str, Any], dict[str, float]]]:
    """For each epoch to come: the state, the history's entry, and what the first step took, once."""
    settings = state.plan.settings
    feed = feeding(engine, settings, data)
    compilation: float | None = None
    done = len(history)
    for epoch in itertools.count(done):
        with engine.environment(settings):  # never across a yield: what runs meanwhile must not see it
            entered = in_stage(engine, state, epoch * state.plan.steps)
        if compilation is None or entered is not state:
            state, compilation = entered, _compile(engine, entered, feed, len(data))
        state, entry = _epoch(engine, state, feed, epoch)
        first = {"first_step_seconds": compilation + entry["seconds"] / state.plan.steps} if epoch == done else {}
        if held_out is not None:
            entry["validation_loss"] = _number("the validation loss", held_out.loss(engine, state), epoch)
        if settings.watches:
            entry["best_epoch"] = best_epoch(history, entry, state.plan)
        history = [*history, entry]
        yield state, entry, first


def in_stage(engine: Any, state: Any, step: int) -> Any:
    """The state in the stage of the objective that a step belongs to."""
    stage = state.plan.stage_at(step)
    return state if stage == state.stage else engine.enter(state, stage)


def _compile(engine: Any, state: Any, feed: Feed, items: int) -> float:
    begin = time.perf_counter()
    plan = state.plan
    block = next(feed(order(plan.settings, items, 0)))
    engine.compile_epoch(state, *block, pace_of(plan, 0, len(block.rows)))
    return time.perf_counter() - begin


def _epoch(engine: Any, state: Any, feed: Feed, epoch: int) -> tuple[Any, dict[str, Any]]:
    plan: Plan = state.plan
    begin, done, infos = time.perf_counter(), epoch * plan.steps, []
    for block in feed(order(plan.settings, plan.items, epoch)):
        state, info = engine.epoch(state, *block, pace_of(plan, done, len(block.rows)))
        done += len(block.rows)
        infos.append(info)
        del block
    info = joined(infos)
    seconds = time.perf_counter() - begin
    means = {name: float(np.mean(share, dtype=np.float64)) for name, share in info.shares.items()}
    loss = _number("the loss", -sum(means.values()), epoch)
    largest = float(np.finfo(plan.settings.dtype).max)  # of what overflowed; whether weights did is told later
    norm = float(np.nan_to_num(info.gradient_norm.astype(np.float64), nan=largest, posinf=largest).mean())
    return state, {"epoch": epoch + 1, "loss": loss, "sites": means, "gradient_norm": norm, "seconds": seconds}


def _number(what: str, value: float, epoch: int) -> float:
    """The value.

    Raises:
        FloatingPointError: it is not a number.
    """
    if not np.isfinite(value):
        advice = "lower lr, or set clip to bound the gradient"
        if not epoch:
            advice += "; or a density is infinite at what was measured, as a Beta's or a Gamma's is at 0"
        raise FloatingPointError(f"{what} is {value} in epoch {epoch + 1}; {advice}")
    return value


def order(settings: Settings, items: int, epoch: int) -> np.ndarray:
    """The rows of each step of an epoch, ``(steps, batch)``: a permutation drawn from the seed and the epoch.

    A step on all rows at once has them in their own order, which is that of parameters with a row for each item.
    """
    size = min(settings.batch_size, items)
    if size == items:
        return np.arange(items, dtype=np.int32)[None]
    rows = np.random.default_rng([settings.seed, epoch]).permutation(items)
    return rows[: items // size * size].reshape(-1, size).astype(np.int32)


def steps_in(items: int, settings: Settings) -> int:
    """The number of steps in an epoch."""
    return items // min(settings.batch_size, items)


def pace_of(plan: Plan, first: int, steps: int, scalar: bool = False) -> Pace:
    """The pace of so many steps from ``first`` on, arrays ``(steps,)``, or of that step alone."""
    epochs = [(first + i) / plan.steps for i in range(steps)]
    dtype = np.dtype(plan.settings.dtype)
    factors = np.array([plan.settings.rate_factor(e) for e in epochs], dtype)
    betas = np.array([plan.settings.beta_at(e) for e in epochs], dtype)
    rates = [np.array([learning_rate(f, e) for e in epochs], dtype) for f in plan.settings.functions]
    return Pace(factors[0], betas[0], [r[0] for r in rates]) if scalar else Pace(factors, betas, rates)
