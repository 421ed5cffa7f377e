"""Running: the trials of a sweep one after the other, each a run like any other, until there are enough."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ppvae.cli import command, fitting, programs, sources
from ppvae.cli.sweeps import entries, journal
from ppvae.cli.sweeps.entries import Sweep
from ppvae.data import Dataset
from ppvae.data.preprocessing.extra import extra
from ppvae.objectives import stages
from ppvae.runs.settings import Settings
from ppvae.runs.vae import VAE
from ppvae.training.fit import data_key, fit

BEST = 5  # trials to show


def swept(file: Path, sweep: Sweep, distributions: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Run trials until there are as many as the file asks for, beside other processes that do; returns the figures.

    Raises:
        ValueError: a value in the file is wrong, the folder is another sweep's, or every trial failed.
    """
    with interruptible(folder):
        shared, rows = joined(file, sweep, folder)
        while (outcome := tried(shared, sweep, rows, distributions)) is not None:
            command.say(outcome)
    return figures(shared, sweep)


def joined(file: Path, sweep: Sweep, folder: Path) -> tuple[journal.Shared, Dataset]:
    """The study that all processes share, and the rows that trials train on; what the file says fits them.

    Raises:
        ValueError: a value in the file is wrong, or the folder is another sweep's.
    """
    likelihood = [f"{name}={chosen}" for name, chosen in sweep.likelihood.items()]
    wanted = sources.Wanted(holdout=sweep.holdout, seed=sweep.seed)
    rows, _ = sources.split(sources.data_set(sweep.data, None, likelihood, wanted), sweep.holdout, sweep.seed)
    _check_values(file, sweep, rows)
    said = sweep.model_dump(mode="json", exclude={"trials"}) | {"contents of data": data_key(rows)}
    return journal.opened(folder, said), rows


def _check_values(file: Path, sweep: Sweep, rows: Dataset) -> None:
    """Raise ValueError for a value that no training could have, before there is any."""
    first = {name: entries.extremes(entry)[0] for name, entry in sweep.search.items()}
    for name, entry in sweep.search.items():
        for value in entries.extremes(entry):
            try:
                _made(sweep, rows, first | {name: value})
            except ValueError as error:
                raise ValueError(f"{str(file)!r}, with {name} = {value!r}: {error}") from None


def _made(sweep: Sweep, rows: Dataset, values: Mapping[str, Any]) -> tuple[VAE, Settings, dict[str, Any]]:
    """The pair, settings and options of a trial. A tenth of its rows is watched; those held out are for evaluate."""
    flags = {"seed": sweep.seed, **sweep.options, **values}
    settings, options = sources.sorted_out(sweep.method, flags, [])
    vae = programs.pair(sweep.method, rows.modalities or (), options, settings.seed)
    settings = fitting.timed(vae, settings)
    if len(stages(vae.objective)) > 1:
        raise ValueError(f"{sweep.method} is trained in stages, and the loss of the last says nothing of the others")
    if settings.epochs == 0:
        raise ValueError("epochs is 0, but trials are compared by the loss after an epoch: give 1 or more")
    if not settings.watches:
        settings = settings.model_copy(update={"epochs": settings.epochs, "patience": settings.epochs})
    return vae, settings, options


def tried(shared: journal.Shared, sweep: Sweep, rows: Dataset, distributions: Mapping[str, Any]) -> str | None:
    """Train with what the next trial suggests, and say what came of it; None where enough were begun."""
    with journal.next_trial(shared, distributions, sweep.seed, sweep.trials) as trial:
        if trial is None:
            return None
        values = entries.values(sweep, trial.params)
        outcome = _outcome(shared, sweep, rows, trial, values)
    return f"trial {trial.number}, {', '.join(f'{name} = {it}' for name, it in values.items())}: {outcome}"


def _outcome(shared: journal.Shared, sweep: Sweep, rows: Dataset, trial: Any, values: Mapping[str, Any]) -> str:
    """What became of a trial, as the study is told too."""
    states = extra("optuna", "sweep").trial.TrialState
    try:
        value = _trained(shared, sweep, rows, trial, values)
    except (FloatingPointError, ValueError) as error:  # it diverged, or its values do not go together
        trial.set_user_attr("failed", str(error))
        shared.study.tell(trial, state=states.FAIL)
        return str(error)
    shared.study.tell(trial, value, states.PRUNED if value is None else states.COMPLETE)
    return "pruned" if value is None else f"{value:.6g}"


def _trained(
    shared: journal.Shared, sweep: Sweep, rows: Dataset, trial: Any, values: Mapping[str, Any]
) -> float | None:
    """The highest objective of the watched rows, that of the weights that are kept; None where the trial was pruned."""
    vae, settings, options = _made(sweep, rows, values)
    kept = {"fraction": sweep.holdout, "seed": sweep.seed}
    notes = {"method": sweep.method, "options": options, "data_set": sweep.data, "holdout": kept}
    hopeless = False

    def told(entry: Mapping[str, Any]) -> bool:
        nonlocal hopeless
        trial.report(-entry["validation_loss"], entry["epoch"])
        hopeless = trial.should_prune()
        return hopeless

    fitted = fit(
        vae,
        rows,
        out=_run(shared.folder, trial.number),
        callbacks=[told],
        notes=notes | {"weights": sweep.weights},
        weights=sources.weights(rows, sweep.weights),
        **settings.model_dump(exclude_unset=True),
    )
    best = fitted.history[fitted.history[-1]["best_epoch"] - 1]
    return None if hopeless else -best["validation_loss"]


def figures(shared: journal.Shared, sweep: Sweep) -> dict[str, Any]:
    """How many trials ended how, the best of them, and the command to go on with.

    Raises:
        ValueError: every trial failed.
    """
    trials = journal.counted(shared.study.get_trials())
    ended = Counter(trial.state.name for trial in trials)
    if ended["FAIL"] == len(trials):
        raise ValueError(f"every trial failed, the first with: {trials[0].user_attrs.get('failed')}")
    done = [trial for trial in trials if trial.state.name == "COMPLETE"]
    best = sorted(done, key=lambda trial: -trial.value)[:BEST]
    names = {"finished": "COMPLETE", "pruned": "PRUNED", "failed": "FAIL", "running": "RUNNING"}
    counts = {name: ended[state] for name, state in names.items()}
    rows = [_row(shared.folder, trial, entries.values(sweep, trial.params)) for trial in best]
    return {"out": str(shared.folder), **counts, "best": rows, "next": _next(sweep, rows[0]["run"]) if rows else None}


def _row(folder: Path, trial: Any, values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "run": str(_run(folder, trial.number)),
        "objective": trial.value,
        "epochs": trial.last_step,
        "values": values,
    }


def _next(sweep: Sweep, run: str) -> str:
    made_by = ["--programs", sweep.method] if programs.is_file(sweep.method) else []
    return shlex.join(["ppvae", "report", run, *made_by])


def _run(folder: Path, number: int) -> Path:
    return folder / f"trial-{number}"


@contextmanager
def interruptible(folder: Path) -> Iterator[None]:
    """Ctrl-C says what is kept."""
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"Interrupted; the trials in {folder} are kept: the same command goes on with them."
        ) from None
