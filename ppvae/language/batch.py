"""Batch: the rows a program sees at once, by modality, and what of them was measured."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ppvae.language.ppl import items, ops


@dataclass(frozen=True)
class Batch:
    """Items by modality.

    Attributes:
        arrays: name to values of shape ``(items, *shape)``. Programs see zeros in holes: what is masked, and in NumPy
            arrays also NaN; tensors are not searched for it.
        observed: name to booleans of shape ``(items,)`` or ``(items, *shape)``, True where measured. A modality
            without an entry is complete.
        total: items in the whole data set (default: in this batch); local sites weigh ``total / size``.
        size: items in this batch; needed only where no modality is given.
        ask: the modalities that a model is run for; all of its own if None.
    """

    arrays: Mapping[str, Any] = field(default_factory=dict)
    observed: Mapping[str, Any] | None = None
    total: int | None = None
    size: int = -1
    ask: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        arrays, observed = dict(self.arrays), dict(self.observed or {})
        for name, array in arrays.items():
            if isinstance(array, np.ndarray | list):
                array = np.asarray(array)
                arrays[name], mask = fill(array, observed.get(name))
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
        """The items plate, dim -1, of ``total`` items subsampled to these: local sites weigh ``total / size``."""
        return items().plate(self.size, self.total)

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


def fill(array: np.ndarray, mask: Any = None) -> tuple[np.ndarray, np.ndarray | None]:
    """The array with zeros in its holes, and where it was measured (None where everywhere).

    A hole is NaN or False in ``mask``, of shape ``(items,)`` or the array's own.

    Raises:
        ValueError: the mask's shape fits neither.
    """
    seen = None if mask is None else np.asarray(mask, dtype=bool)
    if seen is not None and seen.shape not in (array.shape[:1], array.shape):
        raise ValueError(f"a mask of shape {seen.shape} fits neither the items nor the array, {array.shape}")
    if np.issubdtype(array.dtype, np.floating) and (nan := np.isnan(array)).any():
        seen = ~nan if seen is None else over(seen, array) & ~nan
    if seen is None or seen.all():
        return array, None
    return np.where(over(seen, array), array, np.zeros((), array.dtype)), _by_item(seen)


def _by_item(mask: np.ndarray) -> np.ndarray:
    """One boolean an item where every item is wholly there or wholly missing."""
    rows = mask.reshape(len(mask), -1)
    return rows[:, 0].copy() if (rows == rows[:, :1]).all() else mask


def over(mask: Any, array: Any) -> Any:
    """A mask ``(items,)`` or ``(items, *shape)`` with as many axes as the array."""
    return mask.reshape(mask.shape + (1,) * (array.ndim - mask.ndim))


def _lengths(arrays: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {len(array)}" for name, array in arrays.items())
