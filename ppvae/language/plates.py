"""Plates: those of a text's own that go over the items of the batch, and where the others lie beside them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ContextDecorator, contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

from ppvae.language import ppl
from ppvae.language.batch import Batch


class Layout(NamedTuple):
    """Which dims plates take: some of the programs' own, then the items', then more of the programs' own.

    The plate of draws is to the left of all of these, and what is enumerated to the left of that.

    Attributes:
        left: how many dims to the left of the items are the programs' own.
        right: how many to their right.
        apart: must draws be taken one at a time, since a text takes no dims to the left of its own?
    """

    left: int = 0
    right: int = 0
    apart: bool = False

    @property
    def items(self) -> int:
        """The dim of the plate of items."""
        return -1 - self.right

    @property
    def inner(self) -> int:
        """How many dims there are to the right of what is enumerated: draws, items and own ones."""
        return 2 + self.left + self.right

    @property
    def own(self) -> tuple[int, ...]:
        """The dims of the programs' own plates, from left to right."""
        return tuple(dim for dim in range(1 - self.inner, 0) if dim != self.items)


class Around(NamedTuple):
    """What is known of the plates of a running program."""

    batch: Batch
    others: frozenset[str]
    layout: Layout


class Noted(NamedTuple):
    """Of a plate: was it always as long as the batch, and which dim was it given?"""

    long: bool
    dim: int | None


_around: ContextVar[Around | None] = ContextVar("plates around", default=None)
_noted: ContextVar[dict[str, Noted] | None] = ContextVar("plates noted", default=None)


@contextmanager
def around(batch: Batch | None, others: frozenset[str], layout: Layout) -> Iterator[None]:
    """Within the block plates as long as the batch are its items', but for ``others``, which are so by chance.

    Within another such block its layout holds.
    """
    outer = _around.get()
    inner = outer if batch is None else Around(batch, others, layout)
    if outer and inner:
        inner = inner._replace(others=inner.others | outer.others, layout=outer.layout)
    token = _around.set(inner)
    try:
        yield
    finally:
        _around.reset(token)


def within(batches: Iterable[Batch], others: frozenset[str]) -> bool:
    """Is a program that runs on these batches, without holes, part of one that runs on them already?

    All that goes around such a program is then there.
    """
    known = _around.get()
    if known is None or not ppl.engaged() or not others <= known.others:
        return False
    return all(batch is known.batch and not batch.observed for batch in batches)


def check_picks(name: str, shape: Sequence[int], event_dim: int) -> None:
    """Raise ValueError where a plate over a batch would pick its first rows for it of a parameter for all items."""
    known = _around.get()
    if known is None or known.batch.size == known.batch.total or len(shape) < event_dim - known.layout.items:
        return
    if shape[known.layout.items - event_dim] == known.batch.total:
        raise ValueError(
            f"pyro.param({name!r}, event_dim={event_dim}) has a row for each item of the data, and the plate does not "
            f"know which of them the batch has: write pyro.param({name!r}, ...)[batch.rows] without event_dim, or "
            "train on all rows at once"
        )


def layout() -> Layout:
    """That of the running program."""
    known = _around.get()
    return Layout() if known is None else known.layout


@contextmanager
def noting() -> Iterator[dict[str, Noted]]:
    """What is noted of each plate within the block."""
    found: dict[str, Noted] = {}
    token = _noted.set(found)
    try:
        yield found
    finally:
        _noted.reset(token)


def over_items(name: str, size: Any, rows: Any, dim: int | None) -> Batch | None:
    """The batch whose items a plate goes over: it has their number, or as many given rows, and their dimension."""
    known = _around.get()
    if known is None or not ppl.engaged() or name in ("items", *known.others):
        return None
    batch = known.batch
    long = size in (None, batch.size) if rows is None else len(rows) == batch.size
    if (noted := _noted.get()) is not None and size is not None:
        noted[name] = Noted(long and noted.get(name, Noted(True, dim)).long, dim)
        if long and batch.index is not None and size not in (batch.size, batch.total):
            raise ValueError(
                f"the plate {name!r} picks the rows of the batch from {size}, which is not the number of items in the "
                "data: give it that, or write batch.plate()"
            )
    return batch if long and dim in (None, known.layout.items) else None


class Over(ContextDecorator):
    """A plate of a text over the items of the batch: ``batch.plate()`` within ``with``; as a loop, the text's own.

    Where another plate has the items' dimension already, which ``free`` tells, it is the text's own, too.
    """

    def __init__(self, batch: Batch, rows: Any, own: Callable[[], Any], free: Callable[[int], bool]) -> None:
        self.batch, self.rows, self.own, self.free = batch, rows, own, free
        self.entered: list[Any] = []

    def __enter__(self) -> Any:
        ours = self.free(layout().items)
        self.entered.append(plate := self.batch.plate() if ours else self.own())
        rows = plate.__enter__()
        return rows if not ours else ppl.ops.arange(self.batch.size) if self.rows is None else self.rows

    def __exit__(self, *error: Any) -> Any:
        return self.entered.pop().__exit__(*error)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.own())


