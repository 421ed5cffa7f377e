"""Description: a TOML file that says which folders and tables hold what was measured of the items, joined by id."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, ValidationError

from ppvae.data.columns import numbers, table, texts
from ppvae.data.dataset import Dataset
from ppvae.data.preprocessing import Preprocessing, library_of, preprocessing
from ppvae.language.modality import Modality

LIKELIHOODS = {"text": "autoregressive", "image": "logistic", "category": "categorical"}  # where there are levels


class Entry(BaseModel):
    """What every modality may say of itself."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    likelihood: str | None = None


class Pictures(Entry):
    """A folder of pictures; the id of each is its name without the ending."""

    kind: Literal["image"]
    folder: str
    size: tuple[PositiveInt, PositiveInt] | None = None
    channels: Literal[1, 3] | None = None
    levels: Literal[256] | None = None


class Recordings(Entry):
    """A folder of sounds; the id of each is its name without the ending."""

    kind: Literal["sound"]
    folder: str
    rate: PositiveInt | None = None
    bands: PositiveInt = 32
    seconds: PositiveFloat | None = None
    hop: PositiveFloat = 0.01
    window: PositiveFloat = 0.04


class Traces(Entry):
    """A folder of CSV files, each a series with a column ``time``; the id of each is its name without the ending."""

    kind: Literal["series"]
    folder: str
    start: float | None = None
    step: PositiveFloat | None = None
    times: PositiveInt | None = None


class Captions(Entry):
    """A column of texts in a table."""

    kind: Literal["text"]
    table: str
    id: str = "id"
    column: str
    tokens: Literal["characters", "words", "bpe"] = "characters"
    vocabulary: PositiveInt | None = None
    length: PositiveInt | None = None


class Names(Entry):
    """A column of categories in a table."""

    kind: Literal["category"]
    table: str
    id: str = "id"
    column: str


class Numbers(Entry):
    """Columns of numbers in a table."""

    kind: Literal["vector"]
    table: str
    id: str = "id"
    columns: Annotated[list[str], Field(min_length=1)]


class Label(BaseModel):
    """A column of labels in a table: never seen by a program."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    table: str
    id: str = "id"
    column: str


class Description(BaseModel):
    """The whole file: modalities and labels by name."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    modalities: Annotated[
        dict[str, Annotated[Pictures | Recordings | Traces | Captions | Names | Numbers, Field(discriminator="kind")]],
        Field(min_length=1),
    ]
    labels: dict[str, Label] = {}


class Items(NamedTuple):
    """What a description leads to: ids of all items, and by modality what each id has: a file, a text or numbers."""

    path: Path
    description: Description
    ids: list[str]
    found: dict[str, Any]
    labels: dict[str, dict[str, str]]


def described(path: str | Path) -> Items:
    """The items of a description; files in folders are found, and not yet read.

    Args:
        path: the TOML file; folders and tables in it are named from where it lies.

    Raises:
        ValueError: it is missing or wrong, which the sentence says by its key, or so is a folder or table; an id is
            there twice; or a modality has no id in common with the others.
    """
    path = Path(path)
    description = _parsed(path)
    found: dict[str, Any] = {}
    for name, entry in description.modalities.items():
        with _at(path, f"modalities.{name}"):
            Modality(name, ())
            found[name] = _files(path.parent / entry.folder, entry.kind) if _in_folder(entry) else _cells(path, entry)
    ids = list(dict.fromkeys(identity for held in found.values() for identity in _ids(held)))
    labels = {}
    for name, label in description.labels.items():
        with _at(path, f"labels.{name}"):
            labels[name] = _cells(path, label)
    _check_joined(path, found, labels)
    return Items(path, description, ids, found, labels)


