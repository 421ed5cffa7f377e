"""Dataset: items measured in several modalities, with holes, labels and an identity for each row."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import InitVar, dataclass, field, fields
from functools import cached_property
from typing import Any

import numpy as np

from ppvae.data.frames import joined
from ppvae.data.keys import row_keys
from ppvae.data.labels import as_label
from ppvae.data.modalities import check_fits, resolved
from ppvae.data.names import check_alike, named, numbered, renumbered
from ppvae.data.splits import split_rows
from ppvae.data.stored import Stored, rows_of
from ppvae.data.table import table
from ppvae.language.batch import Batch
from ppvae.language.intake import RECIPES, by_item, is_missing, library, over, taken, unsupported
from ppvae.language.modality import Modality, estimated


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """Items measured in several modalities, one row an item; ``print(data)`` shows them as a table.

    Arrays may be of any kind that :mod:`ppvae.language.intake` takes: NumPy's, masked ones, SciPy's sparse ones,
    tensors, nested lists, and pandas' data frames and series, whose rows are joined by their index in the order of the
    first (:func:`ppvae.data.frames.joined`). Columns of names are categories (:func:`ppvae.data.names.numbered`). The
    data set holds copies. An array of one axis is a modality of one
    number: ``(items,)`` becomes ``(items, 1)``.

    Attributes:
        arrays: name to array ``(items, *shape)``; NaN is a hole, and is kept as 0: see :meth:`holed`.
        observed: name to booleans ``(items,)`` or ``(items, *shape)``, True where measured; optional.
        labels: name to array ``(items,)``: never seen by a program, only by metrics; optional, NaN where missing.
        modalities: what each array is; guessed from the data where missing. Centers and spreads that they do not
            declare are estimated from what was measured.
        likelihood: name to likelihood, where that is all there is to say; where nothing says it, it is guessed.
        ids: of the items, ``(items,)``; those of data frames are their index.
        guesses: name to the reason for each likelihood that was guessed.

    Warns:
        UserWarning: a likelihood is guessed that may well be another: whole numbers of few values, one-hot columns.

    Raises:
        ValueError: an array does not hold numbers, lengths differ, ids are not unique, a mask does not fit, or a
            modality does not fit its array or has no value to guess it from.
    """

    arrays: Mapping[str, np.ndarray]
    observed: Mapping[str, np.ndarray] | None = None
    labels: Mapping[str, np.ndarray] | None = None
    modalities: Sequence[Modality] | None = None
    likelihood: InitVar[Mapping[str, str] | None] = None
    ids: np.ndarray | None = None
    guesses: Mapping[str, str] = field(default_factory=dict, init=False)

    def __post_init__(self, likelihood: Mapping[str, str] | None) -> None:
        """Bring all through the door, and find out what is not said."""
        arrays, masks = _mapping("arrays", self.arrays), _mapping("observed", self.observed)
        if unknown := sorted(set(masks) - set(arrays)):
            raise ValueError(f"observed names {unknown}, which are not among the arrays {sorted(arrays)}")
        arrays, words = numbered(arrays, self.modalities or ())
        rows = joined(arrays, masks, _mapping("labels", self.labels), _ids(self.ids))
        scalars = {m.name for m in self.modalities or () if not m.shape}
        arrays, observed = _own(rows.arrays, rows.observed, scalars)
        labels = {name: as_label(f"label {name!r}", label) for name, label in rows.labels.items()}
        self._set(arrays=arrays, observed=observed, labels=labels, ids=rows.ids)
        self._check()
        asked = _mapping("likelihood", likelihood)
        found, guesses = resolved(self.modalities or (), asked, arrays, observed, rows.features, words)
        self._set(modalities=found, guesses=guesses)

    def _set(self, **values: Any) -> None:
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def _with(self, **changes: Any) -> Dataset:
        """The data set with other values of some attributes, which have been through the door."""
        made = object.__new__(Dataset)
        made._set(**{each.name: getattr(self, each.name) for each in fields(self)} | changes)
        made._check()
        return made

    def _check(self) -> None:
        """Raise ValueError where there is nothing, or arrays differ in their number of items."""
        if not self.arrays:
            raise ValueError("a data set needs at least one modality")
        ids = {} if self.ids is None else {"ids": self.ids}
        lengths = {name: len(array) for name, array in {**self.arrays, **(self.labels or {}), **ids}.items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"arrays differ in their number of items: {lengths}")
        if 0 in lengths.values():
            raise ValueError("a data set needs at least one item")

    def __len__(self) -> int:
        return len(next(iter(self.arrays.values())))

    def __repr__(self) -> str:
        return table(self)

    @property
    def features(self) -> dict[str, tuple[str | int, ...]]:
        """The names of a modality's elements, by modality, where they have names; a data frame's are its columns."""
        return {m.name: m.features for m in self.modalities or () if m.features is not None}

    def frame(self, name: str, values: Any = None) -> Any:
        """A modality as a pandas ``DataFrame``, ids as its index, features as its columns, NaN in holes.

        Categories and texts stand there by their names, where they came by them.

        Args:
            name: the modality.
            values: in place of its own, such as what ``fitted.impute(data)[name]`` holds: ``(items, elements)``.

        Raises:
            ValueError: the values have not as many items or elements, or more axes.
        """
        import pandas

        own = self.holed(name)
        own = own[:, None] if own.ndim == 1 else own
        values = own if values is None else np.asarray(values).reshape(-1, 1) if np.ndim(values) == 1 else values
        if np.shape(values) != own.shape or own.ndim != 2:
            raise ValueError(
                f"a data frame of modality {name!r} takes values (items, elements), {own.shape}, not {np.shape(values)}"
            )
        modality = next(m for m in self.modalities or () if m.name == name)
        if (words := named(modality, values)) is not None:
            return pandas.DataFrame({(modality.features or (name,))[0]: words}, index=self.ids)
        return pandas.DataFrame(values, index=self.ids, columns=modality.features)

    def take(self, rows: Any) -> Dataset:
        """The given rows, in that order; modalities keep their centers and spreads."""
        rows = np.atleast_1d(np.arange(len(self))[rows])
        pick = lambda arrays: {name: rows_of(array, rows) for name, array in (arrays or {}).items()}  # noqa: E731
        observed = {name: mask for name, mask in pick(self.observed).items() if not mask.all()}
        ids = None if self.ids is None else self.ids[rows]
        return self._with(arrays=pick(self.arrays), observed=observed, labels=pick(self.labels), ids=ids)

    def counted(self) -> Dataset:
        """The same data, with the numbers of its rows for ids where it has none, by which its parts tell them."""
        return self if self.ids is not None else self._with(ids=np.arange(len(self)))

    def only(self, names: Iterable[str]) -> Dataset:
        """The same items with only the named modalities, in the order of the data.

        Raises:
            ValueError: one is not in the data, or none is named.
        """
        kept = set(names)
        if unknown := sorted(kept - set(self.arrays)):
            raise ValueError(f"the data have no modality {unknown[0]!r}; they have {', '.join(self.arrays)}")
        pick = lambda arrays: {name: array for name, array in (arrays or {}).items() if name in kept}  # noqa: E731
        modalities = tuple(m for m in self.modalities or () if m.name in kept)
        parts = {key: pick(getattr(self, key)) for key in ("arrays", "observed", "guesses")}
        return self._with(**parts, modalities=modalities)

    def present(self, name: str) -> np.ndarray:
        """Booleans ``(items,)``: was anything of this modality measured?"""
        if name not in self.arrays:
            return np.zeros(len(self), bool)
        mask = (self.observed or {}).get(name)
        return np.ones(len(self), bool) if mask is None else np.any(mask.reshape(len(mask), -1), axis=1)

    def holed(self, name: str) -> np.ndarray:
        """The values of a modality, ``(items, *shape)``, with NaN in its holes."""
        array, mask = self.arrays[name], (self.observed or {}).get(name)
        return array if mask is None else np.where(over(mask, array), array, np.nan)

    def split(self, fraction: float = 0.75, seed: int = 0) -> tuple[Dataset, Dataset]:
        """Two disjoint sets of shuffled rows, ``fraction`` of the items in the first.

        Modalities are fitted to the first: nothing of the second set tells the networks how to standardise.
        """
        train, test = map(self.take, split_rows(len(self), fraction, seed))
        return train.refitted(), test.like(train.refitted().modalities)

    def refitted(self) -> Dataset:
        """The same data, with the centers and spreads that were not declared taken from it."""
        observed = self.observed or {}
        return self.like([estimated(m, self.arrays[m.name], observed.get(m.name)) for m in self.modalities or ()])

    def like(self, modalities: Sequence[Modality] | None) -> Dataset:
        """The same data under other modalities; what they leave out, all for None, is guessed anew.

        Names of categories get the numbers that the others give them. Those that the data lack are left out.
        """
        before = {m.name: m for m in self.modalities or ()}
        others = [m for m in modalities or () if m.name in self.arrays]
        arrays, observed = renumbered(self.arrays, self.observed or {}, before, others)
        found, guesses = resolved(others, {}, arrays, observed, self.features)
        kept = {
            m.name: self.guesses[m.name]
            for m in found
            if m.name in self.guesses and before[m.name].likelihood == m.likelihood
        }
        return self._with(arrays=arrays, observed=observed, modalities=found, guesses={**kept, **guesses})

    def check(self, modality: Modality) -> None:
        """Raise ValueError where what the data hold under a modality's name is something else, or not there."""
        name = modality.name
        if name not in self.arrays:
            raise ValueError(f"the data has no modality {name!r}; it has {', '.join(self.arrays)}")
        own = next(m for m in self.modalities or () if m.name == name)
        check_alike(own, modality)
        check_fits(modality, self.arrays[name], own.features, (self.observed or {}).get(name))

    def batch(self, rows: Any = slice(None), given: Iterable[str] | None = None) -> Batch:
        """The given rows (all by default) as a batch, with only the ``given`` modalities."""
        index = np.atleast_1d(np.arange(len(self))[rows])
        rows = rows if isinstance(rows, slice) else index  # NumPy takes a tensor of one row for a number
        names = list(self.arrays) if given is None else list(given)
        observed = self.observed or {}
        return Batch(
            {name: self.arrays[name][rows] for name in names},
            {name: observed[name][rows] for name in names if name in observed},
            total=len(self),
            index=index,
        )

    @cached_property
    def keys(self) -> np.ndarray:
        """A 32-bit key for each row, from what was measured in it: random draws for an item depend on it alone."""
        return row_keys(self.arrays, self.observed or {})

    @cached_property
    def order(self) -> int:
        """A number that tells these rows in this order from others."""
        return int.from_bytes(hashlib.sha256(self.keys.tobytes()).digest()[:6])


