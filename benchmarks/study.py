"""Study: all joint and shared-private methods on mfeat with one network, latent size and budget; `make study`."""

from __future__ import annotations

import argparse
import importlib
import itertools
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import study_rows

ROOT = Path(__file__).resolve().parents[1]
RESULTS, CACHE = ROOT / "docs" / "study", ROOT / "out" / "study-cache"
JOINT = (
    *("mvae", "gpoe", "mmvae", "mmjsd", "mopoe", "mvtcae", "crmvae", "barycentre", "mobarycentre", "code", "holder"),
    *("helvae", "set_encoder", "jmvae", "telbo", "jnf"),
)
PRIVATE = ("dmvae", "mmvae_plus", "cmvae")
METHODS = (*JOINT, *PRIVATE)
SEEDS, MISSING = (0, 1, 2, 3), (0.0, 0.5)
TASKS = 4  # of one process

# One thread and a hash seed for each process: two processes share the cores, and what one has compiled the other, and
# the next run, find in the cache.
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false",
    "PYTHONHASHSEED": "0",
    "JAX_COMPILATION_CACHE_DIR": str(CACHE),
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.5",
}


@dataclass(frozen=True)
class Task:
    """A function of a module beside this one, its arguments, and the file and identity of the row that it returns."""

    function: str
    arguments: tuple[Any, ...]
    file: str
    identity: dict[str, Any]
    module: str = "study_jobs"

    def __str__(self) -> str:
        return f"{self.function} {' '.join(str(value) for value in self.identity.values())}"


def tasks(methods: Sequence[str], seeds: Sequence[int]) -> tuple[list[Task], list[Task]]:
    """What may run side by side, seed by seed; and the timings, which run alone."""
    bounds = [Task("bounds", (seed,), "judges.csv", {"seed": seed}) for seed in seeds]
    jobs = [
        Task("job", (m, s, missing), f"{m}.csv", {"method": m, "seed": s, "missing": missing})
        for s, m, missing in itertools.product(seeds, methods, MISSING)
    ]
    return [*bounds, *jobs], [Task("seconds", (m,), "seconds.csv", {"method": m}) for m in methods]


def run(task: Task, setting: Any) -> dict[str, Any]:
    """Run a task, in a process of the pool."""
    return getattr(importlib.import_module(task.module), task.function)(*task.arguments, setting)


def left(todo: Sequence[Task], results: Path, setting: Any) -> list[Task]:
    """The tasks whose rows are not there yet."""
    return [task for task in todo if not study_rows.done(results / task.file, setting.key, **task.identity)]


def work(todo: Sequence[Task], results: Path, setting: Any, workers: int, say: Callable[[str], None]) -> list[str]:
    """Run tasks in ``workers`` processes and keep each row as it comes; returns what failed, in words."""
    failed, begin = [], time.monotonic()
    for count, (task, future) in enumerate(finished(todo, setting, workers), 1):
        if error := future.exception():
            failed.append(f"{task}: {type(error).__name__}: {error}")
        else:
            study_rows.put(results / task.file, future.result(), list(task.identity))
        minutes = (time.monotonic() - begin) / count * (len(todo) - count) / 60
        say(f"[{count}/{len(todo)}] {'FAILED ' if error else ''}{task}; about {minutes:.0f} minutes left")
    return failed


def finished(todo: Sequence[Task], setting: Any, workers: int) -> Iterator[tuple[Task, Future[dict[str, Any]]]]:
    """Tasks as they end.

    What a process compiles stays mapped, and a system allows a process only so many mappings, so each block of tasks
    has new ones: Python 3.11's own way to renew them, ``max_tasks_per_child``, can wait for ever.
    """
    spawn = multiprocessing.get_context("spawn")
    for start in range(0, len(todo), TASKS * workers):
        with ProcessPoolExecutor(workers, mp_context=spawn, initializer=pinned, initargs=(spawn.Value("i"),)) as pool:
            running = {pool.submit(run, task, setting): task for task in todo[start : start + TASKS * workers]}
            for future in as_completed(running):
                yield running[future], future


def pinned(started: Any) -> None:
    """Give a process of the pool a core of its own where the system can.

    XLA has a thread for each core that a process may use, whatever its flags say: sixteen such processes on sixteen
    cores hardly moved.
    """
    with started.get_lock():
        number, started.value = started.value, started.value + 1
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[number % len(cores)]})


def complete(*phases: tuple[Sequence[Task], int], results: Path, setting: Any) -> int:
    """Run what is left of each phase, in so many processes; returns how many tasks failed, having said which."""
    say = lambda line: print(line, file=sys.stderr, flush=True)  # noqa: E731
    failed = []
    for todo, workers in phases:
        failed += work(left(todo, results, setting), results, setting, workers, say)
    for sentence in failed:
        say(sentence)
    return len(failed)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is left of the study, then write docs/methods.md; 1 where something failed."""
    chosen = options(arguments)
    import study_page
    from study_jobs import Setting

    setting = Setting()
    together, alone = tasks(chosen.only or METHODS, range(chosen.seeds))
    phases = () if chosen.page else ((together, chosen.workers), (alone, 1))
    failed = complete(*phases, results=chosen.results, setting=setting)
    study_page.write(chosen.results, METHODS, setting)
    return 1 if failed else 0


def options(arguments: Sequence[str] | None, description: str | None = __doc__) -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--workers", type=int, default=2, help="processes, one thread each")
    parser.add_argument("--seeds", type=int, default=len(SEEDS), help="the first so many seeds")
    parser.add_argument("--only", nargs="+", choices=METHODS, help="some methods")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the folder of the results")
    parser.add_argument("--page", action="store_true", help="run nothing, write the page from what is there")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    os.environ.update(ENVIRONMENT)  # before any process loads torch or jax
    sys.exit(main())
