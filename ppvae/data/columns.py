"""Columns: captions, numbers and categories from a CSV or parquet file, by the id of their row."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ppvae.data.preprocessing.extra import extra
from ppvae.language.intake import EXACT, too_long

HOLES = ("", "na", "n/a", "nan", "null", "none")  # among numbers; of texts the empty one alone
DOUBTFUL = ("na", "n/a", "nan", "null", "<na>")  # among texts: what may be a hole, and may be a name
PARQUET = (".parquet", ".pq")
PLAIN = ("string", "integer", "floating", "mixed-integer-float", "boolean", "decimal", "empty")  # by pandas' names


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

    Warns:
        UserWarning: a cell reads as what other programs write where nothing is known.

    Raises:
        ValueError: there is no such column.
    """
    _check_columns(frame, [column], path)
    there = frame[column].dropna()
    warn_of_holes(f"{str(path)!r}, column {column!r}", there.unique())
    return dict(zip(there.index, there.astype(str), strict=True))


def warn_of_holes(where: str, names: Iterable[Any]) -> None:
    """Warn where a name or text reads as what other programs write where nothing is known."""
    if doubtful := [name for name in names if str(name).strip().lower() in DOUBTFUL]:
        warnings.warn(
            f"{where}: {doubtful[0]!r} is taken as a text; leave empty what is missing", UserWarning, stacklevel=3
        )


def numbers(frame: Any, columns: Sequence[str], path: Path) -> Any:
    """The named columns as numbers, NaN in holes.

    Raises:
        ValueError: there is no such column, or a cell is no number.
    """
    _check_columns(frame, columns, path)
    pandas = extra("pandas")
    found = {}
    for name in columns:
        if (held := pandas.api.types.infer_dtype(frame[name], skipna=True)) not in PLAIN:
            raise ValueError(f"{str(path)!r} holds {held} values, no numbers, in column {name!r}")
        text = frame[name].astype("string").str.strip()
        cells = frame[name].mask(text.str.lower().isin(HOLES).fillna(False).astype(bool))
        read = pandas.to_numeric(cells, errors="coerce")
        found[name] = read.astype(float)
        if pandas.api.types.is_integer_dtype(read) and (read.abs() > EXACT).any():
            raise too_long(f"{str(path)!r}, column {name!r}")
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
            frame = pandas.read_parquet(path).convert_dtypes()
            return frame if frame.index.name is None else frame.reset_index()
        apart = "\t" if ".tsv" in path.name.lower() else ","  # packed ones end in .tsv.gz
        with warnings.catch_warnings():
            warnings.simplefilter("error", pandas.errors.ParserWarning)  # of rows that are longer than the header
            return pandas.read_csv(path, sep=apart, dtype=str, keep_default_na=False, na_values=[""], index_col=False)
    except Exception as error:  # parsers raise nearly everything when bytes are wrong
        longer = isinstance(error, pandas.errors.ParserWarning)
        first = "a row has more cells than the header" if longer else (str(error).splitlines() or ["it is damaged"])[0]
        raise ValueError(f"cannot read {str(path)!r} as a table: {first}") from None


def _check_columns(frame: Any, names: Sequence[str], path: Path) -> None:
    if missing := [name for name in names if name not in frame]:
        raise ValueError(f"{str(path)!r} has no column {missing[0]!r}; it has {', '.join(map(str, frame.columns))}")