def data_set(items: Items, rows: Sequence[int] | np.ndarray | None = None, known: Sequence[Modality] = ()) -> Dataset:
    """The items as a data set; what an id lacks is a hole.

    Args:
        items: what :func:`described` found.
        rows: those to train on, which alone say how pictures, texts and sounds become numbers; all where left out.
        known: modalities of a run, which say it themselves.

    Raises:
        ValueError: a file is damaged, or what is there does not make a modality.
    """
    train = items.ids if rows is None else [items.ids[row] for row in rows]
    told = {modality.name: modality for modality in known}
    arrays: dict[str, Any] = {}
    observed: dict[str, np.ndarray] = {}
    modalities = [told[name] for name in items.found if name in told]
    likelihood = {}
    for name, entry in items.description.modalities.items():
        with _at(items.path, f"modalities.{name}"):
            if isinstance(entry, Numbers):
                arrays[name] = items.found[name].reindex(items.ids)
                likelihood |= {name: entry.likelihood} if entry.likelihood and name not in told else {}
                continue
            made = _preprocessing(entry, told.get(name), name, items.found[name], train)
            arrays[name], observed[name] = made.encode(_things(entry, items.found[name], items.ids))
            modalities += [] if name in told else [_modality(name, entry, made)]
    numbered = any(isinstance(entry, Numbers) for entry in items.description.modalities.values())
    labels = {name: [held.get(identity) for identity in items.ids] for name, held in items.labels.items()}
    ids = None if numbered else np.array(items.ids)  # those of data frames are their index
    return Dataset(arrays, observed, labels, modalities, likelihood, ids)


def _preprocessing(
    entry: Any, known: Modality | None, name: str, found: Mapping[str, Any], train: Sequence[str]
) -> Preprocessing:
    """What the run knows, else what the training rows say."""
    if known is not None:
        return preprocessing(name, known.preprocessing or {})
    options = entry.model_dump(exclude_unset=True, exclude={"kind", "folder", "table", "id", "column", "likelihood"})
    made: Preprocessing = library_of(entry.kind).fitted(_things(entry, found, train), **options)
    return made


def _modality(name: str, entry: Any, made: Preprocessing) -> Modality:
    kind = "vector" if entry.kind == "category" else entry.kind
    likelihood = entry.likelihood or ("normal" if made.levels is None else LIKELIHOODS[entry.kind])
    return Modality(name, made.shape, likelihood, levels=made.levels, kind=kind, preprocessing=made.plain())


def _things(entry: Any, found: Mapping[str, Any], ids: Sequence[str]) -> Iterator[Any]:
    """What each id has, read from its file where it is one; None where it has nothing."""
    read = library_of(entry.kind).read if _in_folder(entry) else str
    for identity in ids:
        yield read(found[identity]) if identity in found else None


def _in_folder(entry: Any) -> bool:
    return hasattr(entry, "folder")


def _files(folder: Path, kind: str) -> dict[str, Path]:
    """The files of a kind in a folder, by their names without the ending, in order."""
    if not folder.is_dir():
        raise ValueError(f"there is no folder {str(folder)!r}")
    suffixes = library_of(kind).SUFFIXES
    found: dict[str, Path] = {}
    for file in sorted(folder.iterdir()):
        if file.suffix.lower() in suffixes and not file.name.startswith("."):
            if file.stem in found:
                raise ValueError(f"the id {file.stem!r} is there twice, as {found[file.stem].name} and as {file.name}")
            found[file.stem] = file
    if not found:
        raise ValueError(f"the folder {str(folder)!r} holds no file that ends in {', '.join(suffixes)}")
    return found


def _cells(path: Path, entry: Any) -> Any:
    """What a table holds by id: a data frame of numbers, or a dict of texts."""
    file = path.parent / entry.table
    frame = table(file, entry.id)
    return numbers(frame, entry.columns, file) if isinstance(entry, Numbers) else texts(frame, entry.column, file)


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


def _parsed(path: Path) -> Description:
    if not path.is_file():
        raise ValueError(f"there is no data file {str(path)!r}")
    try:
        return Description.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        raise ValueError(f"{str(path)!r}: {_told(error)}") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ValueError(f"cannot read {str(path)!r} as TOML: {error}") from None


def _told(error: ValidationError) -> str:
    """The first thing that is wrong, by its key in the file."""
    first = error.errors()[0]
    top, *inner = first["loc"]
    key = ".".join(
        map(str, [top, *inner[:1], *inner[2 if top == "modalities" else 1 :]])
    )  # without the name of the kind
    match first["type"]:
        case "extra_forbidden":
            return f"there is no key {key}; is it misspelled?"
        case "missing" | "union_tag_not_found":
            return f"the key {key}{'.kind' if first['type'] != 'missing' else ''} is missing"
        case "union_tag_invalid":
            return f"{key}.kind is {first['ctx']['tag']!r}; choose one of {first['ctx']['expected_tags']}"
    return f"{key} is {first['input']!r}: {first['msg'].lower()}"


@contextmanager
def _at(path: Path, key: str) -> Iterator[None]:
    """Mistakes in the block are those at a key of the file."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{str(path)!r}: {key}: {error}") from None
