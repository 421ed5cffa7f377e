"""Fit: init, step, and the loop over them."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ppvae.backends.devices import processes
from ppvae.data.dataset import Dataset
from ppvae.data.stored import on_disk
from ppvae.data.weights import checked
from ppvae.inference.fitted import Fitted
from ppvae.language.batch import Batch
from ppvae.runs import checkpoint, launch
from ppvae.runs.description import FIXED
from ppvae.runs.foreign import recorded
from ppvae.runs.plan import Plan
from ppvae.runs.settings import LR, Settings, check_trainable, settings_of
from ppvae.runs.snapshot import Snapshot
from ppvae.runs.vae import VAE
from ppvae.training.checks import inspection
from ppvae.training.checks.agreement import check_agreement, is_written_by_user
from ppvae.training.checks.meeting import meet
from ppvae.training.checks.state import check_hooks
from ppvae.training.collapse import collapsed
from ppvae.training.early_stopping import held_out, overtrained, still_warming, why_not_auto, why_stop
from ppvae.training.epochs import engine_of, epochs, in_stage, pace_of, steps_in
from ppvae.training.interruption import ending, terminable
from ppvae.training.loading import before
from ppvae.training.measured import measured
from ppvae.training.progress import progress_bar, say
from ppvae.training.savable import plain
from ppvae.training.unchosen import filled
from ppvae.training.validation import Validation, prepared

Callback = Callable[..., object]


@torch.inference_mode(False)  # in which a caller may be, and whose tensors cannot be trained
def init(vae: VAE, data: Dataset, weights: Any = None, **options: Any) -> Any:
    """The state before the first step, of a copy of the pair; options are those of :class:`Settings`.

    Raises:
        ValueError: a setting is wrong, or the programs do not fit each other or the data.
    """
    settings = filled(settings_of(**options), vae, len(data))
    counts = None if weights is None else checked(weights, len(data))
    if settings.epochs == "auto" and (reason := why_not_auto(vae, settings)):
        raise ValueError(f"epochs cannot be 'auto' here: {reason}; give a number")
    check_trainable(settings, [name for name, p in vae.pair.named_parameters() if p.requires_grad])
    check_hooks(vae.pair)
    vae = copy.deepcopy(vae)
    vae.pair.to("cpu", getattr(torch, settings.dtype))
    engine = engine_of(settings)
    if launch.count() > 1:
        meet(vae, data, settings)
    engine.join(settings)
    if processes.joined():
        vae.pair.load_state_dict(processes.agreed(vae.pair.state_dict()))
    sites, tried = inspection.inspect(vae, data, settings, counts is not None)
    plan = Plan(vae, settings, sites, len(data), steps_in(len(data), settings), counts, on_disk(data.arrays))
    if settings.backend == "numpyro" and is_written_by_user(vae):
        check_agreement(vae, tried)
    with engine.environment(settings):
        return engine.init(plan)


def step(state: Any, batch: Batch) -> tuple[Any, dict[str, Any]]:
    """One gradient step on a batch; returns the new state, and its ``loss``, ``sites`` and ``gradient_norm``.

    They are as in the history: nats per item, and the global norm of the gradient before it is clipped.
    """
    engine = engine_of(state.plan.settings)
    with engine.environment(state.plan.settings):
        state = in_stage(engine, state, int(state.step))
        state, info = engine.step(state, batch, pace_of(state.plan, int(state.step), 1, scalar=True))
        sites = {name: float(share) for name, share in info.shares.items()}
        return state, {"loss": -sum(sites.values()), "sites": sites, "gradient_norm": float(info.gradient_norm)}


def fit(
    vae: VAE | Fitted,
    data: Dataset,
    *,
    validation: Dataset | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    force: bool = False,
    progress: bool | None = None,
    callbacks: Sequence[Callback] = (),
    notes: Mapping[str, Any] | None = None,
    weights: Any = None,
    **options: Any,
) -> Fitted:
    """Train a pair with SVI and return it fitted; the pair that was passed stays as it was.

    Processes that a launcher such as torchrun has started share each batch. Process 0 writes, shows and calls back.

    Args:
        vae: the pair, or a Fitted one to go on from, on either backend, with its optimiser's state.
        data: what to train on.
        validation: items whose loss is measured after every epoch, at the final ``beta``. With ``patience`` or
            ``epochs="auto"`` it decides when training ends; without ``validation`` these draw a tenth of the items from
            the seed, which then take no part in training. A modality that validation lacks is a hole.
        out: a run folder for checkpoints and the result; nothing is written without it. Whatever ends training early,
            Ctrl-C, SIGTERM, SIGHUP or an exception, leaves a checkpoint of the last whole epoch there. The folder is
            this training's alone until it ends, and may be missing, empty, or that of the run to go on from.
        resume: go on from the checkpoint in ``out``, if there is one. What fixes the order of rows and the numbers must
            be as it was: method, modalities, data and their order, seed, batch size, dtype, optimiser. Epochs, rates,
            schedules, weights of terms, particles, backend and device may change.
        force: replace another run in ``out``, once there is a checkpoint to replace it by, or write beside other files.
        progress: show a progress bar; by default where the output is a terminal. False silences remarks, too.
        callbacks: each is called with a copy of the history's entry after every epoch; True ends training. One that
            needs a second argument gets the pair as it is then, a Fitted of its own. Other threads may use ppvae
            meanwhile.
        notes: facts to keep with the run; why training ended is added as ``stopped``.
        weights: how much each item of ``data`` counts, ``(items,)``, 0 or more: one of weight 2 counts as if it stood
            there twice, one of weight 0 as if it were not there. Losses of training are per unit of weight, those of
            ``validation`` per item.
        **options: those of :class:`~ppvae.runs.settings.Settings`: ``backend``, ``epochs``, ``batch_size``, ...

    Raises:
        ValueError: before training starts, where anything does not fit or could not be saved.
        FloatingPointError: a loss or a weight is no longer a number.
        ConnectionError: another process of the run has ended, or was given something else.
    """
    if not isinstance(vae, VAE | Fitted) or not isinstance(data, Dataset):
        raise TypeError(f"fit takes a VAE and a Dataset, not {type(vae).__name__} and {type(data).__name__}")
    settings, counts = settings_of(**options), checked(weights, len(data))
    data, behind = measured(data, settings.dtype), before(vae, out, resume)
    if behind is not None and behind.history:  # a warm-up that nobody chose goes on as it began
        options.setdefault("kl_warmup", behind.settings.kl_warmup)
    pair = behind.vae if behind else vae
    assert isinstance(pair, VAE)
    trained, own = data, counts
    if validation is None and settings.watches:
        watched = held_out(counts, settings.seed)
        trained, validation, own = data.take(~watched), data.take(watched), counts[~watched]
    state = init(pair, trained, None if weights is None else own, **options)
    settings = state.plan.settings
    others = None if validation is None else prepared(state.plan.vae, trained, validation)
    start = behind or Fitted(state.plan.vae, data.modalities or (), settings, [], Snapshot({}))
    keys = {"data": data_key(data, counts), "order": data.order}
    keys |= {} if validation is None else {"validation": data_key(validation)}
    if behind is not None:
        _check_same_run(behind, settings, keys)
    if behind is not None and behind is not vae:
        _check_same_bits(behind, settings, keys, data)
    facts = {**start.notes, **plain(notes or {}), **keys, "stopped": "it was interrupted"}
    facts |= plain(state.plan.vae.found())
    start = replace(start, vae=state.plan.vae, settings=settings, notes=facts)
    description = start.description()
    processes.check_same({**keys, "history": len(start.history)})
    with processes.parting():
        if launch.rank():
            return _train(state, start, trained, others, out, False, ())
        with nullcontext() if out is None else checkpoint.claimed(out, description, force):
            fitted = _train(state, start, trained, others, out, progress, callbacks)
    told = collapsed(fitted) or overtrained(fitted.history), still_warming(fitted.history, settings)
    for sentence in filter(None, told):
        say(sentence, progress)
    return fitted


def data_key(data: Dataset, weights: np.ndarray | None = None) -> int:
    """A number that tells one data set from another, in whatever order its rows are, and how much these count."""
    counts = np.ones(len(data)) if weights is None else weights
    rows = data.keys.astype(np.uint64) + (counts.view(np.uint64) ^ np.float64(1).view(np.uint64))
    return int(np.bitwise_xor.reduce(rows * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(12))


def _check_same_run(before: Fitted, settings: Settings, keys: Mapping[str, int]) -> None:
    then, now = before.settings, settings
    if before.snapshot.step and then.foreign and now.backend != then.backend:
        raise ValueError(
            f"this run was trained with optimizer {recorded(then.optimizer)!r}, whose memory stays with backend="
            f"{then.backend!r}; go on there"
        )
    if before.snapshot.step and recorded(now.optimizer) != recorded(then.optimizer):
        raise ValueError(f"this run was trained with optimizer {recorded(then.optimizer)!r}; go on with the same one")
    rates = {name: recorded(getattr(then, name)) for name in ("lr", "guide_lr")}
    if before.snapshot.step and "function " in str(rates) and (now.lr, now.guide_lr) == (LR, None):
        raise ValueError(f"this run was trained with {rates}, of which names alone are kept; pass lr again")
    if before.notes.get("data") not in (None, keys["data"]):
        raise ValueError("this run was trained on other data; resume it with the same data set, split and weights")
    watched = settings.watches and before.history and before.history[-1].get("best_epoch")
    if watched and before.notes.get("validation") != keys["validation"]:
        raise ValueError("this run watched other held-out items; resume it with the same validation, or the same seed")


def _check_same_bits(before: Fitted, settings: Settings, keys: Mapping[str, int], data: Dataset) -> None:
    """Raise ValueError where a resumed run would not end with the bits of one that was never interrupted."""
    if before.notes.get("order") not in (None, keys["order"]):
        raise ValueError("this run was trained on these rows in another order; resume it with the rows in that order")
    if [m.plain() for m in before.modalities] != [m.plain() for m in data.modalities or ()]:
        raise ValueError("this run was trained with other modalities; resume it with the same declarations")
    for name in FIXED:
        if recorded(then := getattr(before.settings, name)) != recorded(getattr(settings, name)):
            raise ValueError(f"this run was trained with {name} {then!r}; resume it with the same one")


def _train(
    state: Any,
    fitted: Fitted,
    data: Dataset,
    held_out: Validation | None,
    out: str | Path | None,
    progress: bool | None,
    callbacks: Sequence[Callback],
) -> Fitted:
    plan: Plan = state.plan
    engine, begun = engine_of(plan.settings), len(fitted.history)
    every = 1 if processes.joined() else plan.settings.checkpoint_every  # who writes may be the one that dies
    with progress_bar(plan.settings, len(data), progress) as show, terminable():
        if fitted.snapshot.weights:
            with engine.environment(plan.settings):
                state = engine.restore(state, fitted.snapshot.latest)
        else:
            fitted = replace(fitted, snapshot=_export(engine, state))
        coming = epochs(engine, state, data, fitted.history, held_out)
        reason = why_stop(fitted.history, plan)
        try:
            while (reason := processes.agreed(reason)) is None:
                fitted = _advanced(engine, fitted, *next(coming))
                asked = [_told(callback, fitted.history[-1], fitted) for callback in (show, *callbacks)]
                if any(isinstance(answer, bool | np.bool_) and answer for answer in asked):
                    reason = "a callback asked for it"
                else:
                    reason = why_stop(fitted.history, plan)
                if reason is None and len(fitted.history) % every == 0:
                    _keep(fitted, out)
            fitted = replace(fitted, notes={**fitted.notes, "stopped": reason})
            _keep(fitted, out)
            processes.agreed(None)  # what fit has written is there in all of them
        except BaseException:
            ending()
            if len(fitted.history) > begun:
                _keep(fitted, out)
            raise
        finally:
            engine.close(state)
        return _loaded(fitted)


def _told(callback: Callback, entry: Mapping[str, Any], fitted: Fitted) -> object:
    """What a callback answers; nothing that it does to what it gets has a part in training."""
    return callback(copy.deepcopy(entry), *([_loaded(copy.deepcopy(fitted))] if _needs_two(callback) else []))


def _needs_two(callback: Callback) -> bool:
    try:
        given = inspect.signature(callback).parameters.values()
    except ValueError:  # some of Python's own functions have none
        return False
    places = [p for p in given if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) and p.default is p.empty]
    return len(places) > 1


def _keep(fitted: Fitted, out: str | Path | None) -> None:
    """Write a checkpoint into the folder that this training holds; of several processes process 0 does."""
    if out is not None and launch.rank() == 0:
        checkpoint.write(out, fitted.snapshot, fitted.description())


def _advanced(engine: Any, fitted: Fitted, state: Any, entry: dict[str, Any], first: dict[str, float]) -> Fitted:
    """The run after one more epoch, with the weights that it keeps and those that it goes on from."""
    snapshot = _export(engine, state)
    if entry.get("best_epoch", entry["epoch"]) != entry["epoch"]:
        snapshot = replace(snapshot, weights=fitted.snapshot.weights, last=snapshot.weights)
    notes = {**fitted.notes, **first}
    return replace(fitted, history=[*fitted.history, entry], snapshot=snapshot, notes=notes)


def _export(engine: Any, state: Any) -> Snapshot:
    """The snapshot of a state.

    Raises:
        FloatingPointError: a trained weight is not a number, which the loss, taken before each update, cannot tell.
    """
    snapshot: Snapshot = engine.export(state)
    for name, parameter in state.plan.vae.pair.named_parameters():
        if parameter.requires_grad and not np.isfinite(snapshot.weights[name]).all():
            raise FloatingPointError(
                f"the weight {name!r} is no longer finite after step {snapshot.step}; lower lr, or set clip to bound "
                "the gradient"
            )
    return snapshot


def _loaded(fitted: Fitted) -> Fitted:
    """The fitted pair, its modules holding the weights of its snapshot."""
    vae = copy.deepcopy(fitted.vae)
    vae.pair.load_state_dict(
        {name: torch.as_tensor(weight, device="cpu") for name, weight in fitted.snapshot.weights.items()}
    )
    return replace(fitted, vae=vae)
