"""Shared noise: what each process draws for its share of a batch is what one process draws there for the whole of it.

Every random operation of torch draws for all items of the batch, and the process keeps the rows of its own. Which
dimension of each operation is that of the items is found by running the objective on two and on three rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import pyro
import torch
from pyro.poutine.messenger import Messenger
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

from ppvae.backends.devices import processes

VARYING = ("_standard_gamma", "_sample_dirichlet", "poisson", "binomial")  # use as many random numbers as values say

UNSHARED = (
    "what the programs draw at random is not so many numbers for each item of the batch, whatever they see, so that "
    "processes cannot share it: train in one process"
)


class Place(NamedTuple):
    """Where the items are in a random operation: the axis, and how many entries of it there are for each item.

    ``order`` has the axes as they lie in memory, by which numbers are filled in; of one row it cannot be told.
    """

    order: tuple[int, ...]
    axis: int
    times: int


class _Drawing(TorchDispatchMode):
    """Leads each random operation to ``drawn``; at a site of the items plate ``left`` is the size left of the items."""

    left: int | None = None

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if torch.Tag.nondeterministic_seeded not in getattr(func, "tags", ()):
            return func(*args, **(kwargs or {}))
        return self.drawn(func, args, kwargs or {})

    def drawn(self, func: Any, args: Any, kwargs: Any) -> Any:
        raise NotImplementedError


class _Shapes(_Drawing):
    """Notes the shapes of random operations."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[torch.Size, tuple[int, ...]]] = []

    def drawn(self, func: Any, args: Any, kwargs: Any) -> Any:
        self.found.append((_shape(args), _order(args)))
        return func(*args, **kwargs)


class _Shared(_Drawing):
    """Random operations for a whole batch, of which rows are kept; ``places`` has one entry for each in turn."""

    def __init__(self, places: Sequence[Place | None], rows: slice, size: int) -> None:
        super().__init__()
        self.places, self.rows, self.size, self.done = places, rows, size, 0

    @property
    def count(self) -> int:
        return self.rows.stop - self.rows.start

    def drawn(self, func: Any, args: Any, kwargs: Any) -> Any:
        place, shape = self._next(_shape(args)), _shape(args)
        if place is None:
            return func(*args, **kwargs)
        axis, lead = place.axis, self._lead(place, shape)
        gathers = any(name in func.name() for name in VARYING)

        def whole(given: Any) -> Any:
            if isinstance(given, torch.Tensor) and given.shape[: axis + 1] == shape[: axis + 1]:
                whole = self._spread(given, axis, lead, gathers)
                return _laid_out(whole, place.order) if whole.ndim == len(place.order) else whole
            if isinstance(given, list) and tuple(given) == shape:
                return [*given[:axis], given[axis] // self.count * self.size, *given[axis + 1 :]]
            return given

        kept = tree_map(lambda drawn: self._kept(drawn, axis, lead), func(*map(whole, args), **kwargs))
        return args[0].copy_(kept) if func._schema.is_mutable else kept

    def _next(self, shape: torch.Size) -> Place | None:
        self.done += 1
        place = self.places[self.done - 1] if self.done <= len(self.places) else None
        fits = place is None or (len(shape), shape[place.axis]) == (len(place.order), place.times * self.count)
        if self.done > len(self.places) or not fits:
            raise ValueError(UNSHARED)
        return place

    def _lead(self, place: Place, shape: torch.Size) -> int:
        """How many blocks of items follow each other along the axis."""
        if self.left is None:
            return place.times
        return math.gcd(max(self.left // math.prod(shape[: place.axis]), 1), place.times)

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


class _AtSites(Messenger):
    """Tells what draws of the site that is drawn."""

    def __init__(self, mode: _Drawing) -> None:
        super().__init__()
        self.mode = mode

    def _pyro_sample(self, msg: Any) -> None:
        dims = [frame.dim for frame in msg["cond_indep_stack"] if frame.name == "items"]
        self.mode.left = math.prod(getattr(msg["fn"], "batch_shape", ())[: dims[0]]) if dims else None

    def _pyro_post_sample(self, msg: Any) -> None:
        self.mode.left = None


def _laid_out(whole: torch.Tensor, order: Sequence[int]) -> torch.Tensor:
    """The tensor, its axes in memory in this order."""
    return whole.permute(*order).contiguous().permute(*sorted(range(whole.ndim), key=order.__getitem__))


def _order(args: Any) -> tuple[int, ...]:
    """The axes of what is drawn as they lie in memory, the slowest first."""
    given = next((a for a in args if isinstance(a, torch.Tensor)), None)
    strides = torch.empty(_shape(args), device="meta").stride() if given is None else torch.empty_like(given).stride()
    return tuple(sorted(range(len(strides)), key=lambda i: -strides[i]))


def _shape(args: Any) -> torch.Size:
    """The shape of what is drawn, or from what: that of the first tensor, or a list of sizes."""
    found = next((a for a in args if isinstance(a, torch.Tensor | list)), [])
    return found.shape if isinstance(found, torch.Tensor) else torch.Size(found)


def places(run: Callable[[int], object]) -> list[Place | None]:
    """Where the items are in each random operation of ``run``, which runs the objective on so many rows.

    Raises:
        ValueError: it fails on so few, or does not draw alike for two and for three.
    """
    both = []
    for size in (2, 3):
        try:
            with torch.no_grad(), pyro.get_param_store().scope(), _Shapes() as mode:
                run(size)
        except RuntimeError as error:
            raise ValueError(
                f"the programs fail on {size} rows of a batch, so that processes cannot share it: train in one process"
            ) from error
        both.append(mode.found)
    if [order for _, order in both[0]] != [order for _, order in both[1]]:
        raise ValueError(UNSHARED)
    return [_place(two, three, order) for (two, order), (three, _) in zip(*both, strict=True)]


def _place(two: torch.Size, three: torch.Size, order: tuple[int, ...]) -> Place | None:
    axes = [i for i in range(len(two)) if two[i] != three[i]]
    if len(axes) > 1 or any(two[i] * 3 != three[i] * 2 for i in axes):
        raise ValueError(UNSHARED)
    return Place(order, axes[0], two[axes[0]] // 2) if axes else None


class drawing:
    """Within the block random operations draw for a whole batch of ``size`` items, and keep the ``rows`` of its own."""

    def __init__(self, found: Sequence[Place | None], rows: slice, size: int) -> None:
        self.mode = _Shared(found, rows, size)
        self.sites = _AtSites(self.mode)

    def __enter__(self) -> None:
        self.mode.__enter__()
        self.sites.__enter__()

    def __exit__(self, *error: Any) -> None:
        self.sites.__exit__(*error)
        self.mode.__exit__(*error)
