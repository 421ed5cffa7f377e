"""Columns: captions, numbers and categories from a CSV or parquet file, by the id of their row."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ppvae.data.preprocessing.extra import extra

HOLES = ("", "na", "n/a", "nan", "null", "none")  # among numbers; of texts the empty one alone
PARQUET = (".parquet", ".pq")


def table(path: Path, identity: str) -> Any:
    """A file as a data frame whose index is the column ``identity`` as text; cells of a CSV file are text.

    Raises:
        ValueError: there is no such file or column, it is damaged, or an id is missing or stands there twice.
    """
    frame = _read(path)
    _check_columns(frame, [identity], path)
    if frame[identity].isna().any():
        raise ValueError(f"{str(path)!r} has a row without an id in its column {identity!r}")
    ids = frame.pop(identity).astype(str)
    if ids.duplicated().any():
        raise ValueError(f"{str(path)!r} has the id {ids[ids.duplicated()].iloc[0]!r} twice in its column {identity!r}")
    return frame.set_index(extra("pandas").Index(ids, name=identity))


def texts(frame: Any, column: str, path: Path) -> dict[str, str]:
    """The texts in a column by id, without those that are empty.

    Raises:
        ValueError: there is no such column.
    """
    _check_columns(frame, [column], path)
    there = frame[column].dropna()
    return dict(zip(there.index, there.astype(str), strict=True))


def numbers(frame: Any, columns: Sequence[str], path: Path) -> Any:
    """The named columns as numbers, NaN in holes.

    Raises:
        ValueError: there is no such column, or a cell is no number.
    """
    _check_columns(frame, columns, path)
    pandas = extra("pandas")
    found = {}
    for name in columns:
        text = frame[name].astype("string").str.strip()
        cells = frame[name].mask(text.str.lower().isin(HOLES).fillna(False).astype(bool))
        found[name] = pandas.to_numeric(cells, errors="coerce").astype(float)
        if (wrong := found[name].isna() & cells.notna()).any():
            cell, identity = cells[wrong].iloc[0], cells[wrong].index[0]
            raise ValueError(
                f"{str(path)!r} holds {str(cell)[:40]!r}, no number, in column {name!r} of id {identity!r}"
            )
    return pandas.DataFrame(found, index=frame.index)


def _read(path: Path) -> Any:
    pandas = extra("pandas")
    if not path.is_file():
        raise ValueError(f"there is no file {str(path)!r}")
    try:
        if path.suffix.lower() in PARQUET:
            return pandas.read_parquet(path).convert_dtypes()
        apart = "\t" if path.suffix.lower() == ".tsv" else ","
        return pandas.read_csv(path, sep=apart, dtype=str, keep_default_na=False, na_values=[""])
    except Exception as error:  # parsers raise nearly everything when bytes are wrong
        first = (str(error).splitlines() or ["it is damaged"])[0]
        raise ValueError(f"cannot read {str(path)!r} as a table: {first}") from None


def _check_columns(frame: Any, names: Sequence[str], path: Path) -> None:
    if missing := [name for name in names if name not in frame]:
        raise ValueError(f"{str(path)!r} has no column {missing[0]!r}; it has {', '.join(map(str, frame.columns))}")
