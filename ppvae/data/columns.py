"""Columns: captions, numbers and categories from a CSV, parquet or feather file, by the id of their row."""

from __future__ import annotations

import csv
import re
import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ppvae.data.preprocessing.extra import extra
from ppvae.language.intake import EXACT, too_long

HOLES = ("", "na", "n/a", "nan", "null", "none", "#n/a", "<na>")  # among numbers; of texts the empty one alone
DOUBTFUL = ("na", "n/a", "nan", "null", "<na>")  # among texts: what may be a hole, and may be a name
BINARY = {".parquet": "read_parquet", ".pq": "read_parquet", ".feather": "read_feather"}
OTHERS = {  # what pandas reads by another function, and only with options of the user's
    ".dta": "read_stata",
    ".json": "read_json",
    ".jsonl": "read_json",
    ".ods": "read_excel",
    ".orc": "read_orc",
    ".pkl": "read_pickle",
    ".sas7bdat": "read_sas",
    ".sav": "read_spss",
    ".xls": "read_excel",
    ".xlsx": "read_excel",
}
TRUTHS = {"true": "1", "false": "0"}  # as pandas and R write them
DECIMAL = (
    r"[+-]?\d*,\d+([eE][+-]?\d+)?"  # in files that part their cells by semicolons, as Excel writes in half of Europe
)
THOUSANDS = r"[+-]?[1-9]\d{0,2}(\.\d{3})+"  # in the same half of Europe
IDS = "id"  # the column that tells the items, where nobody names another
PLAIN = ("string", "integer", "floating", "mixed-integer-float", "boolean", "decimal", "empty")  # by pandas' names


def table(path: Path, identity: str | None = None, counted: bool = False) -> Any:
    """A file as a data frame whose index is a column as text; cells of a CSV file are text.

    That is the column ``id`` where nobody names one, or else what pandas or R wrote as the index. Where there is
    neither, rows may be ``counted``: their ids are 0, 1, 2, ...

    Raises:
        ValueError: there is no such file or column, it is damaged, or an id is missing or stands there twice.
    """
    frame = cells(path)
    identity = identity or own_ids(frame)
    if counted and identity is None:
        return frame.set_axis(list(map(str, range(len(frame)))))
    identity = identity or IDS
    ids = ids_in(frame, identity, path)
    if ids.duplicated().any():
        twice = ids[ids.duplicated()].iloc[0]
        raise ValueError(f"{str(path)!r} has the id {twice!r} twice in its column {identity!r}; keep one row an item")
    return frame.set_axis(extra("pandas").Index(ids, name=identity))


def own_ids(frame: Any) -> str | None:
    """The column that tells the items apart where nobody names it: ``id`` in any case, or the index; None without."""
    alike = [name for name in frame.columns if str(name).lower() == IDS]
    return IDS if IDS in frame else alike[0] if len(alike) == 1 else frame.attrs.get("index")


def ids_in(frame: Any, identity: str, path: Path) -> Any:
    """A column of ids as text.

    Raises:
        ValueError: there is no such column, or an id is missing.
    """
    if identity not in frame:
        raise ValueError(f"{_lacking(frame, identity, path)}; name the one that tells the items apart as id")
    if frame[identity].isna().any():
        raise ValueError(f"{str(path)!r} has a row without an id in its column {identity!r}")
    return _plain(frame[identity].astype(str).str.normalize("NFC"))


def texts(frame: Any, column: str, path: Path) -> dict[str, str]:
    """The texts in a column by id, without those that are empty.

    Warns:
        UserWarning: a cell reads as what other programs write where nothing is known.

    Raises:
        ValueError: there is no such column.
    """
    _check_columns(frame, [column], path)
    there = frame[column].dropna().astype(str)
    there = there[there.str.strip() != ""]
    warn_of_holes(f"{str(path)!r}, column {column!r}", there.unique())
    return dict(zip(there.index, there, strict=True))


