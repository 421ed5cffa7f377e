"""Checkpoint: a run's weights and description as a folder, written atomically; reading it runs no code from it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from ppvae.runs.description import Description, Marks, parsed, wrong
from ppvae.runs.files import check_regular, left_behind, replacing
from ppvae.runs.lock import LOCK, held
from ppvae.runs.snapshot import Snapshot

WEIGHTS, RUN = "weights.safetensors", "run.json"
FOREIGN = "optimizer"  # the group of what an optimiser of optax or torch remembers
LARGEST = (
    2**26
)  # bytes of run.json: a hundred thousand epochs, and as much memory as may be spent on finding it damaged
DAMAGES = (
    *(OSError, ValueError, LookupError, TypeError, AttributeError, RuntimeError, ArithmeticError, MemoryError),
    SafetensorError,
)
TYPES, WHOLE = {"F32": "float32", "F64": "float64"}, "whole"

Value = TypeVar("Value")


class Kind(NamedTuple):
    """What a tensor is: ``float32``, ``float64``, another type of numbers, or ``whole`` for integers and booleans."""

    type: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Stored:
    """What a run folder holds.

    Attributes:
        path: the folder.
        description: of the run as it was when the weights were written.
        marks: what the weights say of themselves.
        file: the open weights, none of them read yet.
    """

    path: Path
    description: Description
    marks: Marks
    file: Any

    def kinds(self) -> dict[str, dict[str, Kind]]:
        """What the tensors of each group are, by name: the weights, the last ones, the optimiser's moments."""
        return _grouped({key: _kind(self.file.get_slice(key)) for key in self.file.keys()})  # noqa: SIM118

    def snapshot(self) -> Snapshot:
        """The weights, the optimiser's memory and the step.

        Raises:
            ValueError: they are not what was written.
        """
        with reading(self.path):
            tensors = {key: self.file.get_tensor(key) for key in self.file.keys()}  # noqa: SIM118
            if _checksum(tensors, self.marks) != self.marks.tensors:
                raise ValueError(f"{WEIGHTS} does not have its checksum")
        groups = _grouped(tensors)
        weights, last, foreign = (groups.pop(group, {}) for group in ("weights", "last", FOREIGN))
        return Snapshot(weights, groups, self.marks.step, last, foreign)


def exists(folder: str | Path) -> bool:
    """Is there a run folder at this path?"""
    return (Path(folder) / WEIGHTS).exists()


@contextmanager
def claimed(folder: str | Path, description: Description, force: bool = False) -> Iterator[None]:
    """The folder is this run's alone within the block; it is made where it is missing.

    Whatever writes runs comes through here. What may be replaced is the same run at this or an earlier moment; with
    ``force`` also another run, and a folder of anything else gets a run beside its files.

    Raises:
        ValueError: the folder holds something else, somebody else writes to it, or it cannot be written.
    """
    path = Path(folder)
    with held(path):
        if not force:
            _check_free(path, description)
        # Whoever writes holds the folder, so that these are of processes that died.
        for left in (*left_behind(path / RUN), *left_behind(path / WEIGHTS)):
            left.unlink()
        yield


def write(folder: str | Path, snapshot: Snapshot, description: Description) -> None:
    """Write a claimed folder, each file under a temporary name that then replaces the old one.

    The weights carry the number of epochs behind them: a process killed between the two files leaves a folder that is
    still whole, since the history beyond the weights is dropped when reading. Weights of another run are removed first.

    Raises:
        OSError: a file could not be written; what was there stays.
    """
    path, epochs = Path(folder), len(description.history)
    id, history = description.id, description.checksum(epochs)
    text = json.dumps({"id": id, "checksum": history, **description.plain()}, indent=1)
    if len(text) > LARGEST:
        raise ValueError(f"{epochs} epochs make a {RUN} of more than {LARGEST} bytes; what was there stays")
    tensors = _flat(snapshot)
    marks = Marks(id=id, epochs=epochs, step=snapshot.step, history=history, tensors="")
    marks = marks.model_copy(update={"tensors": _checksum(tensors, marks)})
    # Of the two blocks the inner one ends first.
    with replacing(path / WEIGHTS, durable=True) as weights, replacing(path / RUN, durable=True) as run:
        run.write_text(text, encoding="utf-8")
        # In one entry: safetensors writes several in an order that differs from process to process.
        save_file(tensors, weights, {"run": marks.model_dump_json()})
        if not _goes_on(path, description):
            (path / WEIGHTS).unlink(missing_ok=True)


def read(folder: str | Path) -> tuple[Snapshot, Description]:
    """The snapshot and the description in a run folder.

    Raises:
        ValueError: the folder is missing or damaged.
    """
    stored = opened(folder)
    return stored.snapshot(), stored.description


