"""Fitting: init, step, and the loop over them."""

from __future__ import annotations

import copy
import importlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ppvae.data.dataset import Dataset
from ppvae.inference.fitted import Fitted
from ppvae.language.batch import Batch
from ppvae.runs import checkpoint
from ppvae.runs.plan import Pace, Plan
from ppvae.runs.settings import Settings, settings_of
from ppvae.runs.snapshot import Snapshot
from ppvae.runs.vae import VAE
from ppvae.training import loading
from ppvae.training.checks import inspect
from ppvae.training.measured import measured
from ppvae.training.progress import progress_bar

Callback = Callable[[Mapping[str, Any]], None]


def init(vae: VAE, data: Dataset, **options: Any) -> Any:
    """The state before the first step, of a copy of the pair; options are those of :class:`Settings`.

    Raises:
        ValueError: a setting is wrong, or the programs do not fit each other or the data.
    """
    settings = settings_of(**options)
    vae = copy.deepcopy(vae)
    vae.pair.to(dtype=getattr(torch, settings.dtype))
    plan = Plan(vae, settings, inspect(vae, data), len(data), _steps(len(data), settings))
    engine = _engine(settings)
    with engine.environment(settings):
        return engine.init(plan)


def step(state: Any, batch: Batch) -> tuple[Any, dict[str, float]]:
    """One gradient step on a batch; returns the new state, and loss and each site's share in nats per item."""
    engine = _engine(state.plan.settings)
    with engine.environment(state.plan.settings):
        state = _entered(engine, state, int(state.step))
        state, info = engine.step(state, batch, _pace(state.plan, int(state.step), 1, scalar=True))
        return state, {name: float(value) for name, value in info.items()}


def fit(
    vae: VAE | Fitted,
    data: Dataset,
    *,
    validation: Dataset | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    progress: bool | None = None,
    callbacks: Sequence[Callback] = (),
    notes: Mapping[str, Any] | None = None,
    **options: Any,
) -> Fitted:
    """Train a pair with SVI and return it fitted; the pair that was passed stays as it was.

    Args:
        vae: the pair, or a Fitted one to go on from, on either backend, with its optimiser's state.
        data: what to train on.
        validation: items whose loss is reported after every epoch.
        out: a run folder for checkpoints and the result; nothing is written without it.
        resume: go on from the checkpoint in ``out``, if there is one.
        progress: show a progress bar; by default where the output is a terminal.
        callbacks: each is called with the history's entry after every epoch.
        notes: facts to keep with the run.
        **options: those of :class:`~ppvae.runs.settings.Settings`: ``backend``, ``epochs``, ``batch_size``, ...

    Raises:
        ValueError: before training starts, where anything does not fit.
        FloatingPointError: the loss is no longer a number.
    """
    if not isinstance(vae, VAE | Fitted) or not isinstance(data, Dataset):
        raise TypeError(f"fit takes a VAE and a Dataset, not {type(vae).__name__} and {type(data).__name__}")
    data = measured(data, settings_of(**options).dtype)
    before = _before(vae, out, resume)
    pair = before.vae if before else vae
    assert isinstance(pair, VAE)
    state = init(pair, data, **options)
    start = before or Fitted(state.plan.vae, data.modalities or (), state.plan.settings, [], Snapshot({}))
    start = replace(start, notes={**start.notes, **(notes or {}), "data": data_key(data)})
    if before is not None:
        _check_same_run(before, state.plan.settings, data)
    return _train(state, start, data, validation, out, progress, callbacks)


