"""On Ray: the trials of a sweep in processes of their own, which Ray Tune places on the machines of a cluster."""

from __future__ import annotations

import io
import os
import platform
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

from ppvae.cli import command
from ppvae.cli.sweeps import journal, running
from ppvae.cli.sweeps.entries import Sweep
from ppvae.data.preprocessing.extra import extra

AGAIN = 2  # times that a trial whose process died is begun again, on whatever machine is free


def swept(file: Path, sweep: Sweep, distributions: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """As ``running.swept``, with as many trials at once as the cluster has CPUs for, or GPUs where it has any.

    Raises:
        ValueError: Ray is not installed, a machine lacks what the others have, or as ``running.swept``.
        ConnectionError: there is no cluster where there should be one.
    """
    tune = extra("ray.tune", "ray")
    with running.interruptible(folder):
        shared, _ = running.joined(file, sweep, folder)
        left = sweep.trials - journal.begun(shared)
        if left > 0:
            asked = {"file": file, "sweep": sweep, "distributions": distributions, "folder": folder, "here": Path.cwd()}
            with _cluster() as there, redirect_stdout(io.StringIO()):  # Tune greets, even where it is told to be silent
                command.say(f"Trials to go: {left}, on a Ray cluster of {_size(there)}.")
                placed = tune.with_resources(tune.with_parameters(_trial, **asked), _needed(sweep, there))
                _check(_tuner(tune, placed, left, folder).fit())
    return running.figures(shared, sweep)


@contextmanager
def _cluster() -> Iterator[dict[str, float]]:
    """What the cluster has that ``RAY_ADDRESS`` names or this machine is part of; without one, this machine alone."""
    ray = extra("ray", "ray")
    os.environ |= {"TUNE_DISABLE_SIGINT_HANDLER": "1", "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1"}
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it would tell its makers
    try:
        ray.init(include_dashboard=False, log_to_driver=False, logging_level="CRITICAL")
        yield ray.cluster_resources()
    finally:
        ray.shutdown()


def _size(there: Mapping[str, float]) -> str:
    return " and ".join(f"{there[name]:g} {name}s" for name in ("CPU", "GPU") if name in there)


def _needed(sweep: Sweep, there: Mapping[str, float]) -> dict[str, Any]:
    """What a trial takes of a machine."""
    gpus = sweep.options.get("devices", 1) if "GPU" in there and sweep.options.get("device") != "cpu" else 0
    return {"cpu": 1, "gpu": gpus}


def _tuner(tune: Any, placed: Any, left: int, folder: Path) -> Any:
    """Ray Tune's part: places and processes. What a trial is, the journal says."""

    class Told(tune.Callback):
        def on_trial_result(self, *_: Any, result: Mapping[str, Any], **__: Any) -> None:
            if outcome := result.get("outcome"):
                command.say(outcome)

    failures = tune.FailureConfig(max_failures=AGAIN)
    notes = {"name": "ray", "storage_path": str(folder.absolute())}
    run = tune.RunConfig(**notes, failure_config=failures, callbacks=[Told()], verbose=0)
    return tune.Tuner(placed, tune_config=tune.TuneConfig(num_samples=left), run_config=run)


def _trial(
    _: Any, file: Path, sweep: Sweep, distributions: Mapping[str, Any], folder: Path, here: Path
) -> dict[str, Any]:
    """One trial, in a process on any machine; a mistake of the user's is told, and not made again."""
    try:
        os.chdir(here)
        if not (folder / journal.JOURNAL).exists():
            raise ValueError(f"machine {platform.node()} has no {str(folder)!r}: give an --out that all machines share")
        shared, rows = running.joined(file, sweep, folder)
        return {"outcome": running.tried(shared, sweep, rows, distributions)}
    except Exception as error:
        mistake = command.mistake(error)
        if not mistake:
            raise
        return {"mistake": mistake}


def _check(grid: Any) -> None:
    """Raise for what went wrong outside of training."""
    for result in grid:
        if mistake := (result.metrics or {}).get("mistake"):
            raise ValueError(mistake)
    if grid.errors:
        raise grid.errors[0]
