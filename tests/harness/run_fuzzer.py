"""A fuzzer of run folders: breaks one in every way that it knows, opens it, and counts what no folder may cause.

``python run_fuzzer.py FOLDER MUTATIONS`` prints the counts as JSON: a process of its own, for its own memory.
"""

import contextlib
import copy
import io
import json
import os
import random
import resource
import shutil
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from run_folders import RUN, WEIGHTS, data_set, fit, forge, put_run, put_weights, weights

from ppvae import cli

COMPUTING, WAITING, MEMORY = 20, 300, 2 * 2**30
NASTY: tuple[Any, ...] = (
    *(None, True, -1, 0, 3, 10**9, 2**63, 10**400, -0.5, 1e308, "", "x" * 10**5, "\x1b[31m[red]", "\ud800", "a\0b"),
    *([], {}, [[]], {"x": {}}, [1] * 10**4, [10**9] * 4, float("nan"), float("inf"), -float("inf"), "mvae", "gpu"),
)


def spots(value: Any) -> list[tuple[Any, Any]]:
    """Every place in JSON: its container, and its key or index there."""
    if not isinstance(value, dict | list):
        return []
    keys = list(value) if isinstance(value, dict) else list(range(len(value)))
    return [spot for key in keys for spot in [(value, key), *spots(value[key])]]


def disturb(rng: random.Random, plain: Any) -> None:
    """Change, remove, add or double something."""
    container, key = rng.choice(spots(plain))
    kind = rng.choice(["change", "change", "change", "remove", "add"])
    if kind == "change":
        container[key] = copy.deepcopy(rng.choice(NASTY))
    elif kind == "remove":
        del container[key]
    elif isinstance(container, dict):
        container[str(rng.choice(NASTY))[:50]] = rng.choice(NASTY)
    else:
        container.append(copy.deepcopy(rng.choice([container[key], *NASTY])))


def disturb_tensors(rng: random.Random, tensors: dict[str, np.ndarray]) -> None:
    name = rng.choice(sorted(tensors))
    array = tensors[name]
    tensors[name] = rng.choice(
        [
            np.where(rng.random() < 0.5, np.nan, -np.abs(array)).astype(array.dtype),
            np.full_like(array, rng.choice([np.inf, -1.0, 3e38])),
            array.astype(rng.choice([np.float16, np.float64, np.int64, bool])),
            array.reshape(-1),
            array[..., None],
            array[:0] if array.ndim else array,
            np.zeros((0, 10**9), array.dtype),
        ]
    )
    if rng.random() < 0.3:
        tensors[rng.choice([name + "x", "mu/", "/", "weights", "last/" + name, "\x1b"])] = tensors.pop(name)


def description(rng: random.Random, run: Path, other: Path) -> None:
    plain = json.loads((run / RUN).read_text())
    disturb(rng, plain)
    put_run(run, plain)


def forged(rng: random.Random, run: Path, other: Path) -> None:
    """Whoever made it knew the checksums."""
    with contextlib.suppress(Exception):
        forge(run, lambda plain, tensors: disturb(rng, plain))


def forged_tensors(rng: random.Random, run: Path, other: Path) -> None:
    forge(run, lambda plain, tensors: disturb_tensors(rng, tensors))


def marks(rng: random.Random, run: Path, other: Path) -> None:
    tensors, told = weights(run)
    disturb(rng, told)
    put_weights(run, tensors, told)


def tensors_alone(rng: random.Random, run: Path, other: Path) -> None:
    tensors, told = weights(run)
    disturb_tensors(rng, tensors)
    put_weights(run, tensors, told)


def text(rng: random.Random, run: Path, other: Path) -> None:
    """Not JSON, or more of it than was meant."""
    whole = (run / RUN).read_text()
    place = rng.randrange(len(whole))
    piece = rng.choice(
        [
            *('"', "{", "[" * 10**5, "NaN", "-Infinity", "1e999", "9" * 10**5, "\ufeff", "\0"),
            '"format": 2, ',
            "x" * 10**7,
        ]
    )
    (run / RUN).write_text(
        rng.choice([piece, whole[:place] + piece + whole[place:], whole[:place], piece * 20 + whole])
    )


