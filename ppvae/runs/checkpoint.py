"""Checkpoint: a run's weights and description as a folder, written atomically; reading it runs no code from it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from ppvae.runs.snapshot import Snapshot

WEIGHTS, RUN = "weights.safetensors", "run.json"


def exists(folder: str | Path) -> bool:
    """Is there a run folder at this path?"""
    return (Path(folder) / WEIGHTS).exists()


def write(folder: str | Path, snapshot: Snapshot, description: Mapping[str, Any]) -> None:
    """Write the folder, each file under a temporary name that then replaces the old one.

    The weights carry the number of epochs behind them: a process killed between the two files leaves a folder that is
    still whole, since the history beyond the weights is dropped when reading. Weights of another run are removed first.
    """
    path = Path(folder)
    path.mkdir(parents=True, exist_ok=True)
    if not _goes_on(path, description["history"]):
        (path / WEIGHTS).unlink(missing_ok=True)
    text = json.dumps(description, indent=1, allow_nan=False)
    _replace(path / RUN, lambda temporary: temporary.write_text(text, encoding="utf-8"))
    # In one entry: safetensors writes several in an order that differs from process to process.
    marks = {"run": json.dumps({"epochs": len(description["history"]), "step": snapshot.step})}
    tensors = _flat(snapshot)
    _replace(path / WEIGHTS, lambda temporary: save_file(tensors, temporary, marks))


def read(folder: str | Path) -> tuple[Snapshot, dict[str, Any]]:
    """The snapshot and the description in a run folder.

    Raises:
        ValueError: the folder is missing or damaged.
    """
    path = Path(folder)
    with reading(path):
        snapshot, epochs = _snapshot(path / WEIGHTS)  # first: a run that is still training may move on meanwhile
        description = json.loads((path / RUN).read_text(encoding="utf-8"))
        description["history"] = description["history"][:epochs]
    return snapshot, description


def _goes_on(path: Path, history: Sequence[Any]) -> bool:
    """Is this the history of the run in the folder, or of one that goes on from it? Its seconds make it unique."""
    try:
        with reading(path), safe_open(path / WEIGHTS, "numpy") as file:
            epochs = _marks(file)["epochs"]
            before = json.loads((path / RUN).read_text(encoding="utf-8"))["history"][:epochs]
    except ValueError:
        return False
    return bool(before) and before == json.loads(json.dumps(history[: len(before)]))


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turns what goes wrong while a run folder is read into a ValueError of one sentence."""
    try:
        yield
    except FileNotFoundError:
        missing = [name for name in (RUN, WEIGHTS) if not (path / name).exists()]
        raise ValueError(f"{str(path)!r} is not a run folder: {missing[0]} is missing") from None
    except ValidationError as error:
        where, what = error.errors()[0]["loc"], error.errors()[0]["msg"]
        reason = f"{RUN}, {'.'.join(map(str, where))}: {what.lower()}"
        raise ValueError(f"the run folder {str(path)!r} is damaged: {reason}") from None
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError, SafetensorError) as error:
        reason = f"{type(error).__name__}, {(str(error).splitlines() or [''])[0]}"
        raise ValueError(f"the run folder {str(path)!r} is damaged: {reason}") from None


def _replace(path: Path, write: Callable[[Path], Any]) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    write(temporary)
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    os.replace(temporary, path)


def _flat(snapshot: Snapshot) -> dict[str, np.ndarray]:
    groups = {"weights": snapshot.weights, "last": snapshot.last, **snapshot.moments}
    return {f"{group}/{name}": np.asarray(a, order="C") for group, named in groups.items() for name, a in named.items()}


def _snapshot(path: Path) -> tuple[Snapshot, int]:
    groups: dict[str, dict[str, np.ndarray]] = {}
    with safe_open(path, "numpy") as file:
        marks = _marks(file)
        for key in file.keys():  # noqa: SIM118 - a safetensors file is no dict
            group, _, name = key.partition("/")
            groups.setdefault(group, {})[name] = file.get_tensor(key)
    weights, last = groups.pop("weights"), groups.pop("last", {})
    return Snapshot(weights, groups, marks["step"], last), marks["epochs"]


def _marks(file: Any) -> dict[str, int]:
    """How many epochs and steps are behind these weights."""
    marks = json.loads(file.metadata()["run"])
    return {name: int(marks[name]) for name in ("epochs", "step")}