def data_key(data: Dataset) -> int:
    """A number that tells one data set from another."""
    return int(np.bitwise_xor.reduce(data.keys.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(12))


def _before(vae: VAE | Fitted, out: str | Path | None, resume: bool) -> Fitted | None:
    if resume and out is None:
        raise ValueError("resume=True needs out=, the run folder to go on from")
    if resume and out is not None and checkpoint.exists(out):
        return loading.load(out, vae=copy.deepcopy(vae.vae if isinstance(vae, Fitted) else vae))
    return vae if isinstance(vae, Fitted) else None


def _check_same_run(before: Fitted, settings: Settings, data: Dataset) -> None:
    if before.snapshot.step and settings.optimizer != before.settings.optimizer:
        raise ValueError(f"this run was trained with optimizer {before.settings.optimizer!r}; go on with the same one")
    if before.notes.get("data") not in (None, data_key(data)):
        raise ValueError("this run was trained on other data; resume it with the same data set and split")


def _train(
    state: Any,
    fitted: Fitted,
    data: Dataset,
    validation: Dataset | None,
    out: str | Path | None,
    progress: bool | None,
    callbacks: Sequence[Callback],
) -> Fitted:
    settings = state.plan.settings
    engine = _engine(settings)
    with engine.environment(settings), progress_bar(settings, len(data), progress) as show:
        if fitted.snapshot.weights:
            state = engine.restore(state, fitted.snapshot)
        epochs = _epochs(engine, state, data, len(fitted.history), validation)
        for state, entry, first in epochs:
            fitted = replace(fitted, history=[*fitted.history, entry], notes={**fitted.notes, **first})
            for callback in (show, *callbacks):
                callback(entry)
            if out is not None and entry["epoch"] % settings.checkpoint_every == 0:
                _fitted(engine, state, fitted).save(out)
        fitted = _fitted(engine, state, fitted)
    if out is not None:
        fitted.save(out)
    return fitted


def _epochs(
    engine: Any, state: Any, data: Dataset, done: int, validation: Dataset | None
) -> Iterator[tuple[Any, dict[str, Any], dict[str, float]]]:
    """For each epoch that is left: the state, the history's entry, and what the first step took, once."""
    arrays, observed = engine.put(data.arrays), engine.put(data.observed or {})
    compilation: float | None = None
    for epoch in range(done, state.plan.settings.epochs):
        entered = _entered(engine, state, epoch * state.plan.steps)
        if compilation is None or entered is not state:
            state, compilation = entered, _compile(engine, entered, arrays, observed, len(data))
        state, entry = _epoch(engine, state, arrays, observed, epoch)
        first = {"first_step_seconds": compilation + entry["seconds"] / state.plan.steps} if epoch == done else {}
        if validation is not None:
            entry["validation_loss"] = _validation_loss(engine, state, validation, epoch)
        yield state, entry, first


def _entered(engine: Any, state: Any, step: int) -> Any:
    """The state in the stage of the objective that a step belongs to."""
    stage = state.plan.stage_at(step)
    return state if stage == state.stage else engine.enter(state, stage)


def _compile(engine: Any, state: Any, arrays: Any, observed: Any, items: int) -> float:
    begin = time.perf_counter()
    plan = state.plan
    engine.compile_epoch(state, arrays, observed, order(plan.settings, items, 0), _pace(plan, 0, plan.steps))
    return time.perf_counter() - begin


def _epoch(engine: Any, state: Any, arrays: Any, observed: Any, epoch: int) -> tuple[Any, dict[str, Any]]:
    plan: Plan = state.plan
    rows = order(plan.settings, len(next(iter(arrays.values()))), epoch)
    begin = time.perf_counter()
    state, infos = engine.epoch(state, arrays, observed, rows, _pace(plan, epoch * plan.steps, plan.steps))
    seconds = time.perf_counter() - begin
    means = {name: float(np.mean(values, dtype=np.float64)) for name, values in infos.items()}
    loss = means.pop("loss")
    if not np.isfinite(loss):
        raise FloatingPointError(
            f"the loss is {loss} in epoch {epoch + 1}; lower lr, or set clip to bound the gradient"
        )
    return state, {"epoch": epoch + 1, "loss": loss, "sites": means, "seconds": seconds}


def _validation_loss(engine: Any, state: Any, data: Dataset, epoch: int) -> float:
    losses, sizes = [], []
    for start in range(0, len(data), 1000):
        rows = slice(start, start + 1000)
        arrays = engine.put({name: array[rows] for name, array in data.arrays.items()})
        observed = engine.put({name: mask[rows] for name, mask in (data.observed or {}).items()})
        losses.append(engine.validate(state, arrays, observed, epoch))
        sizes.append(len(data.keys[rows]))
    return float(np.average(losses, weights=sizes))


def order(settings: Settings, items: int, epoch: int) -> np.ndarray:
    """The rows of each step of an epoch, ``(steps, batch)``: a permutation drawn from the seed and the epoch."""
    size = min(settings.batch_size, items)
    rows = np.random.default_rng([settings.seed, epoch]).permutation(items)
    return rows[: items // size * size].reshape(-1, size).astype(np.int32)


def _steps(items: int, settings: Settings) -> int:
    return items // min(settings.batch_size, items)


def _pace(plan: Plan, first: int, steps: int, scalar: bool = False) -> Pace:
    epochs = [(first + i) / plan.steps for i in range(steps)]
    dtype = np.dtype(plan.settings.dtype)
    factors = np.array([plan.settings.rate_factor(e) for e in epochs], dtype)
    betas = np.array([plan.settings.beta_at(e) for e in epochs], dtype)
    return Pace(factors[0], betas[0]) if scalar else Pace(factors, betas)


def _fitted(engine: Any, state: Any, fitted: Fitted) -> Fitted:
    """The fitted pair as it stands, its modules holding the trained weights."""
    snapshot = engine.export(state)
    vae = copy.deepcopy(state.plan.vae)
    vae.pair.load_state_dict({name: torch.as_tensor(weight) for name, weight in snapshot.weights.items()})
    return replace(fitted, vae=vae, settings=state.plan.settings, snapshot=snapshot)


def _engine(settings: Settings) -> Any:
    return importlib.import_module(f"ppvae.backends.{settings.backend}")
