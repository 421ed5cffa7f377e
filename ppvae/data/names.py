"""Names: columns of strings, as tables hold categories and texts, become numbers, and numbers become names again."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ppvae.data.columns import HOLES, warn_of_holes
from ppvae.data.preprocessing import preprocessing
from ppvae.data.preprocessing.categories import Categories, warn_of_twins
from ppvae.language.guesses import FEW
from ppvae.language.intake import is_missing, library
from ppvae.language.modality import Modality

WORDS = ("category", "text")  # kinds of things that a cell of a table holds
PARTED = re.compile(r"(?<=\d)[,.'’\s](?=\d{3}(?!\d))")  # what parts thousands


class Column(NamedTuple):
    """Names ``(items,)``, None in holes, and those that its type says there may be, in their order."""

    names: list[Any]
    said: tuple[Any, ...] | None = None


def numbered(
    arrays: Mapping[str, Any], known: Sequence[Modality]
) -> tuple[dict[str, Any], dict[str, tuple[Modality, str]]]:
    """The arrays with numbers in place of names, NaN in holes; the modalities of names, and why they are categories.

    Names are the strings of a column, of which an empty one is a hole, and whatever a categorical of pandas holds. Of a
    known modality of categories all that pandas holds are names, and plain arrays are its numbers.

    Warns:
        UserWarning: a name is none of a known modality's, or reads as if it said that nothing is there.

    Raises:
        ValueError: nearly every item has another string, or the strings are numbers.
    """
    found, made = dict(arrays), {}
    told = {m.name: m for m in known}
    for name, given in arrays.items():
        kind = (told[name].preprocessing or {}).get("kind") if name in told else None
        column = _column(given, kind == "category") if name not in told or kind in WORDS else None
        if column is None:
            continue
        if name not in told:
            categories = _categories(name, column)
            made[name] = _modality(name, categories), "" if column.said else f"{categories.levels} different names"
        words = preprocessing(name, told[name].preprocessing or {}) if name in told else categories
        found[name] = _like(given, *words.encode(column.names))
    return found, made


def named(modality: Modality, values: np.ndarray) -> list[Any] | None:
    """What numbers ``(items, *shape)`` of a modality stand for, None in holes; None where it is not one of words."""
    if (modality.preprocessing or {}).get("kind") not in WORDS:
        return None
    there = np.isfinite(values).all(1)
    things = iter(preprocessing(modality.name, modality.preprocessing or {}).decode(values[there]))
    return [next(things) if seen else None for seen in there]


def renumbered(
    arrays: Mapping[str, Any], observed: Mapping[str, Any], own: Mapping[str, Modality], others: Sequence[Modality]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The arrays, with categories by the numbers that other modalities give to the same names, and their masks.

    Raises:
        ValueError: what is no category became numbers in another way.
    """
    found, masks = dict(arrays), dict(observed)
    for modality in others:
        name, before = modality.name, own.get(modality.name)
        if before is None or _alike(before, modality):
            continue
        if {(each.preprocessing or {})["kind"] for each in (before, modality)} != {"category"}:
            check_alike(before, modality)
        there = masks.pop(name, np.ones(len(arrays[name]), bool)).reshape(-1, 1)
        names = named(before, np.where(there, arrays[name], np.nan))
        found[name], seen = preprocessing(name, modality.preprocessing or {}).encode(names or [])
        masks |= {} if seen.all() else {name: seen}
    return found, masks


def check_alike(own: Modality, other: Modality) -> None:
    """Raise ValueError where things of two modalities became numbers in two ways."""
    if not _alike(own, other):
        raise ValueError(
            f"modality {own.name!r} became numbers in another way than in training, as of other names or sizes: make "
            "the data set with the run's, modalities=fitted.modalities, or data_set(described(file), "
            "known=fitted.modalities)"
        )


def _alike(own: Modality, other: Modality) -> bool:
    return None in (own.preprocessing, other.preprocessing) or own.preprocessing == other.preprocessing


def _modality(name: str, categories: Categories) -> Modality:
    told = categories.plain()
    return Modality(name, categories.shape, "categorical", levels=categories.levels, preprocessing=told)


