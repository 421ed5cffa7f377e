"""Journal: the trials of a sweep in one file, written by several processes, each of which may die at any moment."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from filelock import FileLock, Timeout

from ppvae.data.preprocessing.extra import extra

JOURNAL, FREE = "trials.jsonl", 10  # epochs that no trial is judged by


class Turn:
    """The lock of a journal, as Optuna asks for one; the system frees it when the process that holds it dies."""

    def __init__(self, journal: Path) -> None:
        self.journal = journal
        self.lock = FileLock(f"{journal}.lock")

    def acquire(self) -> bool:
        """Wait for it; what another process wrote of a line when it died is gone then."""
        self.lock.acquire()
        if self.journal.exists():
            written = self.journal.stat().st_size
            with self.journal.open("rb+") as file:
                file.seek(max(written - 1, 0))
                if file.read(1) not in (b"", b"\n"):
                    file.seek(0)
                    file.truncate(file.read().rfind(b"\n") + 1)
        return True

    def release(self) -> None:
        """Let others write."""
        self.lock.release()


class Shared(NamedTuple):
    """The study that all processes of a sweep share, and who may write."""

    folder: Path
    study: Any
    turn: Turn


def opened(folder: Path, said: Mapping[str, Any]) -> Shared:
    """The study in a folder, made where it is missing.

    Args:
        folder: of the sweep.
        said: what must be as it was when the sweep was begun.

    Raises:
        ValueError: it was begun otherwise, or its file is damaged.
    """
    optuna = extra("optuna", "sweep")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / JOURNAL
    turn = Turn(path)
    with turn.lock:
        try:
            stored = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(path), turn))
            pruner = optuna.pruners.MedianPruner(n_warmup_steps=FREE)
            study = optuna.create_study(
                storage=stored, pruner=pruner, study_name="sweep", direction="maximize", load_if_exists=True
            )
        except (ValueError, KeyError) as error:
            raise ValueError(f"{str(path)!r} is damaged: {error}") from None
        began = study.user_attrs.get("said")
        if began is None:
            study.set_user_attr("said", dict(said))
        elif differing := [key for key in said if began.get(key) != said[key]]:
            raise ValueError(f"the sweep in {str(folder)!r} was begun with other {differing[0]}: choose another --out")
    return Shared(folder, study, turn)


@contextmanager
def next_trial(shared: Shared, distributions: Mapping[str, Any], seed: int, most: int) -> Iterator[Any]:
    """A trial that is this process's within the block, with all suggestions made; None where enough were begun.

    Suggestions depend on the seed, on how many trials there are and on what came of them, not on the process.
    """
    optuna, mine = extra("optuna", "sweep"), None
    with shared.turn.lock:
        trial, before = None, begun(shared)
        if before < most:
            drawn = int(np.random.default_rng([seed, before]).integers(2**31))
            shared.study.sampler = optuna.samplers.TPESampler(seed=drawn)
            trial = shared.study.ask(dict(distributions))
            mine = _alive(shared, trial.number)
            mine.acquire()
    try:
        yield trial
    finally:
        if mine is not None:
            mine.release()
            Path(mine.lock_file).unlink(missing_ok=True)


def begun(shared: Shared) -> int:
    """How many trials were begun and need not be begun again, now that processes that died have given theirs back."""
    with shared.turn.lock:
        _give_back(shared)
        return len(counted(shared.study.get_trials(deepcopy=False)))


def counted(trials: list[Any]) -> list[Any]:
    """The trials that were begun and not begun again."""
    again = {trial.user_attrs.get("again") for trial in trials}
    return [trial for trial in trials if trial.state.name != "WAITING" and trial.number not in again]


def _give_back(shared: Shared) -> None:
    """Trials of processes that died have failed, and wait to be tried again."""
    fail = extra("optuna", "sweep").trial.TrialState.FAIL
    for trial in shared.study.get_trials(deepcopy=False):
        if trial.state.name != "RUNNING":
            continue
        lock = _alive(shared, trial.number)
        try:
            lock.acquire(blocking=False)
        except Timeout:
            continue
        shared.study.tell(trial.number, state=fail)
        shared.study.enqueue_trial(trial.params, {"again": trial.number})
        lock.release()
        Path(lock.lock_file).unlink(missing_ok=True)


def _alive(shared: Shared, number: int) -> FileLock:
    """The lock that a process holds while it runs a trial."""
    return FileLock(shared.folder / f".trial-{number}.lock")