def opened(folder: str | Path) -> Stored:
    """What is in a run folder; the tensors stay on the disk.

    Raises:
        ValueError: the folder is missing, damaged, a mix of two runs, or was written by an earlier ppvae.
    """
    path = Path(folder)
    with reading(path):
        file = _weights(path / WEIGHTS)  # first: a run that is still training may move on meanwhile
        plain = _plain(path / RUN)
    if plain.get("format") == 1:
        raise ValueError(
            f"{str(path)!r} was written by an earlier ppvae, as format 1, which is no longer read: train again"
        )
    with reading(path):
        marks = _marks(file)
        id, checksum = plain.pop("id"), plain.pop("checksum")
        description = Description.model_validate(plain, strict=True)
        description.measured()
        if (id, checksum) != (description.id, description.checksum(len(description.history))):
            raise ValueError(f"{RUN} does not have its checksum")
        if not marks.follow(description):
            raise ValueError(f"{WEIGHTS} and {RUN} are not of one run, or not of one moment of it")
    history = description.history[: marks.epochs]
    return Stored(path, description.model_copy(update={"history": history}), marks, file)


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turns what goes wrong while a run folder is read into a ValueError of one sentence."""
    try:
        yield
    except (FileNotFoundError, NotADirectoryError, PermissionError) as error:
        missing = [name for name in (RUN, WEIGHTS) if not (path / name).exists()]
        if missing and not isinstance(error, PermissionError):
            raise ValueError(f"{str(path)!r} is not a run folder: {missing[0]} is missing") from None
        # safetensors tells a file that may not be read as one that is missing
        raise ValueError(f"the run folder {str(path)!r} may not be read: permission denied") from None
    except ValidationError as error:
        raise ValueError(f"the run folder {str(path)!r} is damaged: {error.title}, {wrong(error)}") from None
    except DAMAGES as error:
        reason = (str(error).splitlines() or [""])[0][:200]
        kind = "" if type(error) is ValueError else f"{type(error).__name__}, "
        raise ValueError(f"the run folder {str(path)!r} is damaged: {kind}{reason}") from None


def _check_free(path: Path, description: Description) -> None:
    """Raise ValueError where the folder holds something that is not this run at this or an earlier moment."""
    names = {entry.name for entry in path.iterdir()} - {LOCK}
    names -= {left.name for name in (RUN, WEIGHTS) for left in left_behind(path / name)}
    if names and not _goes_on(path, description):
        what = "another run" if {RUN, WEIGHTS} <= names else "files that are no run"
        raise ValueError(
            f"the folder {str(path)!r} holds {what}: choose another folder, go on with a run by --resume (resume=True),"
            " or replace it by --force (force=True)"
        )


def _goes_on(path: Path, description: Description) -> bool:
    """Is this the run in the folder, or one that goes on from it?"""
    try:
        with reading(path):
            return _marks(_weights(path / WEIGHTS)).follow(description)
    except ValueError:
        return False


def _weights(path: Path) -> Any:
    check_regular(path)
    return safe_open(path, "numpy")


def _marks(file: Any) -> Marks:
    return Marks.model_validate(parsed(file.metadata()["run"]), strict=True)


def _plain(path: Path) -> dict[str, Any]:
    if check_regular(path) > LARGEST:
        raise ValueError(f"{RUN} has more than {LARGEST} bytes")
    plain = parsed(path.read_text(encoding="utf-8"))
    if not isinstance(plain, dict):
        raise ValueError(f"{RUN} is no object")
    return plain


def _grouped(tensors: Mapping[str, Value]) -> dict[str, dict[str, Value]]:
    """What stands as ``GROUP/NAME``, by group and name."""
    groups: dict[str, dict[str, Value]] = {}
    for key, tensor in tensors.items():
        group, _, name = key.partition("/")
        groups.setdefault(group, {})[name] = tensor
    return groups


def _kind(tensor: Any) -> Kind:
    kind = tensor.get_dtype()
    return Kind(WHOLE if kind == "BOOL" or kind[0] in "IU" else TYPES.get(kind, kind), tuple(tensor.get_shape()))


def _flat(snapshot: Snapshot) -> dict[str, np.ndarray]:
    groups = {"weights": snapshot.weights, "last": snapshot.last, FOREIGN: snapshot.foreign, **snapshot.moments}
    return {f"{group}/{name}": np.asarray(a, order="C") for group, named in groups.items() for name, a in named.items()}


def _checksum(tensors: Mapping[str, np.ndarray], marks: Marks) -> str:
    """Of all tensors, and of what the marks say but for this."""
    found = hashlib.sha256(marks.model_dump_json(exclude={"tensors"}).encode())
    for name, tensor in sorted(tensors.items()):
        found.update(json.dumps([name, str(tensor.dtype), tensor.shape]).encode())
        found.update(tensor.tobytes() if tensor.ndim == 0 else np.ascontiguousarray(tensor).data)
    return found.hexdigest()