def found(sites: Iterable[Any], noted: Iterable[dict[str, Noted]]) -> Layout:
    """The layout that sites show which were drawn without draws and enumeration, and what runs have noted of plates.

    Where no site is in a plate of items, one that is as long as the batch, and whose text gives its dimension, is it.
    """
    frames = [frame for site in sites for frame in site["cond_indep_stack"] if frame.dim is not None]
    dims = [frame.dim for frame in frames if frame.name == "items"]
    first, *others = noted
    dims = dims or [
        note.dim for name, note in first.items() if note.dim is not None and all(n[name].long for n in (first, *others))
    ]
    right = -1 - max(dims, default=-1)
    return Layout(max((-frame.dim for frame in frames), default=1) - 1 - right, right)


def own_dims(site: Any, layout: Layout) -> list[int]:
    """The dims of the plates of its program's own that a site is in, from left to right."""
    return sorted(frame.dim for frame in site["cond_indep_stack"] if frame.dim in layout.own)


def picked(site: Any) -> float:
    """How many rows the plates of a site speak for, for each that they have; NumPyro's note it in their sites."""
    sizes = [(getattr(frame, "full_size", None), frame.size) for frame in site["cond_indep_stack"]]
    return site.get("picked", math.prod(full / size for full, size in sizes if full is not None and size > 0))


def tempering(site: Any) -> Any:
    """What ``poutine.scale`` weighs a site by, without what its plates weigh; a chance of the values is none of it."""
    scale, rows = site.get("scale"), picked(site)
    return scale if scale is None or rows == 1.0 else scale / rows


_untempered: ContextVar[bool] = ContextVar("untempered", default=False)


@contextmanager
def untempered() -> Iterator[None]:
    """Within the block ``poutine.scale`` counts nothing: it tempers training, and what it scales is no density."""
    token = _untempered.set(True)
    try:
        yield
    finally:
        _untempered.reset(token)


def weight(site: Any) -> Any:
    """How often a site counts: by its plates and, but for untempered ones, by ``poutine.scale``."""
    return picked(site) if _untempered.get() else site.get("scale")


def depth(site: Any, default: int = 1) -> int:
    """How many dims the plates of a site take, of any kind; the ``default`` where it is in none."""
    return max((-frame.dim for frame in site["cond_indep_stack"] if frame.dim is not None), default=default)


def items_first(site: Any, value: Any) -> Any:
    """A value of a local site, ``(..., items, *own plates, *event)``: items before the plates of its program's own."""
    event, own = site["fn"].event_dim, own_dims(site, site["layout"])
    return one_draw(site, _items_moved(site, value), 1 + len(own) + event)


def draws_first(site: Any, value: Any) -> Any:
    """A value of a site that all items share, ``(draws, *plates, *event)``."""
    batch = value.shape[: value.ndim - site["fn"].event_dim]
    lead, held = batch[:1], {frame.dim for frame in site["cond_indep_stack"]}
    if not any(frame.name == "draws" for frame in site["cond_indep_stack"]):
        lead, batch = (1,), (1, *batch)
    kept = [size for dim, size in zip(range(1 - len(batch), 0), batch[1:], strict=True) if size > 1 or dim in held]
    return value.reshape(*lead, *kept, *value.shape[value.ndim - site["fn"].event_dim :])


def one_draw(site: Any, value: Any, dims: int) -> Any:
    """What a local site has, of so many dims without draws; as that of one draw, where its text took no draws."""
    return value[None] if site["single"] and value.ndim == dims else value


def _items_moved(site: Any, value: Any) -> Any:
    layout, event = site["layout"], site["fn"].event_dim
    if not layout.own:
        return value
    value = value.reshape(*(1,) * (layout.inner - 1 + event - value.ndim), *value.shape)
    value = _moved(value, layout.items - event, 1 - layout.inner - event)
    lead = value.ndim - event - len(layout.own)
    sizes = dict(zip(layout.own, value.shape[lead:], strict=False))
    own = [sizes[dim] for dim in own_dims(site, layout)]
    return value.reshape(*value.shape[:lead], *own, *value.shape[value.ndim - event :])


def as_drawn(site: Any, value: Any, layout: Layout) -> Any:
    """A value with items first, in the dims in which its site draws: the inverse of :func:`items_first`."""
    if not layout.own:
        return value
    event, own = site["fn"].event_dim, own_dims(site, layout)
    lead = value.ndim - event - len(own)
    sizes = dict(zip(own, value.shape[lead:], strict=False))
    spread = [sizes.get(dim, 1) for dim in layout.own]
    value = value.reshape(*value.shape[:lead], *spread, *value.shape[value.ndim - event :])
    return _moved(value, 1 - layout.inner - event, layout.items - event)


def _moved(value: Any, axis: int, to: int) -> Any:
    """An axis moved by swaps, which all arrays know by the same name, within a program's text and outside."""
    step = 1 if to > axis else -1
    for each in range(axis, to, step):
        value = value.swapaxes(each, each + step)
    return value


def beside(site: Any, mask: Any, layout: Layout) -> Any:
    """A mask of holes, ``(items,)`` or ``(items, *own plates, *event)``, in the dims of its site's plates and event.

    Runs before training have yet to find the layout of the pair; that of the site alone then does.
    """
    if mask.ndim > 1:
        return as_drawn(site, mask, layout if layout.own else found([site], [{}]))
    return mask.reshape((1,) * (depth(site) - 1 - layout.right) + mask.shape + (1,) * layout.right)
