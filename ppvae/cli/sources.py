"""Sources: what the words of a command line stand for: data, settings, runs. Torch comes once they are right."""

from __future__ import annotations

import json
import math
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ppvae import datasets
from ppvae.cli import command, programs
from ppvae.cli.apart import apart
from ppvae.data import reader
from ppvae.data.splits import split_rows
from ppvae.runs import checkpoint
from ppvae.runs.settings import Settings, settings_of

if TYPE_CHECKING:
    from ppvae.data import Dataset
    from ppvae.data.description import Items, Room
    from ppvae.inference.fitted import Fitted
    from ppvae.language.modality import Modality


TABLES = (".csv", ".tsv", ".txt", ".parquet", ".pq", ".feather")


class Wanted(NamedTuple):
    """How data are wanted.

    ``likelihood`` by name, or the modalities that a run knows; the rows that :func:`split` holds out do not tell how
    files become numbers; ``room`` is for numbers that do not fit into memory.
    """

    likelihood: Mapping[str, str] = MappingProxyType({})
    known: Sequence[Modality] = ()
    holdout: float = 0
    seed: int = 0
    room: Room | None = None


ALL = Wanted()


def data_set(name: str, max_bytes: int | None = None, likelihood: Sequence[str] = (), wanted: Wanted = ALL) -> Dataset:
    """The shipped data set of this name, or the one in this file.

    Args:
        name: of a shipped set, of an ``.npz`` file, or of a description of folders and tables that ends in ``.toml``.
        max_bytes: refuse an ``.npz`` file that unpacks to more.
        likelihood: ``name=likelihood`` texts; what is guessed without being sure is said.
        wanted: all else.
    """
    chosen = {key: str(value) for key, value in assignments(likelihood, "--likelihood").items()}
    wanted = wanted._replace(likelihood=chosen)
    return apart(_made, name, max_bytes, wanted) if wanted.room else _made(name, max_bytes, wanted)


def _made(name: str, max_bytes: int | None, wanted: Wanted) -> Dataset:
    return source(name, max_bytes)(wanted)


def source(name: str, max_bytes: int | None) -> Callable[[Wanted], Dataset]:
    """What makes the named data a data set; a file is read and checked at once."""
    if name in datasets.NAMES:
        return partial(_shipped, name)
    if not name.endswith((".npz", ".toml")) and not os.path.exists(name):
        raise ValueError(f"unknown data {name!r}: give an .npz or .toml file or one of {', '.join(datasets.NAMES)}")
    if name.lower().removesuffix(".gz").endswith(TABLES):
        raise ValueError(
            f"{name!r} is a table, whose columns are described in a file, say mine.toml, that --data names: it holds "
            f'[modalities.NAME] kind = "vector" table = "{Path(name).name}" columns = ["COLUMN"] (docs/data.md)'
        )
    if name.endswith(".toml"):
        from ppvae.data import description  # late: it takes torch

        return partial(_described, description.described(name))
    return partial(_read, reader.arrays_in(name, max_bytes))


def _shipped(name: str, wanted: Wanted) -> Dataset:
    if wanted.likelihood:
        raise ValueError(f"the shipped data set {name} says its likelihoods itself; leave --likelihood out")
    return datasets.load(name)


def _described(items: Items, wanted: Wanted) -> Dataset:
    from ppvae.data import description

    if wanted.likelihood:
        raise ValueError(f"{str(items.path)!r} says its likelihoods itself: write them there, not after --likelihood")
    rows = split_rows(len(items.ids), 1 - wanted.holdout, wanted.seed)[0] if wanted.holdout else None
    return _asking(lambda: description.data_set(items, rows, wanted.known, wanted.room))


def _read(arrays: Mapping[str, np.ndarray], wanted: Wanted) -> Dataset:
    return _asking(lambda: reader.data_set(arrays, wanted.likelihood, wanted.known))


@contextmanager
def room(data: str, memory: int | None, run: Path) -> Iterator[Room | None]:
    """Room on disk beside a run, within the block, for the numbers that a description leads to.

    Raises:
        ValueError: the data are no description.
    """
    if memory is None:
        yield None
        return
    if not data.endswith(".toml"):
        raise ValueError(f"--memory is for a description in .toml; {data!r} is read as a whole")
    from ppvae.data.description import Room

    run.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{run.name}.", dir=run.parent) as folder:
        yield Room(Path(folder), memory)


def _asking(make: Callable[[], Dataset]) -> Dataset:
    """A data set; what it warns of is said."""
    with warnings.catch_warnings(record=True) as asked:
        warnings.simplefilter("always", UserWarning)
        data = make()
    for warning in asked:
        command.say(f"Warning: {warning.message}")
    return data


def assignments(pairs: Sequence[str], option: str = "--set") -> dict[str, Any]:
    """``key=value`` texts as a dict; a value is JSON where it can be read so, else text."""
    found: dict[str, Any] = {}
    for text in pairs:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise ValueError(f"{option} takes key=value, not {text!r}")
        if key in found:
            raise ValueError(f"{option} {key} is given twice")
        found[key] = _value(value)
    return found


