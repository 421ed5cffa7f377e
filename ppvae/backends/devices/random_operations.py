"""Random operations of torch: which of them a program draws by, and where the items of its batch are in each."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import pyro
import torch
from pyro.poutine.messenger import Messenger
from torch.utils._python_dispatch import TorchDispatchMode

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


class Drawing(TorchDispatchMode):
    """Leads each random operation to ``drawn``; at a site of the items plate ``left`` is the size left of the items."""

    left: int | None = None

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if torch.Tag.nondeterministic_seeded not in getattr(func, "tags", ()):
            return func(*args, **(kwargs or {}))
        return self.drawn(func, args, kwargs or {})

    def drawn(self, func: Any, args: Any, kwargs: Any) -> Any:
        """What the operation gives."""
        raise NotImplementedError


class _Shapes(Drawing):
    """Notes the shapes of random operations."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[torch.Size, tuple[int, ...]]] = []

    def drawn(self, func: Any, args: Any, kwargs: Any) -> Any:
        self.found.append((shape_of(args), _order(args)))
        return func(*args, **kwargs)


class ByItems(Drawing):
    """Random operations of ``count`` items; ``places`` has one entry for each in turn."""

    def __init__(self, places: Sequence[Place | None], count: int) -> None:
        super().__init__()
        self.places, self.count, self.done = places, count, 0

    def next(self, shape: torch.Size) -> Place | None:
        """Where the items are in the operation that comes.

        Raises:
            ValueError: it is another than was found.
        """
        self.done += 1
        place = self.places[self.done - 1] if self.done <= len(self.places) else None
        fits = place is None or (len(shape), shape[place.axis]) == (len(place.order), place.times * self.count)
        if self.done > len(self.places) or not fits:
            raise ValueError(UNSHARED)
        return place

    def lead(self, place: Place, shape: torch.Size) -> int:
        """How many blocks of items follow each other along the axis."""
        if self.left is None:
            return place.times
        return math.gcd(max(self.left // math.prod(shape[: place.axis]), 1), place.times)


class _AtSites(Messenger):
    """Tells what draws of the site that is drawn."""

    def __init__(self, mode: Drawing) -> None:
        super().__init__()
        self.mode = mode

    def _pyro_sample(self, msg: Any) -> None:
        dims = [frame.dim for frame in msg["cond_indep_stack"] if frame.name == "items"]
        self.mode.left = math.prod(getattr(msg["fn"], "batch_shape", ())[: dims[0]]) if dims else None

    def _pyro_post_sample(self, msg: Any) -> None:
        self.mode.left = None


@contextmanager
def drawing(mode: Drawing) -> Iterator[None]:
    """Within the block random operations are led through the mode."""
    with mode, _AtSites(mode):
        yield


def laid_out(tensor: torch.Tensor, order: Sequence[int]) -> torch.Tensor:
    """The tensor, its axes in memory in this order."""
    return tensor.permute(*order).contiguous().permute(*sorted(range(tensor.ndim), key=order.__getitem__))


def _order(args: Any) -> tuple[int, ...]:
    """The axes of what is drawn as they lie in memory, the slowest first."""
    given = next((a for a in args if isinstance(a, torch.Tensor)), None)
    strides = torch.empty(shape_of(args), device="meta").stride() if given is None else torch.empty_like(given).stride()
    return tuple(sorted(range(len(strides)), key=lambda i: -strides[i]))


def shape_of(args: Any) -> torch.Size:
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
