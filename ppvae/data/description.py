"""Description: a TOML file that says which folders and tables hold what was measured of the items, joined by id."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ppvae.data.columns import names, numbers, rest, table, texts
from ppvae.data.dataset import Dataset
from ppvae.data.entries import Captions, Description, Numbers, Traces, parsed
from ppvae.data.ids.alike import check_apart
from ppvae.data.ids.folders import by_file, files, named
from ppvae.data.preprocessing import Preprocessing, library_of, preprocessing
from ppvae.data.stored import encoded
from ppvae.language.modality import Modality

COPIES = 4  # of the data that training in memory holds: all rows, those to train on, and both while they are made
LIKELIHOODS = {"text": "autoregressive", "image": "logistic", "category": "categorical"}  # where there are levels


class Items(NamedTuple):
    """What a description leads to: ids of all items, and by modality what each has: a file, words, numbers."""

    path: Path
    description: Description
    ids: list[str]
    found: dict[str, Any]
    labels: dict[str, dict[str, str]]


class Room(NamedTuple):
    """A folder for numbers on disk, and the bytes of memory above which they lie there."""

    folder: Path
    memory: int


def described(path: str | Path) -> Items:
    """The items of a description; files in folders are found, and not yet read.

    Args:
        path: the TOML file; folders and tables in it are named from where it lies.

    Raises:
        ValueError: it is missing or wrong, which the sentence says by its key, or so is a folder or table; an id is
            there twice; or a modality has no id in common with the others.
    """
    path = Path(path)
    description = parsed(path)
    kept: list[Any] = [*description.modalities.values(), *description.labels.values()]
    alone = len({_folder(entry) or entry.table for entry in kept}) == 1
    filed: dict[str, dict[str, Path]] = {}
    by_name: dict[str, str] = {}
    for name, entry in description.modalities.items():
        with _at(path, f"modalities.{name}"):
            Modality(name, ())
            if folder := _folder(entry):
                filed[name] = files(path.parent / folder, library_of(entry.kind).SUFFIXES)
                by_name |= named(path.parent / folder, filed[name])
    found: dict[str, Any] = {}
    labels: dict[str, Any] = {}
    for key, entries, into in (("modalities", description.modalities, found), ("labels", description.labels, labels)):
        for name, each in entries.items():
            with _at(path, f"{key}.{name}"):
                into[name] = filed[name] if _folder(each) else by_file(_cells(path, each, kept, alone), by_name)
    ids = list(dict.fromkeys(identity for held in found.values() for identity in _ids(held)))
    _check_joined(path, found, labels)
    return Items(path, description, ids, found, labels)


def data_set(
    items: Items,
    rows: Sequence[int] | np.ndarray | None = None,
    known: Sequence[Modality] = (),
    room: Room | None = None,
) -> Dataset:
    """The items as a data set; what an id lacks is a hole.

    Args:
        items: what :func:`described` found.
        rows: those to train on, which alone say how pictures, texts and sounds become numbers; all where left out.
        known: modalities of a run, which say it themselves.
        room: where the numbers are to lie if there is no room for them in memory.

    Raises:
        ValueError: a file is damaged, or what is there does not make a modality.
    """
    train = items.ids if rows is None else [items.ids[row] for row in rows]
    told = {modality.name: modality for modality in known}
    entries = items.description.modalities
    frames = {name: held.reindex(items.ids) for name, held in items.found.items() if isinstance(entries[name], Numbers)}
    likelihood = {name: chosen for name in frames if name not in told and (chosen := entries[name].likelihood)}
    things = [name for name in entries if name not in frames]
    made = {name: _preprocessing(items, name, told.get(name), train) for name in things}
    modalities = [_modality(items, name, made[name]) for name in things if name not in told]
    modalities += [told[name] for name in entries if name in told]
    arrays, observed = _encoded(items, made, room)
    labels: dict[str, Any] = {
        name: [held.get(identity) for identity in items.ids] for name, held in items.labels.items()
    }
    ids = None if frames else np.array(items.ids)  # those of data frames are their index
    return Dataset({**arrays, **frames}, observed, labels, modalities, likelihood, ids)


def _encoded(
    items: Items, made: Mapping[str, Preprocessing], room: Room | None
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The numbers of all things and where there were any, in memory or, where they are too many, on disk."""
    size = 4 * len(items.ids) * sum(math.prod(each.shape) for each in made.values())
    arrays: dict[str, Any] = {}
    observed: dict[str, np.ndarray] = {}
    for name, each in made.items():
        last: list[str] = []
        with _at(items.path, f"modalities.{name}", last):
            things = _things(items, name, items.ids, last)
            if room is None or COPIES * size <= room.memory:
                arrays[name], observed[name] = each.encode(things)
            else:
                arrays[name], observed[name] = encoded(room.folder / name, each, things, len(items.ids))
    return arrays, observed