def _mapping(what: str, given: Any) -> dict[str, Any]:
    """What was given by name, as a dict.

    Raises:
        ValueError: it is not of that kind.
    """
    if what == "labels" and library(given) == "pandas" and hasattr(given, "columns"):
        return dict(given.items())
    if given is None:
        return {}
    if isinstance(given, Mapping) and library(given) not in RECIPES:
        if wrong := [name for name in given if not isinstance(name, str)]:
            raise ValueError(f"the names of {what} must be text, and {wrong[0]!r} is not")
        return dict(given)
    if what == "arrays":
        raise unsupported("the arrays of a data set", given)
    raise ValueError(f"{what} must be a dict by the modality's or label's name, not a {type(given).__name__}")


def _own(
    arrays: Mapping[str, Any], masks: Mapping[str, Any], scalars: set[str]
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Arrays and masks through the door, as copies; one number an item has an axis of its own unless it is a scalar."""
    found: dict[str, Any] = {}
    observed: dict[str, np.ndarray] = {}
    for name, array in arrays.items():
        if isinstance(array, Stored):  # has been through a door of its own
            found[name], mask = array, masks.get(name)
            observed |= {} if mask is None or mask.all() else {name: by_item(mask)}
            continue
        values, mask = taken(f"modality {name!r}", array, masks.get(name))
        if name in scalars:
            found[name] = values[:, 0].copy() if values.shape[1:] == (1,) else values.copy()
        else:
            found[name] = values[:, None].copy() if values.ndim == 1 else values.copy()
        observed |= {} if mask is None else {name: mask}
    return found, observed


def _ids(given: Any) -> np.ndarray | None:
    """What tells each item, if that is said.

    Raises:
        ValueError: one is missing, or stands there twice.
    """
    if given is None:
        return None
    ids = as_label("ids", given)
    if any(map(is_missing, ids.tolist())):
        raise ValueError("ids must tell each item, and one is missing")
    if len(np.unique(ids)) < len(ids):
        raise ValueError("ids must be unique, and one stands there twice")
    return ids
