"""Rows of the study's results: CSV files that a killed run goes on from."""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

Row = dict[str, str]


def read(path: Path) -> list[Row]:
    """The rows of a file; none where there is no file yet."""
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def write(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write a file under another name and rename it, so that it is whole at any moment."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".tmp")
    with draft.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    os.replace(draft, path)


def put(path: Path, row: Mapping[str, Any], identity: Sequence[str]) -> None:
    """Add a row, in the place of one whose ``identity`` columns are the same and of those with another setting."""
    new = {name: text(value) for name, value in row.items()}
    same = {name: new[name] for name in identity}
    kept = [
        old
        for old in read(path)
        if old.keys() == new.keys() and old["setting"] == new["setting"] and {n: old[n] for n in identity} != same
    ]
    write(path, sorted([*kept, new], key=lambda r: [r[name] for name in identity]))


def done(path: Path, setting: str, **identity: Any) -> bool:
    """Is there a row of this identity, made under this setting?"""
    wanted = {"setting": setting, **{name: text(value) for name, value in identity.items()}}
    return any(all(row.get(name) == value for name, value in wanted.items()) for row in read(path))


def text(value: Any) -> str:
    """A value as a file holds it."""
    return f"{value:.6g}" if isinstance(value, float) else str(value)