def _preprocessing(items: Items, name: str, known: Modality | None, train: Sequence[str]) -> Preprocessing:
    """What the run knows, else what the training rows say."""
    entry: Any = items.description.modalities[name]
    options = entry.model_dump(exclude_unset=True, exclude={"kind", "folder", "table", "id", "column", "likelihood"})
    with _at(items.path, f"modalities.{name}"):
        if known is None:
            made: Preprocessing = library_of(entry.kind).fitted(_things(items, name, train), **options)
            return made
        told = known.preprocessing or {"kind": "vector"}
        if told.get("kind") != entry.kind:
            raise ValueError(f"the run knows it as {told.get('kind')}, and here it is of kind {entry.kind}")
        return preprocessing(name, told)


def _modality(items: Items, name: str, made: Preprocessing) -> Modality:
    entry: Any = items.description.modalities[name]
    kind = "vector" if entry.kind == "category" else entry.kind
    likelihood = entry.likelihood or ("normal" if made.levels is None else LIKELIHOODS[entry.kind])
    with _at(items.path, f"modalities.{name}"):
        return Modality(name, made.shape, likelihood, levels=made.levels, kind=kind, preprocessing=made.plain())


def _things(items: Items, name: str, ids: Sequence[str], last: list[str] | None = None) -> Iterator[Any]:
    """What each id has, read from its file where it is one; None where it has nothing. ``last`` is the latest id."""
    entry: Any = items.description.modalities[name]
    found = items.found[name]
    read = library_of(entry.kind).read if _folder(entry) else lambda thing: thing
    for identity in ids:
        if last is not None:
            last[:] = [identity]
        yield read(found[identity]) if identity in found else None


def _folder(entry: Any) -> str | None:
    """The folder whose files are the things of an entry, None where a table holds them."""
    found: str | None = getattr(entry, "folder", None)
    return found


def _cells(path: Path, entry: Any, entries: Sequence[Any], alone: bool) -> Any:
    """What a table holds by id, or by row where it is ``alone`` and has none: a frame of numbers, texts or series.

    Numbers whose columns are not named are those of all columns that none of the ``entries`` names.
    """
    file = path.parent / entry.table
    if isinstance(entry, Traces):
        return library_of(entry.kind).several(file, entry.id)
    frame = table(file, entry.id, counted=alone)
    if isinstance(entry, Numbers):
        return numbers(frame, entry.columns or rest(frame, _named(entry.table, entries), file), file)
    return (texts if isinstance(entry, Captions) else names)(frame, entry.column, file)


def _named(file: str, entries: Sequence[Any]) -> Iterator[str]:
    """The columns of a table that entries name."""
    for entry in entries:
        if getattr(entry, "table", None) == file:
            told = entry.model_dump(include={"id", "column", "columns"})
            yield from told.pop("columns", None) or ()
            yield from filter(None, told.values())


def _ids(found: Any) -> Any:
    return found.index if hasattr(found, "index") else found


def _check_joined(path: Path, found: Mapping[str, Any], labels: Mapping[str, Any]) -> None:
    """Raise ValueError where a modality or label shares no id with another modality."""
    for name, held in {**found, **labels}.items():
        others = [other for key, other in found.items() if key != name]
        if others and not any(set(_ids(held)) & set(_ids(other)) for other in others):
            own, theirs = (repr(next(iter(_ids(each)), None)) for each in (held, others[0]))
            raise ValueError(
                f"{str(path)!r}: {name} has no id in common with another: one of its own is {own}, of theirs {theirs}"
            )
    try:
        check_apart({name: _ids(held) for name, held in {**found, **labels}.items()})
    except ValueError as error:
        raise ValueError(f"{str(path)!r}: {error}") from None


@contextmanager
def _at(path: Path, key: str, last: Sequence[str] = ()) -> Iterator[None]:
    """Mistakes in the block are those at a key of the file, and of the ``last`` id."""
    try:
        yield
    except ValueError as error:
        of = "".join(f"of the id {identity!r}: " for identity in last)
        raise ValueError(f"{str(path)!r}: {key}: {of}{error}") from None