def names(frame: Any, column: str, path: Path) -> dict[str, str]:
    """The names in a column by id, without blanks around them: :func:`texts` otherwise."""
    found = texts(frame, column, path)
    return dict(zip(found, _plain(extra("pandas").Series(list(found.values()), dtype=str)), strict=True))


def _plain(texts: Any) -> Any:
    """Texts without blanks around them, and whole numbers as such if all are, which pandas writes 7.0 beside holes."""
    bare = texts.str.strip()
    return bare.str.removesuffix(".0") if bare.str.fullmatch(r"-?\d+\.0").all() else bare


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
        where = f"{str(path)!r}, column {name!r}"
        there = _written(frame[name], frame.attrs.get("decimal", False), where)
        read = pandas.to_numeric(there, errors="coerce")
        found[name] = read.astype(float)
        if pandas.api.types.is_integer_dtype(read) and (read.abs() > EXACT).any():
            raise too_long(where)
        if (wrong := found[name].isna() & there.notna()).any():
            cell, identity = there[wrong].iloc[0], there[wrong].index[0]
            raise ValueError(
                f"{str(path)!r} holds {str(cell)[:40]!r}, no number, in column {name!r} of id {identity!r}: leave "
                "empty what is missing, write numbers alone, as 1234.5, and make a column of names kind = 'category'"
            )
    return pandas.DataFrame(found, index=frame.index)


def _written(held: Any, decimal: bool, where: str) -> Any:
    """The cells of a column, with nothing where they say so, as programs write numbers."""
    if not decimal and not (held.notna() & extra("pandas").to_numeric(held, errors="coerce").isna()).any():
        return held  # as nearly all are
    text = held.astype("string").str.strip()
    there = held.mask(text.str.lower().isin(HOLES).fillna(False).astype(bool))
    there = _pointed(there, text, where) if decimal else there
    truths = text.str.lower().map(TRUTHS)
    return truths if truths.notna().any() and not (truths.isna() & there.notna()).any() else there


def _pointed(there: Any, text: Any, where: str) -> Any:
    """Cells with a point for the comma of decimals.

    Raises:
        ValueError: points may be either mark.
    """
    decimal = text.str.fullmatch(DECIMAL).fillna(False).astype(bool)
    if decimal.any() and (pointed := text[text.str.contains(".", regex=False).fillna(False).astype(bool)]).size:
        both = f"{text[decimal].iloc[0]!r} beside {pointed.iloc[0]!r}"
        raise ValueError(f"{where} holds {both}, so that the decimal mark may be either; write all with a point")
    held = text[there.notna()].astype(str)
    apart = held.str.fullmatch(THOUSANDS)
    if apart.any() and (apart | held.str.fullmatch(r"[+-]?\d{1,3}")).all():
        raise ValueError(
            f"{where} holds {held[apart].iloc[0]!r}, whose point may part thousands; write none, or a comma"
        )
    return there.mask(decimal, text.str.replace(",", "."))


def cells(path: Path) -> Any:
    """A file as a data frame whose columns are those of the file; cells of a CSV file are text.

    Its ``attrs`` say under ``index`` which column is the index that pandas or R wrote.

    Raises:
        ValueError: there is no such file, or it is damaged.
    """
    pandas = extra("pandas")
    if not path.is_file():
        raise ValueError(f"there is no file {str(path)!r}")
    if other := OTHERS.get(path.suffix.lower()):
        raise ValueError(
            f"cannot read {str(path)!r} as a table: save it as CSV or parquet, pandas.{other}(...).to_parquet(...)"
        )
    try:
        if reader := BINARY.get(path.suffix.lower()):
            return _indexed(getattr(pandas, reader)(path).convert_dtypes())
        with warnings.catch_warnings():
            warnings.simplefilter("error", pandas.errors.ParserWarning)  # of rows that are longer than the header
            return _of_text(path)
    except UnicodeError:
        raise ValueError(
            f"cannot read {str(path)!r} as a table: it is no text in UTF-8; save it as CSV in UTF-8, or as .parquet"
        ) from None
    except Exception as error:  # parsers raise nearly everything when bytes are wrong
        longer = isinstance(error, pandas.errors.ParserWarning)
        first = "a row has more cells than the header" if longer else (str(error).splitlines() or ["it is damaged"])[0]
        raise ValueError(f"cannot read {str(path)!r} as a table: {first}") from None