def _column(given: Any, known: bool) -> Column | None:
    """The names of a column; None where it holds something else. What pandas holds of ``known`` ones are names."""
    pandas = library(given) == "pandas" and hasattr(given, "isna")
    if isinstance(given, list | tuple) and any(isinstance(value, str) for value in given):
        given = np.array(given, object)
    if isinstance(given, np.ma.MaskedArray) and given.dtype.names is None:
        given, missing = np.ma.getdata(given).astype(object), np.ma.getmaskarray(given)
        given[missing] = None
    if not (pandas or isinstance(given, np.ndarray)):
        return None
    if given.ndim == 2 and given.shape[1] == 1:
        given = given.iloc[:, 0] if pandas else given[:, 0]
    if given.ndim != 1:
        return None
    if (said := getattr(given.dtype, "categories", None)) is not None:
        return Column(_names(given), tuple(name for name in _names(said) if name is not None))
    if (known and pandas) or (given.dtype.kind in "OUST" and all(map(_is_text, np.asarray(given, object)))):
        return Column(_names(given))
    return None


def _is_text(value: Any) -> bool:
    return isinstance(value, str | bytes) or is_missing(value)


def _names(given: Any) -> list[Any]:
    """What a column holds as JSON holds it, None in holes."""
    return [_name(value) for value in np.asarray(given, object)]


def _name(value: Any) -> Any:
    value = value.decode(errors="replace") if isinstance(value, bytes) else value
    if is_missing(value) or value == "":
        return None
    return value if isinstance(value, bool | int | float | str) else str(value)


def _categories(name: str, column: Column) -> Categories:
    """The categories that a column says, or else its names, sorted."""
    names = [found for found in column.names if found is not None]
    if not names:
        raise ValueError(f"modality {name!r} has no value at all; leave it out, or declare it in modalities=")
    if column.said is not None:
        return Categories(column.said)
    different = sorted(set(names))
    held = f"modality {name!r} holds"
    if all(_is_number(text) for text in different):
        raise ValueError(
            f"{held} numbers written as text, such as {different[0][:40]!r}: they become numbers by "
            "pandas.to_numeric(x, errors='coerce'), and categories by astype('category')"
        )
    if all(map(_is_written, different)):
        raise ValueError(
            f"{held} numbers as people write them, such as {different[0][:40]!r}: they become numbers once all but "
            "digits, sign and decimal point is taken out, and categories by astype('category')"
        )
    if 2 * len(others := [text for text in different if not _is_written(text)]) < len(different):
        raise ValueError(
            f"{held} numbers written as text, such as {next(filter(_is_written, different))[:40]!r}, beside "
            f"{others[0][:40]!r}: they become numbers, and all else a hole, by pandas.to_numeric(x, errors='coerce'), "
            "and categories by astype('category')"
        )
    if len(different) > max(FEW, len(names) / 2):
        raise ValueError(
            f"{held} {len(different)} different texts in {len(names)} items, such as {different[0][:40]!r}: categories "
            "become such by astype('category'), what tells items apart belongs into ids or labels, and texts are "
            f"declared, modalities=[ppvae.data.preprocessing.text.modality({name!r}, x)]"
        )
    warn_of_holes(f"modality {name!r}", different)
    warn_of_twins(different)
    return Categories(tuple(different))


def _is_number(text: str) -> bool:
    """Is this a number, or else a hole among numbers?"""
    try:
        float(text)
    except ValueError:
        return text.strip().lower() in HOLES
    return True


def _is_written(text: str) -> bool:
    """Is this a number with a currency, a percent sign, parted thousands or a decimal comma, or a hole among such?"""
    bare = PARTED.sub("", text.strip().strip("$€£¥%").strip())
    return _is_number(text) or (bare != "" and _is_number(bare.replace(",", ".")))


def _like(given: Any, numbers: np.ndarray, there: np.ndarray) -> Any:
    """Numbers with NaN in holes, and with the index and the column's name of what held the names if it has them."""
    numbers = np.where(there[:, None], numbers, np.nan)
    if not (library(given) == "pandas" and hasattr(given, "iloc")):
        return numbers
    import pandas

    own = given.columns[0] if given.ndim == 2 else given.name
    return pandas.DataFrame(numbers, given.index, None if own is None or numbers.shape[1] > 1 else [own])
