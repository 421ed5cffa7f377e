"""On Ray: the trials of a sweep in processes of their own, which Ray Tune places on the machines of a cluster."""

from __future__ import annotations

import io
import os
import platform
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

from ppvae.cli import command
from ppvae.cli.sweeps import journal, running
from ppvae.cli.sweeps.entries import Sweep
from ppvae.data.preprocessing.extra import extra
from ppvae.runs.settings import Settings

AGAIN = 2  # times that a trial whose process died is begun again, on whatever machine is free


def swept(file: Path, sweep: Sweep, distributions: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """As ``running.swept``, with as many trials at once as the cluster has CPUs for, or GPUs where it has any.

    Raises:
        ValueError: Ray is not installed, a machine lacks what the others have, or as ``running.swept``.
        ConnectionError: there is no cluster where there should be one, or a trial's process died time and again.
    """
    tune = extra("ray.tune", "ray")
    with running.interruptible(folder):
        shared, _ = running.joined(file, sweep, folder)
        left = sweep.trials - journal.begun(shared)
        if left > 0:
            _check_address(os.environ.get("RAY_ADDRESS", ""))
            asked = {"file": file, "sweep": sweep, "distributions": distributions, "folder": folder, "here": Path.cwd()}
            # Tune greets, even where it is told to be silent
            with _cluster() as machines, redirect_stdout(io.StringIO()):
                command.say(f"Trials to go: {left}, on a Ray cluster of {_size(machines)}.")
                placed = tune.with_resources(tune.with_parameters(_trial, **asked), _needed(sweep, machines))
                _check(_tuner(tune, placed, left, folder).fit())
    return running.figures(shared, sweep)


def _check_address(address: str) -> None:
    """Raise ConnectionError where nobody listens: Ray itself would try for minutes."""
    host, _, port = address.rpartition(":")
    if not host:
        return
    if "/" in host:
        raise ValueError(
            f"RAY_ADDRESS is {address!r}, but a sweep begins on a machine of the cluster: leave it out there"
        )
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except (OSError, ValueError):
        raise ConnectionError(
            f"there is no Ray cluster at {address!r}, as RAY_ADDRESS says: start it, or unset that"
        ) from None


@contextmanager
def _cluster() -> Iterator[list[dict[str, float]]]:
    """What machines the cluster has that ``RAY_ADDRESS`` names or this one is part of; without one, this one alone."""
    ray = extra("ray", "ray")
    os.environ |= {"TUNE_DISABLE_SIGINT_HANDLER": "1", "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1"}
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it would tell its makers
    try:
        ray.init(include_dashboard=False, log_to_driver=False, logging_level="CRITICAL")
        yield [node["Resources"] for node in ray.nodes() if node["Alive"]]
    finally:
        ray.shutdown()


def _size(machines: Sequence[Mapping[str, float]]) -> str:
    sums = {name: sum(machine.get(name, 0) for machine in machines) for name in ("CPU", "GPU")}
    return " and ".join(f"{number:g} {name}s" for name, number in sums.items() if number)


def _needed(sweep: Sweep, machines: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    """What a trial takes of a machine. Raises ValueError for more than any has: Ray would wait for such a one."""
    said = {name: sweep.options[name] for name in ("backend", "device", "devices") if name in sweep.options}
    settings = Settings.model_validate(said)
    most = max(machine.get("GPU", 0) for machine in machines)
    gpus = settings.devices if most and settings.device != "cpu" else 0
    if gpus > most:
        raise ValueError(
            f"devices = {gpus} of a trial are GPUs of one machine, and no machine of Ray has over {most:g}"
        )
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
    return tune.Tuner(placed, tune_config=tune.TuneConfig(num_samples=left, reuse_actors=True), run_config=run)


def _trial(
    _: Any, file: Path, sweep: Sweep, distributions: Mapping[str, Any], folder: Path, here: Path
) -> dict[str, Any]:
    """One trial, in a process on any machine; a mistake of the user's is told, and not made again."""
    try:
        if not (here / folder / journal.JOURNAL).exists():
            raise ValueError(f"there is no sweep in {str(here / folder)!r}: give an --out that all machines share")
        os.chdir(here)
        shared, rows = running.joined(file, sweep, folder)
        return {"outcome": running.tried(shared, sweep, rows, distributions)}
    except Exception as error:
        mistake = command.mistake(error)
        if not mistake:
            raise
        return {"mistake": f"on machine {platform.node()}: {mistake}"}


def _check(grid: Any) -> None:
    """Raise for what went wrong around the trials."""
    for result in grid:
        if mistake := (result.metrics or {}).get("mistake"):
            raise ValueError(mistake)
    for error in grid.errors:
        if isinstance(error, extra("ray.exceptions", "ray").RayTaskError):
            raise error  # a bug
        raise ConnectionError(
            f"the process of a trial died {AGAIN + 1} times ({type(error).__name__}), as where memory is short or a "
            "machine has no ppvae; what is done is kept, and the same command goes on"
        )