def octets(rng: random.Random, run: Path, other: Path) -> None:
    path = run / rng.choice([RUN, WEIGHTS])
    whole = bytearray(path.read_bytes())
    for _ in range(rng.choice([1, 1, 10, 1000])):
        whole[rng.randrange(min(len(whole), rng.choice([8, 100, 10**9])))] = rng.randrange(256)
    path.write_bytes(whole[: rng.choice([len(whole), len(whole), rng.randrange(len(whole))])])


def header(rng: random.Random, run: Path, other: Path) -> None:
    """A header of tensors without end."""
    many = rng.choice([1, 1000, 10**5])
    entry = {"dtype": "F32", "shape": [rng.choice([0, 10**18])], "data_offsets": [0, 0]}
    told = {"__metadata__": {"run": json.dumps(weights(run)[1])}, **{f"weights/{i}": entry for i in range(many)}}
    head = json.dumps(told).encode()
    (run / WEIGHTS).write_bytes(len(head).to_bytes(8, "little") + head)


def mixed(rng: random.Random, run: Path, other: Path) -> None:
    name = rng.choice([RUN, WEIGHTS])
    shutil.copy(other / name, run / name)


def no_file(rng: random.Random, run: Path, other: Path) -> None:
    path = run / rng.choice([RUN, WEIGHTS])
    path.unlink()
    rng.choice(
        [
            lambda: None,
            lambda: os.mkfifo(path),
            path.mkdir,
            lambda: path.symlink_to(path),
            lambda: path.symlink_to(rng.choice(["/dev/zero", "/dev/full", "/dev/tty", "nowhere", ".."])),
            lambda: (path.touch(), os.truncate(path, 2**40)),
        ]
    )()


MUTATIONS: tuple[Callable[[random.Random, Path, Path], None], ...] = (
    *(description, description, forged, forged, forged, forged_tensors, tensors_alone, marks, text, octets),
    *(header, mixed, no_file),
)


@contextlib.contextmanager
def alarm() -> Iterator[None]:
    """Ends what computes for too long, or waits: how long a busy machine takes says nothing."""

    def ring(number: int, frame: Any) -> None:
        raise TimeoutError

    timers = ((signal.SIGPROF, signal.ITIMER_PROF, COMPUTING), (signal.SIGALRM, signal.ITIMER_REAL, WAITING))
    for number, timer, seconds in timers:
        signal.signal(number, ring)
        signal.setitimer(timer, seconds)
    try:
        yield
    finally:
        for _, timer, _ in timers:
            signal.setitimer(timer, 0)


def opened(words: list[str]) -> str:
    """How a command on the folder ends."""
    said = io.StringIO()
    try:
        with alarm(), contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(said):
            code = cli.main(words)
    except TimeoutError:
        return "hangs"
    except BaseException as error:
        print(words, repr(error)[:300], file=sys.stderr)
        return "tracebacks"
    wrong = code not in (0, 2) or (code == 2 and said.getvalue().count("\n") != 1)
    return "more than a sentence" if wrong else "works" if code == 0 else "sentences"


def fuzz(place: Path, mutations: int) -> dict[str, int]:
    data, counts = data_set(), Counter({"tracebacks": 0, "hangs": 0, "memory": 0, "more than a sentence": 0})
    np.savez(place / "data.npz", **data.arrays)
    fit(data, 2, place / "run", notes={"data_set": "data.npz", "holdout": {"fraction": 0.0, "seed": 0}})
    fit(data, 2, place / "other", seed=6)
    for number in range(mutations):
        rng, folder = random.Random(number), place / str(number)
        shutil.copytree(place / "run", folder)
        mutate = MUTATIONS[number % len(MUTATIONS)]
        mutate(rng, folder, place / "other")
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        ended = opened(["evaluate", str(folder), "--data", str(place / "data.npz"), "--all", "--particles", "2"])
        counts[ended] += 1
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        counts["memory"] += grown > before and 1024 * grown > MEMORY
        if ended not in ("sentences", "works"):
            print(number, mutate.__name__, ended, file=sys.stderr)
        shutil.rmtree(folder)
    return dict(counts)


if __name__ == "__main__":
    print(json.dumps(fuzz(Path(sys.argv[1]), int(sys.argv[2]))))
