"""Study: all joint and shared-private methods on mfeat with one network, latent size and budget; `make study`."""

from __future__ import annotations

import argparse
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
    """A function of :mod:`study_jobs`, its arguments, and the file and identity of the row that it returns."""

    function: str
    arguments: tuple[Any, ...]
    file: str
    identity: dict[str, Any]

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
    import study_jobs

    return getattr(study_jobs, task.function)(*task.arguments, setting)


def left(todo: Sequence[Task], results: Path, setting: Any) -> list[Task]:
    """The tasks whose rows are not there yet."""
    return [task for task in todo if not study_rows.done(results / task.file, setting.key, **task.identity)]


def work(todo: Sequence[Task], results: Path, setting: Any, workers: int, say: Callable[[str], None]) -> list[str]:
    """Run tasks in ``workers`` processes and keep each row as it comes; returns what failed, in words."""
    failed, begin = [], time.monotonic()
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=spawn, max_tasks_per_child=8) as pool:
        running = {pool.submit(run, task, setting): task for task in todo}
        for count, (task, future) in enumerate(finished(running), 1):
            if error := future.exception():
                failed.append(f"{task}: {type(error).__name__}: {error}")
            else:
                study_rows.put(results / task.file, future.result(), list(task.identity))
            minutes = (time.monotonic() - begin) / count * (len(todo) - count) / 60
            say(f"[{count}/{len(todo)}] {'FAILED ' if error else ''}{task}; about {minutes:.0f} minutes left")
    return failed


def finished(running: dict[Future[dict[str, Any]], Task]) -> Iterator[tuple[Task, Future[dict[str, Any]]]]:
    """Tasks as they end."""
    for future in as_completed(running):
        yield running[future], future


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is left of the study, then write docs/methods.md; 1 where something failed."""
    chosen = _arguments(arguments)
    import study_page
    from study_jobs import Setting

    setting = Setting()
    say = lambda line: print(line, file=sys.stderr, flush=True)  # noqa: E731
    together, alone = tasks(chosen.only or METHODS, range(chosen.seeds))
    failed: list[str] = []
    for todo, workers in ((together, chosen.workers), (alone, 1)):
        rest = [] if chosen.page else left(todo, chosen.results, setting)
        failed += work(rest, chosen.results, setting, workers, say)
    for sentence in failed:
        say(sentence)
    study_page.write(chosen.results, METHODS, setting)
    return 1 if failed else 0


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=2, help="processes, one thread each")
    parser.add_argument("--seeds", type=int, default=len(SEEDS), help="the first so many seeds")
    parser.add_argument("--only", nargs="+", choices=METHODS, help="some methods")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the folder of the results")
    parser.add_argument("--page", action="store_true", help="run nothing, write docs/methods.md from what is there")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    os.environ.update(ENVIRONMENT)  # before any process loads torch or jax
    sys.exit(main())
