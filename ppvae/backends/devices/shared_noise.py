"""Shared noise: what each process draws for its share of a batch is what one process draws there for the whole of it.

Every random operation of torch draws for all items of the batch, and the process keeps the rows of its own. Which
dimension of each operation is that of the items is found by running the objective on two and on three rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch.utils._pytree import tree_map

from ppvae.backends.devices import processes, random_operations
from ppvae.backends.devices.random_operations import ByItems, Place, laid_out, shape_of

VARYING = ("_standard_gamma", "_sample_dirichlet", "poisson", "binomial")  # use as many random numbers as values say


class _Shared(ByItems):
    """Random operations for a whole batch, of which rows are kept."""

    def __init__(self, places: Sequence[Place | None], rows: slice, size: int) -> None:
        super().__init__(places, rows.stop - rows.start)
        self.rows, self.size = rows, size

    def drawn(self, func: Any, args: Any, kwargs: Any) -> Any:
        place, shape = self.next(shape_of(args)), shape_of(args)
        if place is None:
            return func(*args, **kwargs)
        axis, lead = place.axis, self.lead(place, shape)
        gathers = any(name in func.name() for name in VARYING)

        def whole(given: Any) -> Any:
            if isinstance(given, torch.Tensor) and given.shape[: axis + 1] == shape[: axis + 1]:
                whole = self._spread(given, axis, lead, gathers)
                return laid_out(whole, place.order) if whole.ndim == len(place.order) else whole
            if isinstance(given, list) and tuple(given) == shape:
                return [*given[:axis], given[axis] // self.count * self.size, *given[axis + 1 :]]
            return given

        kept = tree_map(lambda drawn: self._kept(drawn, axis, lead), func(*map(whole, args), **kwargs))
        return args[0].copy_(kept) if func._schema.is_mutable else kept

    def _spread(self, given: torch.Tensor, axis: int, lead: int, gathers: bool) -> torch.Tensor:
        """A tensor for the whole batch: its own rows in their place, and beside them those of others or stand-ins."""
        own = given.reshape(*given.shape[:axis], lead, self.count, -1, *given.shape[axis + 1 :])
        if gathers:
            whole = own.new_zeros(*own.shape[: axis + 1], self.size, *own.shape[axis + 2 :])
            whole.narrow(axis + 1, self.rows.start, self.count).copy_(own)
            whole = processes.summed(whole)
        else:
            rows = torch.arange(self.size, device=given.device) - self.rows.start
            whole = own.index_select(axis + 1, rows.clamp(0, self.count - 1))
        return whole.reshape(*given.shape[:axis], -1, *given.shape[axis + 1 :])

    def _kept(self, drawn: Any, axis: int, lead: int) -> Any:
        if not isinstance(drawn, torch.Tensor):
            return drawn
        blocks = drawn.reshape(*drawn.shape[:axis], lead, self.size, -1, *drawn.shape[axis + 1 :])
        kept = blocks.narrow(axis + 1, self.rows.start, self.count)
        return kept.reshape(*drawn.shape[:axis], -1, *drawn.shape[axis + 1 :])


def drawing(found: Sequence[Place | None], rows: slice, size: int) -> AbstractContextManager[None]:
    """Within the block random operations draw for a whole batch of ``size`` items, and keep the ``rows`` of its own."""
    return random_operations.drawing(_Shared(found, rows, size))