def sorted_out(method: str, flags: Mapping[str, Any], pairs: Sequence[str]) -> tuple[Settings, dict[str, Any]]:
    """What was set on the command line, as settings of the run and as options of the method.

    Args:
        method: the method, or ``file.py:function``.
        flags: settings and options with a flag of their own, None where not given.
        pairs: the ``key=value`` texts of ``--set``.

    Raises:
        ValueError: something is set twice, a setting is wrong, or there is no such method.
    """
    given, chosen = {key: value for key, value in flags.items() if value is not None}, assignments(pairs)
    for key in chosen:
        if key in given:
            raise ValueError(f"{key} is set twice, by --set and by --{key.replace('_', '-')}")
    both = {**given, **chosen}
    programs.find(method)
    settings = {key: value for key, value in both.items() if key in Settings.model_fields}
    return settings_of(**settings), {key: value for key, value in both.items() if key not in settings}


def split(data: Dataset, holdout: float, seed: int) -> tuple[Dataset, Dataset | None]:
    """The rows to train on, and those held out: None where none are."""
    if not holdout:
        return data, None
    return data.counted().split(1 - holdout, seed)


def weights(data: Dataset, label: str | None) -> np.ndarray | None:
    """How much each row counts, which a label of the data says; None without one.

    Raises:
        ValueError: the data have no such label, or it does not hold numbers of 0 or more.
    """
    if label is None:
        return None
    from ppvae.data.weights import checked
    from ppvae.metrics.classifiers import labels

    return checked(labels(data, label), len(data))


class LookedAt(NamedTuple):
    """A run, and what it is judged by.

    ``seen`` says whether training saw the rows, None where nobody knows; ``train`` are the rows that it saw where these
    are others.
    """

    fitted: Fitted
    rows: Dataset
    seen: bool | None
    train: Dataset | None


def parted(fitted: Fitted, data: Dataset) -> tuple[Dataset, Dataset | None]:
    """The rows that the run trained on, and those that it held out, if any.

    Raises:
        ValueError: these data are not those of the run.
    """
    from ppvae.training.fit import data_key

    kept = fitted.notes.get("holdout") or {"fraction": 0, "seed": 0}
    train, test = split(data, kept["fraction"], kept["seed"])
    if data_key(train, weights(train, fitted.notes.get("weights"))) != fitted.notes.get("data"):
        raise ValueError("the run was trained on other data, so none of these rows are its held-out ones; add --all")
    return train, test


def _own(folder: Path, fitted: Fitted) -> str:
    """The name of the run's own data.

    Raises:
        ValueError: the run does not say what its own are.
    """
    if (name := fitted.notes.get("data_set")) is None:
        raise ValueError(f"the run {str(folder)!r} does not say what it was trained on: add --data NAME or file.npz")
    return name


def known(
    folder: Path, data: str | None, max_bytes: int | None, made_by: str | None, backend: str | None, device: str | None
) -> tuple[Fitted, Dataset]:
    """A run, and the named data or its own."""
    checkpoint.opened(folder)
    named = None if data is None else source(data, max_bytes)
    fitted = run(folder, made_by, backend, device)
    found = named or source(_own(folder, fitted), max_bytes)
    return fitted, found(Wanted(known=fitted.modalities))


def looked_at(
    folder: Path,
    data: str | None,
    every: bool,
    max_bytes: int | None,
    made_by: str | None,
    backend: str | None,
    device: str | None,
) -> LookedAt:
    """A run, and the rows to judge it by: those that it held out, or every one."""
    fitted, rows = known(folder, data, max_bytes, made_by, backend, device)
    if every:
        return LookedAt(fitted, rows, None if data is not None else True, None)
    train, test = parted(fitted, rows)
    return LookedAt(fitted, rows, True, None) if test is None else LookedAt(fitted, test, False, train)


def run(folder: Path, made_by: str | None, backend: str | None = None, device: str | None = None) -> Fitted:
    """The fitted pair in a run folder, rebuilt from ``file.py:function`` where it is of a user's own programs."""
    changes = {key: value for key, value in {"backend": backend, "device": device}.items() if value is not None}
    settings_of(**changes)
    if made_by is not None and not programs.is_file(made_by):
        raise ValueError(f"--programs takes file.py:function, not {made_by!r}")
    described = checkpoint.opened(folder).description
    if made_by is None and described.recipe is None:
        hint = described.notes.method or "file.py:function"
        raise ValueError(f"the run {str(folder)!r} is of your own programs: add --programs {hint}")
    made = made_by and programs.pair(made_by, described.measured(), described.notes.options or {})
    from ppvae.training import loading

    fitted = loading.load(folder, made or None)
    return replace(fitted, settings=fitted.settings.model_copy(update=changes))


def check_memory(fitted: Fitted, ask: Sequence[str] | None, draws: int, items: int) -> None:
    """Raise ValueError where so many draws of so many items cannot be held: all of them, and once more while joined."""
    numbers = sum(math.prod(m.shape) for m in fitted.modalities if ask is None or m.name in ask)
    needed, held = 2 * 4 * draws * items * numbers, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if needed > held:
        asked = f"{draws} x {items} x {numbers} numbers"
        raise ValueError(f"{asked} take {needed / 1e9:,.0f} GB, and this machine has {held / 1e9:,.0f}; ask for fewer")


def names(text: str | None) -> list[str] | None:
    """Names from ``a,b``; None stays None."""
    found = None if text is None else [name.strip() for name in text.split(",") if name.strip()]
    if found == []:
        raise ValueError(f"{text!r} names no modality")
    return found


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
