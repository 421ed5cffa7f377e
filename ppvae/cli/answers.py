"""Answers: what was drawn, written as pictures, sounds, series and words where a run knows how, and as numbers."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ppvae.cli import places
from ppvae.data.preprocessing import library_of, preprocessing
from ppvae.inference.points import point
from ppvae.language.modality import Modality
from ppvae.runs.files import replacing

ENDINGS = {"image": ".png", "sound": ".wav", "series": ".csv"}  # of files that hold one thing; others are lines
NUMBERS = "numbers.npz"
OTHERS = {*ENDINGS.values(), ".npy", ".tsv", ".txt", ".json", ".parquet", ".h5", ".html"}  # whose writer wants a file
UNFIT = re.compile(r"[^\w/ .()+=@,;&!~'#-]|(?<![^/]) |[ .](?![^/])")  # in names of files, or first or last


def writable(out: Path, force: bool) -> Path:
    """The ``.npz`` file, or else the folder, to write to; it may be missing, or be empty, or used with ``force``.

    Raises:
        ValueError: it cannot be written, or something is there.
    """
    if out.suffix == ".npz":
        return places.writable_file(out, force)
    if out.exists() and not out.is_dir():
        raise ValueError(f"{str(out)!r} is no folder: answers are written to a folder, or to a file that ends in .npz")
    if out.suffix.lower() in OTHERS and not out.is_dir():
        raise ValueError(f"{str(out)!r} would be a folder: name it without {out.suffix}, or a file that ends in .npz")
    if out.is_dir() and any(out.iterdir()) and not force:
        raise ValueError(f"the directory {str(out)!r} is not empty: choose another name, or write into it with --force")
    return places.writable_folder(out)


def points(drawn: Mapping[str, np.ndarray], modalities: Sequence[Modality]) -> dict[str, np.ndarray]:
    """What stands for the draws ``(draws, items, *shape)`` of each modality, ``(items, *shape)``."""
    known = {m.name: m for m in modalities}
    return {name: point(known[name], values) for name, values in drawn.items()}


def write(
    out: Path, drawn: Mapping[str, np.ndarray], modalities: Sequence[Modality], ids: np.ndarray | None = None
) -> str:
    """Write what was drawn, ``(draws, items, *shape)`` or ``(items, *shape)`` by modality; returns where.

    An ``.npz`` file holds the arrays. A folder has a folder of files for each modality of pictures, sounds or series,
    named by the item's id, or its row, and the draw where there are several; a CSV file with a line an item and draw
    for one of words, or of numbers whose columns have names; and all other numbers in ``numbers.npz``.
    """
    if out.suffix == ".npz":
        return places.write(out, drawn)
    known = {m.name: m for m in modalities if m.preprocessing is not None or m.features is not None}
    for name in drawn.keys() & known.keys():
        shape = known[name].shape
        array = drawn[name].reshape(-1, drawn[name].shape[-1 - len(shape)], *shape)
        _write_one(out, known[name], array, ids)
    if rest := {name: array for name, array in drawn.items() if name not in known}:
        places.write(out / NUMBERS, rest)
    return str(out)


def _write_one(out: Path, modality: Modality, array: np.ndarray, ids: np.ndarray | None) -> None:
    """Things of one modality, or its columns, from numbers ``(draws, items, *shape)``."""
    if modality.preprocessing is not None:
        return _write_things(out, modality, array, ids)
    rows = ((item, draw, list(array[draw, item])) for item, draw in _pairs(array))
    _write_lines(out / f"{modality.name}.csv", list(map(str, modality.features or ())), rows, ids)


def _write_things(out: Path, modality: Modality, array: np.ndarray, ids: np.ndarray | None) -> None:
    name, told = modality.name, modality.preprocessing or {}
    made = preprocessing(name, told)
    if (made.shape, made.levels or modality.levels) != (modality.shape, modality.levels):
        raise ValueError(
            f"the preprocessing of modality {name!r} is damaged: it is of shape {made.shape}, not {modality.shape}"
        )
    things = ((item, draw, made.decode(array[draw, item, None])[0]) for item, draw in _pairs(array))
    if told["kind"] not in ENDINGS:
        _write_lines(out / f"{name}.csv", [name], ((item, draw, [thing]) for item, draw, thing in things), ids)
        return
    names = _file_names(array.shape[1], ids)
    for item, draw, thing in things:
        end = f"-{draw + 1}" if len(array) > 1 else ""
        file = out / name / f"{names[item]}{end}{ENDINGS[told['kind']]}"
        file.parent.mkdir(exist_ok=True, parents=True)
        with replacing(file) as temporary:
            library_of(told["kind"]).write(temporary, thing)


def _pairs(array: np.ndarray) -> Iterator[tuple[int, int]]:
    return ((item, draw) for item in range(array.shape[1]) for draw in range(len(array)))


def _write_lines(
    path: Path, columns: list[str], rows: Iterator[tuple[int, int, list[Any]]], ids: np.ndarray | None
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        lines = csv.writer(file)
        lines.writerow(["id", "draw", *columns])
        lines.writerows((item if ids is None else ids[item], draw + 1, *cells) for item, draw, cells in rows)


def _file_names(items: int, ids: np.ndarray | None) -> list[str]:
    """The ids, with folders where they have ``/`` and ``%`` and a code for what some systems do not take, or the rows.

    These, counted from 0, stand where an id is no path below, or two are alike but for their case.
    """
    names = [] if ids is None else [UNFIT.sub(_coded, str(identity)) for identity in ids]
    apart = len({name.casefold() for name in names}) == items
    if apart and all(re.fullmatch(r"[^/.][^/]{0,149}(/[^/.][^/]{0,149}){0,9}", name) for name in names):
        return names
    return [f"{row:0{len(str(items - 1))}}" for row in range(items)]


def _coded(unfit: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in unfit[0].encode(errors="surrogatepass"))
