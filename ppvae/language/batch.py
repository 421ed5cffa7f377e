"""Batch: the rows a program sees at once, by modality, and what of them was measured."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from ppvae.language.intake import is_tensor, library, over, taken
from ppvae.language.ppl import items, ops


class Origin(NamedTuple):
    """The batch that others are parts of, and what was computed of it."""

    batch: Batch
    known: dict[Hashable, Any]


@dataclass(frozen=True)
class Batch:
    """Items by modality.

    Attributes:
        arrays: name to values of shape ``(items, *shape)``, in any form that :mod:`ppvae.language.intake` takes but
            data frames. Programs see zeros in holes: what is masked, and also NaN, but for tensors, which are not
            searched for it.
        observed: name to booleans of shape ``(items,)`` or ``(items, *shape)``, True where measured. A modality
            without an entry is complete.
        total: items in the whole data set (default: in this batch); local sites weigh ``total / size``.
        size: items in this batch; needed only where no modality is given.
        ask: the modalities that a model is run for; all of its own if None.
        index: the numbers of these items in the whole data set, ``(items,)``; None where there is none.
        weights: how much each item counts in what training maximises, ``(items,)``, one on average over the whole data
            set; None where all count alike.
        origin: the batch that this is a part of, where what is computed of that serves this too; see ``remembering``.
    """

    arrays: Mapping[str, Any] = field(default_factory=dict)
    observed: Mapping[str, Any] | None = None
    total: int | None = None
    size: int = -1
    ask: tuple[str, ...] | None = None
    index: Any = None
    weights: Any = None
    origin: Origin | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        arrays, observed = dict(self.arrays), dict(self.observed or {})
        for name, array in arrays.items():
            if not is_tensor(array):
                arrays[name], mask = _taken(name, array, observed.pop(name, None))
                observed |= {} if mask is None else {name: mask}
        sizes = {len(array) for array in arrays.values()} or {self.size}
        if sizes == {-1}:
            raise ValueError("a batch of no modality needs size, its number of items")
        if len(sizes) > 1:
            raise ValueError(f"modalities of one batch differ in their number of items: {_lengths(arrays)}")
        object.__setattr__(self, "arrays", arrays)
        object.__setattr__(self, "observed", observed)
        object.__setattr__(self, "size", sizes.pop())
        object.__setattr__(self, "total", self.total or self.size)

    def plate(self) -> Any:
        """The items plate of ``total`` items subsampled to these: local sites weigh ``total / size``.

        Its dim is -1, unless a text of the pair gives a plate of its own over the items another.
        """
        return items().plate(self.size, self.total)

    @property
    def rows(self) -> Any:
        """The numbers of these items in the data set, ``(items,)``: ``self.theta[batch.rows]`` has a row for each item.

        Raises:
            ValueError: the items are in no data set that is trained on.
        """
        if self.index is None:
            raise ValueError(
                "a program asks for batch.rows, the numbers of the items in the data set that is trained on, of items "
                "that are of no such data set: parameters of single items are known for these alone"
            )
        return ops.as_tensor(self.index)

    def __getitem__(self, name: str) -> Any:
        """Raise TypeError: what is not given is None, which a program has to expect."""
        raise TypeError(f"a batch is read by batch.get({name!r}), which is None where the modality is not given")

    def get(self, name: str) -> Any:
        """Values of a modality as floats, holes filled with zeros; None where it was not given."""
        array = self.arrays.get(name)
        if array is None:
            return None
        values, mask = ops.as_tensor(array, dtype=items().float_dtype()), self.mask(name)
        return values if mask is None else ops.where(over(mask, values), values, ops.zeros_like(values))

    def mask(self, name: str) -> Any:
        """Booleans ``(items,)`` or ``(items, *shape)``, True where measured; None where all was."""
        mask = (self.observed or {}).get(name)
        return None if mask is None else ops.as_tensor(mask)

    def masks(self) -> dict[str, Any]:
        """The masks of all given modalities that have holes."""
        return {name: self.mask(name) for name in self.arrays if name in (self.observed or {})}

    def present(self, name: str) -> Any:
        """Booleans ``(items,)``: was anything of this modality measured?"""
        if name not in self.arrays:
            return ops.zeros((self.size,), dtype=ops.bool)
        mask = self.mask(name)
        if mask is None:
            return ops.ones((self.size,), dtype=ops.bool)
        return mask if mask.ndim == 1 else ops.any(ops.flatten(mask, 1), -1)

    def asked(self, names: Iterable[str]) -> list[str]:
        """Those of a model's modalities that it is run for: a decoder that nobody asks is not run."""
        return [name for name in names if self.ask is None or name in self.ask]

    def remembering(self) -> Batch:
        """The same items, of which networks read each modality once for all parts that ``given`` and ``without`` make.

        For one step of one pair, whose parameters are the same wherever the parts go.
        """
        return replace(self, origin=Origin(self, {}))

    def resting(self) -> Batch:
        """The same items for a pair whose parameters rest: no gradient goes back into what its networks have read."""
        if self.origin is None:
            return self
        whole, known = self.origin
        return replace(self, origin=Origin(whole, {key: ops.detach(read) for key, read in known.items()}))

    def once(self, key: Hashable, function: Callable[[Batch], Any]) -> Any:
        """``function`` of this batch, or of that which it is a part of: rows that are hidden here are there as well."""
        if self.origin is None:
            return function(self)
        whole, known = self.origin
        return items().once(known, key, lambda: function(whole))

    def given(self, names: Iterable[str] | None) -> Batch:
        """The same items with only the named modalities (all for None)."""
        if names is None:
            return self
        kept = {name: self.arrays[name] for name in names}
        return replace(self, arrays=kept)

    def without(self, dropped: Mapping[str, Any]) -> Batch:
        """The same items as if what is ``dropped``, booleans ``(items,)`` by modality, had not been measured."""
        observed = dict(self.observed or {})
        for name, drop in dropped.items():
            mask = self.mask(name)
            observed[name] = ~drop if mask is None else mask & ~over(drop, mask)
        return replace(self, arrays={name: self.get(name) for name in self.arrays}, observed=observed)


def _taken(name: str, array: Any, mask: Any) -> tuple[Any, Any]:
    """Numbers through the door; rows of data frames have names, by which only a data set joins them."""
    if any(hasattr(given, "index") and library(given) == "pandas" for given in (array, mask)):
        raise ValueError(
            f"modality {name!r} of a batch cannot be a data frame; take it from ppvae.Dataset(...).batch()"
        )
    return taken(f"modality {name!r}", array, mask)


def _lengths(arrays: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {len(array)}" for name, array in arrays.items())
