"""Questions that a pair can be asked, as programs over the words; backends run them item by item.

Every function takes the model, the guide and a batch, and returns arrays of shape ``(draws, items, ...)``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from ppvae.language.batch import Batch
from ppvae.language.pieces import owner, whole
from ppvae.language.plates import untempered
from ppvae.language.ppl import items
from ppvae.language.traces import (
    Sites,
    alone,
    is_factor,
    latents,
    local_latents,
    model_sites,
    random_sites,
    shared,
    shared_latents,
)
from ppvae.language.traces import log_weights as weights

MANY = 64  # draws, which cost more than the guide that they come from


@dataclass(frozen=True)
class Question:
    """One of the functions below with its options: hashable, so that a backend compiles it once.

    ``reduce`` is what is kept of each array ``(draws, items, ...)`` of a chunk. ``jointly``, what all items share is
    the same for all items in each draw; else each item has draws of its own.
    """

    function: Callable[..., dict[str, Any]]
    draws: int = 1
    ask: tuple[str, ...] | None = None
    reduce: Callable[[Any], Any] | None = None
    jointly: bool = False

    def __call__(self, model: Any, guide: Any, batch: Batch) -> dict[str, Any]:
        """The answer.

        Raises:
            Unanswerable: a text fails on an item alone, or on several draws of it.
        """
        options = {} if self.ask is None else {"ask": self.ask}
        with answering(), untempered():
            if self.one_by_one(model):
                return items().one_by_one(partial(self.function, model, guide, batch, 1, **options), self.draws)
            return self.function(model, guide, batch, self.draws, **options)

    def one_by_one(self, model: Any) -> bool:
        """Are the draws taken one at a time, since the model takes no dims to the left of its own?"""
        return model.plate_layout.apart and getattr(self.function, "each_draw", False)

    def reduced(self, answer: dict[str, Any]) -> dict[str, Any]:
        """What is kept of a chunk's answer."""
        return {name: self.reduce(values) if self.reduce else values for name, values in answer.items()}


class Unanswerable(ValueError):
    """A text that a question cannot be asked of, and why."""


@contextmanager
def answering() -> Iterator[None]:
    """Within the block what a text fails by is told in a sentence, as Unanswerable."""
    try:
        yield
    except NotImplementedError:  # says itself what is not there
        raise
    except (RuntimeError, TypeError, LookupError, AssertionError) as error:
        said = (str(error) or type(error).__name__).splitlines()[0]
        raise Unanswerable(
            f"a program fails on an item alone, or on several draws to the left of items ({said}): "
            "index from the right, x[..., i], and let it take one item, and any number of dims to the left"
        ) from error


def guide_sites(guide: Any, batch: Batch, values: Mapping[str, Any] | None = None) -> Sites:
    """The latents that a guide draws. Its ``pyro.factor`` tempers training, as handlers do, and is no density."""
    sites = random_sites(guide, batch, values)
    for name in [name for name, site in sites.items() if is_factor(site)]:
        del sites[name]
    return sites


def each_draw(function: Any) -> Any:
    """Marks a question whose draws are taken one at a time where a text takes no dims to the left of its own."""
    function.each_draw = True
    return by_items(function)


def by_items(function: Any) -> Any:
    """Marks a question that several items may be asked together, if programs draw so many numbers for each."""
    function.by_items = True
    return function


def in_turn(draws: int) -> Callable[[Any], Any]:
    """Marks a question whose items JAX takes one after the other on CPUs, from so many draws on.

    What an item does not show is then not decoded for the sake of others, and none waits for one that takes longer; but
    each runs the guide's networks on its own, which few draws do not pay for.
    """

    def marked(function: Any) -> Any:
        function.in_turn = draws
        return function

    return marked


@each_draw
def encode(model: Any, guide: Any, batch: Batch, draws: int) -> dict[str, Any]:
    """Draws of each item's own latents from q(z | what the batch gives)."""
    with items().repeated(draws):
        return local_latents(guide_sites(guide, batch))


@each_draw
def encode_shared(model: Any, guide: Any, batch: Batch, draws: int) -> dict[str, Any]:
    """Draws of what all items share from the guide, ``(draws, 1, *plates, *event)``."""
    with items().repeated(draws):
        return shared_latents(guide_sites(guide, batch))


@each_draw
def predict(model: Any, guide: Any, batch: Batch, draws: int, ask: tuple[str, ...]) -> dict[str, Any]:
    """Draws of the asked modalities from p(x_ask | z), z from q(z | what the batch gives)."""
    with items().repeated(draws):
        given = latents(guide_sites(guide, batch))
        known = batch.given([name for name in model.conditions if name in batch.arrays])
        sites = model_sites(model, replace(known, ask=ask), given)
    return {name: whole(sites, name) for name in ask}


@by_items
def generate(model: Any, guide: Any, batch: Batch, draws: int, ask: tuple[str, ...]) -> dict[str, Any]:
    """Draws of the asked modalities from the model; all draws of an item share its latents.

    An item's own latents come from their prior; those that all items share are known from the data, and come from the
    guide.
    """
    sites = model_sites(model, batch, shared(guide, batch))
    given = {name: site["value"] for name, site in sites.items() if owner(name, ask)[0] not in ask}

    @each_draw
    def measured(model: Any, guide: Any, batch: Batch, draws: int, ask: tuple[str, ...]) -> dict[str, Any]:
        with items().repeated(draws):
            sites = model_sites(model, batch, given)
        return {name: whole(sites, name) for name in ask}

    return Question(measured, draws, ask)(model, guide, batch)


@in_turn(MANY)
@each_draw
def log_weights(model: Any, guide: Any, batch: Batch, draws: int) -> dict[str, Any]:
    """``log p(x, z) − log q(z | x)`` of every draw and item, for what the batch gives, in nats.

    What is enumerated is summed out. Latents that all items share are drawn from the guide and count no further: the
    weights are then those of an item's predictive density.
    """
    with items().repeated(draws), items().enumerating():
        proposal = guide_sites(guide, alone(batch))
        target = random_sites(model, alone(batch), latents(proposal))
        return {"log_weights": weights(target, proposal)}
