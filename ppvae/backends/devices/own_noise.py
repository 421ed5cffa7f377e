"""Own noise: what each of several items draws is what it draws alone, by a generator of its own."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch.utils._pytree import tree_map

from ppvae.backends.devices import random_operations
from ppvae.backends.devices.random_operations import ByItems, Place, laid_out, shape_of

COMMON = "what the programs draw at random is not of single items"


class _Own(ByItems):
    """Random operations of several items, taken one item after the other; ``states`` are those of their generators."""

    def __init__(self, places: Sequence[Place | None], states: list[torch.Tensor], jointly: bool) -> None:
        super().__init__(places, len(states))
        self.states, self.jointly = states, jointly

    def drawn(self, func: Any, args: Any, kwargs: Any) -> Any:
        shape = shape_of(args)
        if (place := self.next(shape)) is None:
            if not self.jointly:
                raise ValueError(COMMON)
            return func(*args, **kwargs)
        lead = self.lead(place, shape)
        given = zip(*(self._apart(each, shape, place, lead) for each in args), strict=True)
        parts = [self._of_one(item, func, own, kwargs) for item, own in enumerate(given)]
        drawn = tree_map(lambda *each: _joined(torch.stack(each), place.axis, lead), *parts)
        return args[0].copy_(drawn) if func._schema.is_mutable else drawn

    def _of_one(self, item: int, func: Any, args: Any, kwargs: Any) -> Any:
        torch.default_generator.set_state(self.states[item])
        drawn = func(*args, **kwargs)
        self.states[item] = torch.default_generator.get_state()
        return drawn

    def _apart(self, given: Any, shape: torch.Size, place: Place, lead: int) -> Sequence[Any]:
        """What an operation is given, for each item: its own part of what is of items."""
        axis, order = place.axis, place.order
        if isinstance(given, torch.Tensor) and given.shape[: axis + 1] == shape[: axis + 1]:
            own = given.reshape(*shape[:axis], lead, self.count, -1, *given.shape[axis + 1 :]).movedim(axis + 1, 0)
            own = own.reshape(self.count, *shape[:axis], -1, *given.shape[axis + 1 :])
            laid = laid_out(own, (0, *(1 + i for i in order))) if given.ndim == len(order) else own
            return laid.unbind()
        if isinstance(given, list) and tuple(given) == shape:
            return [[*given[:axis], place.times, *given[axis + 1 :]]] * self.count
        return [given] * self.count


def _joined(parts: torch.Tensor, axis: int, lead: int) -> torch.Tensor:
    """What all items have drawn, ``(items, ...)``, with the items along the axis where they were."""
    blocks = parts.reshape(*parts.shape[: axis + 1], lead, -1, *parts.shape[axis + 2 :])
    return blocks.movedim(0, axis + 1).reshape(*parts.shape[1 : axis + 1], -1, *parts.shape[axis + 2 :])


def drawing(
    found: Sequence[Place | None], states: list[torch.Tensor], jointly: bool = False
) -> AbstractContextManager[None]:
    """Within the block each of so many items draws from its state of the generator, wherever ``found`` has the items.

    A random operation that has none is one for all of them where they draw ``jointly``, and else an error (ValueError).
    """
    return random_operations.drawing(_Own(found, states, jointly))
