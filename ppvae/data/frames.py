"""Frames: rows of pandas' data frames and series, joined by their index; arrays pass as they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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


def joined(
    arrays: Mapping[str, Any],
    observed: Mapping[str, Any],
    labels: Mapping[str, Any],
    ids: np.ndarray | None = None,
) -> Rows:
    """Rows with the same id are one item: those of the first frame in its order, then what others have beside them.

    A frame without the id has a hole there, a label is missing there. Where every frame has the default index 0, 1,
    2, ... rows are paired by position, as those of arrays are; arrays stand beside frames whose ids are all the same,
    in the same order. The ``ids`` of arrays are those of default indexes as well: named rows of masks and labels are
    joined by them.

    Raises:
        ValueError: ids are missing, not unique or have nothing in common, or an array stands beside different ids.
    """
    if ids is not None:
        _check_unnamed(arrays)
        arrays, observed, labels = (_called(part, ids) for part in (arrays, observed, labels))
    frames = {name: array for name, array in arrays.items() if is_frame(array)}
    features = {name: columns for name, array in frames.items() if (columns := _features(array)) is not None}
    if (index := _index(frames, [*arrays.values(), *labels.values()], ids)) is None:
        _check_one_order(arrays, observed, labels)
        masks = {name: _mask(name, arrays[name], mask) for name, mask in observed.items()}
        return Rows(dict(arrays), masks, dict(labels), ids, features)
    alike = all(frame.index.equals(index) for frame in frames.values())
    _check_plain([f"modality {name!r}" for name, array in arrays.items() if not is_frame(array)], alike)
    _check_plain([f"label {name!r}" for name, label in labels.items() if not is_frame(label)], alike)
    found = dict(arrays)
    holes = {name: _mask(name, arrays[name], mask, index) for name, mask in observed.items()}
    for name, frame in frames.items():
        found[name], holes[name] = _at(name, frame, holes.get(name), index)
    marked = {name: _label_at(name, label, index) if is_frame(label) else label for name, label in labels.items()}
    return Rows(found, holes, marked, _values(index) if ids is None else ids, features)


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


def _values(index: Any) -> np.ndarray:
    """An index as an array that makes the same one again: names as text, numbers, times and all else as they are."""
    values: np.ndarray = index.to_numpy()
    return values.astype(str) if all(isinstance(value, str) for value in values) else values


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


def _index(frames: Mapping[str, Any], named: Sequence[Any], ids: np.ndarray | None) -> Any:
    """The ids by which rows are joined: those of the frames, or else the given ones; None where nothing has any."""
    if frames and not all(_is_default(frame.index) for frame in named if is_frame(frame)):
        return _ids({name: frame.index for name, frame in frames.items()})
    if ids is None:
        return None
    import pandas

    return pandas.Index(ids)


def _called(given: Mapping[str, Any], ids: np.ndarray) -> dict[str, Any]:
    """Frames by these ids where their own index only counts their rows; all else as it is."""
    counted = {name: is_frame(each) and _is_default(each.index) for name, each in given.items()}
    if other := [name for name, each in given.items() if counted[name] and len(each) != len(ids)]:
        raise ValueError(f"{other[0]!r} has {len(given[other[0]])} rows, and there are {len(ids)} ids: give one a row")
    return {name: each.set_axis(ids) if counted[name] else each for name, each in given.items()}


def _check_unnamed(arrays: Mapping[str, Any]) -> None:
    if any(is_frame(array) and not _is_default(array.index) for array in arrays.values()):
        raise ValueError("ids come from the data frames' index; leave ids out, or give arrays")


def _check_one_order(arrays: Mapping[str, Any], observed: Mapping[str, Any], labels: Mapping[str, Any]) -> None:
    """Raise ValueError where what stands beside plain arrays has rows by name, in more than one order."""
    beside = {f"the mask of modality {name!r}": mask for name, mask in observed.items() if not is_frame(arrays[name])}
    beside |= {f"label {name!r}": label for name, label in labels.items()}
    named = [(what, g.index) for what, g in beside.items() if is_frame(g) and not _is_default(g.index)]
    if differs := [what for what, index in named if not index.equals(named[0][1])]:
        raise ValueError(
            f"{differs[0]} has another index than {named[0][0]}, and the arrays have none to join them by: say which "
            "item each row is, ids=..., or give the arrays as pandas.DataFrame(values, index=ids)"
        )


def _check_plain(names: list[str], alike: bool) -> None:
    if names and not alike:
        raise ValueError(
            f"{names[0]} is an array without ids, and the data frames beside it differ in theirs: "
            "give it an index too, as pandas.DataFrame or Series(values, index=ids)"
        )


def _mask(name: str, array: Any, mask: Any, ids: Any = None) -> Any:
    """A mask in the order of its modality's rows and columns, if both have names; those of an array are the ids."""
    index = array.index if is_frame(array) else ids
    if index is None or not is_frame(mask) or (not is_frame(array) and _is_default(mask.index)):
        return mask
    what = f"the mask of modality {name!r}"
    if not mask.index.is_unique or not index.isin(mask.index).all():
        raise ValueError(f"{what} must have each id of the modality once in its index")
    if mask.ndim == 2 and array.ndim == 2 and is_frame(array) and not mask.columns.equals(array.columns):
        if not mask.columns.is_unique or set(mask.columns) != set(array.columns):
            raise ValueError(f"{what} must have the same columns as the modality")
        mask = mask[array.columns]
    return mask if mask.index.equals(index) else mask.loc[index]


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