def _indexed(frame: Any) -> Any:
    """The frame with its index as a column, unless that only counts the rows."""
    name = frame.index.name or IDS
    counts = type(frame.index).__name__ == "RangeIndex" and frame.index.name is None
    if not counts and name not in frame:
        frame = frame.reset_index(names=name)
        frame.attrs["index"] = name
    return frame


def _of_text(path: Path) -> Any:
    """A text's cells as they are; what parts them is what its header holds most of, and in a ``.tsv`` a tab."""
    pandas = extra("pandas")
    line = pandas.read_csv(path, sep="\x1f", nrows=0, quoting=csv.QUOTE_NONE).columns[0]
    tabs = ".tsv" in path.name.lower()  # packed ones end in .tsv.gz
    apart = "\t" if tabs else max(",;\t", key=re.sub('"[^"]*"', "", line).count)
    header = [name.strip() for name in next(csv.reader([line], delimiter=apart))]
    frame, named = _rows(path, apart, header)
    frame.columns = frame.columns.str.strip()
    if IDS not in frame and "Unnamed: 0" in frame:
        frame, named = frame.rename(columns={"Unnamed: 0": IDS}), True
    frame.attrs |= {"index": IDS} if named else {}
    frame.attrs |= {"decimal": apart == ";", "twice": [name for name, times in Counter(header).items() if times > 1]}
    return frame


def _rows(path: Path, apart: str, header: list[str]) -> tuple[Any, bool]:
    """The cells below the header without what is empty at the end, and whether the first of each row names it.

    R leaves the header of the names out: then every row has a cell more, and the last column no hole. Between commas
    a cell more may be the decimals of another.
    """
    pandas = extra("pandas")
    read = partial(
        pandas.read_csv, path, sep=apart, dtype=str, keep_default_na=False, na_values=[""], index_col=False, header=0
    )
    try:
        frame, named = read(), False
    except pandas.errors.ParserWarning:
        if apart == ",":
            raise
        frame, named = read(names=[IDS, *header]), True
        if IDS in header or len({*header}) < len(header) or frame.iloc[:, -1].isna().any():
            raise
    empty = [name for name in frame.columns if str(name).startswith("Unnamed: ") and frame[name].isna().all()]
    there = frame.notna().any(axis=1).to_numpy().nonzero()[0]
    return frame.iloc[: there.max(initial=-1) + 1].drop(columns=empty), named


def rest(frame: Any, others: Iterable[str], path: Path) -> list[str]:
    """The columns of a table that neither tell the items apart nor are ``others``.

    Raises:
        ValueError: there is none.
    """
    apart = {frame.index.name, *others}
    if not (found := [name for name in frame.columns if name not in apart]):
        raise ValueError(f"{str(path)!r} has no column of numbers beside {', '.join(map(str, frame.columns))}")
    return found


def _check_columns(frame: Any, names: Sequence[str], path: Path) -> None:
    if missing := [name for name in names if name not in frame]:
        raise ValueError(_lacking(frame, missing[0], path))
    if twice := [name for name in names if name in frame.attrs.get("twice", ())]:
        raise ValueError(f"{str(path)!r} has the column {twice[0]!r} twice")


def _lacking(frame: Any, name: str, path: Path) -> str:
    return f"{str(path)!r} has no column {name!r}; it has {', '.join(map(str, frame.columns))}"
