"""Frames: rows of pandas' data frames and series, joined by their index; arrays pass as they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from ppvae.data.ids.alike import check_apart
from ppvae.language.intake import as_mask, as_numbers, library, over


class Rows(NamedTuple):
    """Arrays, masks and labels whose rows are the same items; ids ``(items,)`` and features, where frames name them."""

    arrays: dict[str, Any]
    observed: dict[str, Any]
    labels: dict[str, Any]
    ids: np.ndarray | None
    features: dict[str, list[Any]]


def joined(arrays: Mapping[str, Any], observed: Mapping[str, Any], labels: Mapping[str, Any]) -> Rows:
    """Rows with the same id are one item: those of the first frame in its order, then what others have beside them.

    A frame without the id has a hole there, a label is missing there. Where every frame has the default index 0, 1,
    2, ... rows are paired by position, as those of arrays are; arrays stand beside frames whose ids are all the same,
    in the same order.

    Raises:
        ValueError: ids are missing, not unique or have nothing in common, or an array stands beside different ids.
    """
    frames = {name: array for name, array in arrays.items() if is_frame(array)}
    features = {name: columns for name, array in frames.items() if (columns := _features(array)) is not None}
    masks = {name: _mask(name, arrays[name], mask) for name, mask in observed.items() if name in arrays}
    named = [frame for frame in (*arrays.values(), *labels.values()) if is_frame(frame)]
    if not frames or all(_is_default(frame.index) for frame in named):
        return Rows(dict(arrays), masks, dict(labels), None, features)
    ids = _ids({name: frame.index for name, frame in frames.items()})
    alike = all(frame.index.equals(ids) for frame in frames.values())
    _check_plain([f"modality {name!r}" for name, array in arrays.items() if not is_frame(array)], alike)
    _check_plain([f"label {name!r}" for name, label in labels.items() if not is_frame(label)], alike)
    found, holes = dict(arrays), dict(masks)
    for name, frame in frames.items():
        found[name], holes[name] = _at(name, frame, masks.get(name), ids)
    marked = {name: _label_at(name, label, ids) if is_frame(label) else label for name, label in labels.items()}
    return Rows(found, holes, marked, names(ids), features)


def is_frame(given: Any) -> bool:
    """Is this a data frame or a series, whose rows have names?"""
    return library(given) == "pandas" and hasattr(given, "index") and hasattr(given, "iloc")


def _features(given: Any) -> list[Any] | None:
    """The names of a frame's columns, or of a series; None where it has none."""
    if given.ndim == 1:
        return None if given.name is None else [str(given.name)]
    return None if _is_default(given.columns) else names(given.columns).tolist()


def _is_default(index: Any) -> bool:
    return type(index).__name__ == "RangeIndex" and (index.start, index.step) == (0, 1)


def names(index: Any) -> np.ndarray:
    """An index as an array: its whole numbers as they are, all else as text."""
    values = index.to_numpy()
    return values if values.dtype.kind in "iu" else np.array([str(value) for value in values])


def _ids(indexes: Mapping[str, Any]) -> Any:
    """All ids, those of the first index in front."""
    for name, index in indexes.items():
        if index.nlevels == 1 and index.hasnans:
            raise ValueError(f"modality {name!r} has rows without an id: its index holds missing values")
        if not index.is_unique:
            twice = index[index.duplicated()].tolist()[0]
            raise ValueError(f"modality {name!r} has the id {twice!r} twice, so rows cannot be joined by their index")
        others = [other for key, other in indexes.items() if key != name]
        if others and not any(index.isin(other).any() for other in others):
            theirs = ", ".join(repr(other[:1].tolist()[0]) for other in others if len(other))
            raise ValueError(
                f"modality {name!r} has no id in common with another: its index holds {index[:1].tolist()}, "
                f"the others {theirs}; use set_index on the column that names the items"
            )
    check_apart({f"modality {name!r}": index for name, index in indexes.items()})
    ids, *rest = indexes.values()
    for index in rest:
        new = index[~index.isin(ids)]
        ids = ids.append(new) if len(new) else ids
    return ids


def _check_plain(names: list[str], alike: bool) -> None:
    if names and not alike:
        raise ValueError(
            f"{names[0]} is an array without ids, and the data frames beside it differ in theirs: "
            "give it an index too, as pandas.DataFrame or Series(values, index=ids)"
        )


def _mask(name: str, array: Any, mask: Any) -> Any:
    """A mask in the order of its modality's rows and columns, if both have names."""
    if not (is_frame(array) and is_frame(mask)):
        return mask
    what = f"the mask of modality {name!r}"
    if not mask.index.is_unique or not array.index.isin(mask.index).all():
        raise ValueError(f"{what} must have each id of the modality once in its index")
    if mask.ndim == 2 and array.ndim == 2 and not mask.columns.equals(array.columns):
        if not mask.columns.is_unique or set(mask.columns) != set(array.columns):
            raise ValueError(f"{what} must have the same columns as the modality")
        mask = mask[array.columns]
    return mask if mask.index.equals(array.index) else mask.loc[array.index]


def _at(name: str, frame: Any, mask: Any, ids: Any) -> tuple[np.ndarray, np.ndarray]:
    """The values of the items with these ids, and where they were measured; an id that is not there is a hole."""
    what = f"modality {name!r}"
    values, seen = as_numbers(what, frame)
    seen = np.ones(values.shape, bool) if seen is None else seen
    seen = seen if mask is None else seen & over(as_mask(what, mask, values.shape), values)
    rows = frame.index.get_indexer(ids)
    return values[rows], seen[rows] & over(rows >= 0, values)


def _label_at(name: str, label: Any, ids: Any) -> Any:
    """A label of the items with these ids: missing where it has none."""
    if not label.index.is_unique:
        twice = label.index[label.index.duplicated()].tolist()[0]
        raise ValueError(f"label {name!r} has the id {twice!r} twice, so it cannot be joined by its index")
    if not label.index.isin(ids).any():
        raise ValueError(
            f"label {name!r} has no id in common with the modalities: its index holds {label.index[:1].tolist()}, "
            f"theirs {ids[:1].tolist()}"
        )
    return label.reindex(ids)
