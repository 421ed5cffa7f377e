"""Dataset: items measured in several modalities, with holes, labels and an identity for each row."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ppvae.language.batch import Batch, fill, over
from ppvae.language.modality import Modality, guess


@dataclass(frozen=True, eq=False)
class Dataset:
    """Items measured in several modalities, one row an item.

    Arrays may be of any kind that :mod:`ppvae.language.intake` takes: NumPy's with or without a mask, SciPy's sparse
    ones, tensors, nested lists, and pandas' data frames and series. Frames are joined by their index, in the order of
    the first: see :func:`ppvae.data.frames.joined`. All become arrays of the data set's own, and the user's are never
    changed. An array of one axis is a modality of a single number: ``(items,)`` becomes ``(items, 1)``.

    Attributes:
        arrays: name to array ``(items, *shape)``; NaN is a hole, and is kept as 0: see :meth:`holed`.
        observed: name to booleans ``(items,)`` or ``(items, *shape)``, True where measured; optional.
        labels: name to array ``(items,)``: never seen by a program, only by metrics; optional, NaN where missing.
        modalities: what each array is; guessed from the data where missing.
        likelihood: name to the likelihood of a modality that is to be taken from the data in all else. Where neither
            says it, it is guessed; ``print(data)`` gives the reasons, and a doubtful guess is a ``UserWarning``.
        ids: of the items, ``(items,)``; those of data frames are their index.
        features: name to the names of a modality's elements, ``(elements,)``; those of a data frame are its columns.
        guesses: name to the reason for a guessed likelihood.

    Raises:
        ValueError: an array is not one of numbers, lengths differ, a mask does not fit, or a modality does not fit its
            array or has no value at all to guess it from.
    """

    arrays: Mapping[str, np.ndarray]
    observed: Mapping[str, np.ndarray] | None = None
    labels: Mapping[str, np.ndarray] | None = None
    modalities: Sequence[Modality] | None = None
    likelihood: InitVar[Mapping[str, str] | None] = None
    ids: np.ndarray | None = None
    features: Mapping[str, np.ndarray] | None = None
    guesses: Mapping[str, str] = field(default_factory=dict, init=False)

    def __post_init__(self, likelihood: Mapping[str, str] | None) -> None:
        """Bring everything through the door, and say what each modality is."""
        given = [_mapping(what, getattr(self, what)) for what in ("arrays", "observed", "labels")]
        if unknown := sorted(set(given[1]) - set(given[0])):
            raise ValueError(f"observed names {unknown}, which are not among the arrays {sorted(given[0])}")
        rows = joined(*given)
        arrays, observed = _own(rows.arrays, rows.observed)
        self._set(arrays=arrays, observed=observed, labels={n: as_label(n, label) for n, label in rows.labels.items()})
        self._set(ids=_names(self, rows.ids), features=_feature_names(self, rows.features))
        self._check()
        self._set(**described(self, _mapping("likelihood", likelihood)))

    def _set(self, **values: Any) -> None:
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def _with(self, **changes: Any) -> Dataset:
        """The data set with other values of some attributes, which came through the door before."""
        made = object.__new__(Dataset)
        made._set(**{each.name: getattr(self, each.name) for each in fields(self)} | changes)
        made._check()
        return made

    def _check(self) -> None:
        """Raise ValueError where there are no arrays, or items, or arrays differ in their number of them."""
        if not self.arrays:
            raise ValueError("a data set needs at least one modality")
        beside = {} if self.ids is None else {"ids": self.ids}
        lengths = {name: len(array) for name, array in {**self.arrays, **(self.labels or {}), **beside}.items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"arrays differ in their number of items: {lengths}")
        if 0 in lengths.values():
            raise ValueError("a data set needs at least one item")

    def __len__(self) -> int:
        return len(next(iter(self.arrays.values())))

    def __repr__(self) -> str:
        return table(self)

    def take(self, rows: Any) -> Dataset:
        """The given rows, in that order; modalities keep their centers and spreads."""
        rows = np.atleast_1d(np.arange(len(self))[rows])
        pick = lambda arrays: {name: array[rows] for name, array in (arrays or {}).items()}  # noqa: E731
        observed = {name: mask for name, mask in pick(self.observed).items() if not mask.all()}
        ids = None if self.ids is None else self.ids[rows]
        return self._with(arrays=pick(self.arrays), observed=observed, labels=pick(self.labels), ids=ids)

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
        parts = {key: pick(getattr(self, key)) for key in ("arrays", "observed", "features", "guesses")}
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
        order = np.random.default_rng(seed).permutation(len(self))
        cut = round(fraction * len(self))
        if not 0 < cut < len(self):
            raise ValueError(f"a split of {len(self)} items at {fraction} leaves one side empty")
        train, test = self.take(order[:cut]), self.take(order[cut:])
        return train.refitted(), test.like(train.refitted().modalities)

    def refitted(self) -> Dataset:
        """The same data, with centers and spreads taken from it."""
        observed, modalities = self.observed or {}, self.modalities or ()
        fitted = [guess(m.name, self.arrays[m.name], observed.get(m.name), like=m) for m in modalities]
        return self.like(fitted)

    def like(self, modalities: Sequence[Modality] | None) -> Dataset:
        """The same data under other modalities; guessed anew where these are None."""
        return replace(self, modalities=modalities) 

    def batch(self, rows: Any = slice(None), given: Iterable[str] | None = None) -> Batch:
        """The given rows (all by default) as a batch, with only the ``given`` modalities."""
        rows = [rows] if isinstance(rows, int) else rows
        names = list(self.arrays) if given is None else list(given)
        observed = self.observed or {}
        return Batch(
            {name: self.arrays[name][rows] for name in names},
            {name: observed[name][rows] for name in names if name in observed},
            total=len(self),
        )

    @cached_property
    def keys(self) -> np.ndarray:
        """A 32-bit key for each row, from what was measured in it: random draws for an item depend on it alone.

        Rows that are equal to the last bit are told apart by how many of them came before.
        """
        observed = self.observed or {}
        parts = [_row_bytes(self.arrays[name], observed.get(name)) for name in sorted(self.arrays)]
        return _row_keys([b"".join(row) for row in zip(*parts, strict=True)])


def _filled(name: str, array: Any, mask: Any) -> tuple[np.ndarray, np.ndarray | None]:
    values = np.asarray(array)
    if values.ndim < 1 or values.dtype.kind not in "biuf":
        raise ValueError(f"modality {name!r} must be an array of numbers (items, *shape), not {values.dtype}")
    values = values[:, None] if values.ndim == 1 else values
    try:
        values, mask = fill(values, mask)
    except ValueError as error:
        raise ValueError(f"modality {name!r}: {error}") from None
    if not np.isfinite(values).all():
        raise ValueError(f"modality {name!r} holds infinite values; mark what was not measured as NaN")
    return values, mask


def _check_lengths(arrays: Mapping[str, np.ndarray]) -> None:
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"arrays differ in their number of items: {lengths}")
    if 0 in lengths.values():
        raise ValueError("a data set needs at least one item")


def _modalities(
    arrays: Mapping[str, np.ndarray], observed: Mapping[str, np.ndarray], given: Sequence[Modality] | None
) -> tuple[Modality, ...]:
    if given is None:
        return tuple(guess(name, array, observed.get(name)) for name, array in arrays.items())
    if {m.name for m in given} != set(arrays):
        raise ValueError(f"modalities {[m.name for m in given]} do not name the arrays {list(arrays)}")
    for modality in given:
        check_fits(modality, arrays[modality.name])
    return tuple(given)


def check_fits(modality: Modality, array: np.ndarray) -> None:
    """Raise ValueError where the array's shape or values do not fit the modality."""
    what = f"modality {modality.name!r}"
    if array.shape[1:] != modality.shape:
        raise ValueError(f"{what} has items of shape {array.shape[1:]}, but shape {modality.shape} was declared")
    whole, low = bool((array == np.round(array)).all()), float(array.min())
    top = {"bernoulli": 1.0, "categorical": (modality.levels or 0) - 1.0}.get(modality.likelihood, np.inf)
    if modality.likelihood not in ("normal", "laplace") and not (whole and low >= 0 and array.max() <= top):
        limit = f"from 0 to {top:.0f}" if np.isfinite(top) else "of 0 or more"
        raise ValueError(
            f"{what} is {modality.likelihood}: it takes whole numbers {limit}, but holds {_bad(array, top)}"
        )


def _bad(array: np.ndarray, top: float) -> float:
    return float(array[(array != np.round(array)) | (array < 0) | (array > top)][0])


def _row_bytes(array: np.ndarray, mask: np.ndarray | None) -> Iterator[bytes]:
    """The values of each row and which of them were measured, whatever form other rows give the mask."""
    rows = np.ascontiguousarray(array).reshape(len(array), -1)
    seen = np.ones((len(array), 1), bool) if mask is None else mask.reshape(len(mask), -1)
    for values, there in zip(rows, seen, strict=True):
        yield values.tobytes() + np.packbits(np.broadcast_to(there, values.shape)).tobytes()


def _row_keys(rows: Iterable[bytes]) -> np.ndarray:
    seen: dict[bytes, int] = {}
    keys = []
    for row in rows:
        digest = hashlib.blake2b(row, digest_size=8).digest()
        copy = seen[digest] = seen.get(digest, -1) + 1
        keys.append(np.random.SeedSequence([int.from_bytes(digest), copy]).generate_state(1)[0])
    return np.array(keys, np.uint32)
