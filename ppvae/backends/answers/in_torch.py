"""Pyro's answers: a question asked of every item alone, or of many that then draw as they do alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyro
import torch
from torch import nn

from ppvae.backends.devices import own_noise, random_operations
from ppvae.backends.devices.in_torch import seed
from ppvae.backends.devices.random_operations import Place
from ppvae.backends.pyro_items import Jointly
from ppvae.language.batch import Batch

SEVERAL = 16  # items, fewer of which are asked one after the other
ROWS = 2048  # draws times items at once, about: more would not fit into a processor's caches

Answers = dict[str, torch.Tensor]


def each_item(
    pair: nn.ModuleDict,
    question: Any,
    arrays: Mapping[str, Any],
    observed: Mapping[str, Any],
    keys: np.ndarray,
    rows: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """``question(model, guide, batch)`` for every item alone, seeded by the item's key; joined on axis 1.

    A mask without dims is that of every item. Items are asked together where that is known to be the same.
    """
    place = torch.empty(()).device
    pair.to(place).eval()
    asked = _Asked(pair, question, arrays, observed, keys, rows)
    with torch.no_grad(), pyro.validation_enabled(False):
        answers = (_together(asked) if place.type == "cpu" else None) or [asked.alone(i) for i in range(len(keys))]
    return {name: torch.cat([a[name] for a in answers], 1).cpu().numpy() for name in answers[0]}


@dataclass(frozen=True)
class _Asked:
    """A question and the items that it is asked of."""

    pair: nn.ModuleDict
    question: Any
    arrays: Mapping[str, Any]
    observed: Mapping[str, Any]
    keys: np.ndarray
    rows: np.ndarray | None

    def alone(self, item: int) -> Answers:
        """The answer for one item."""
        seed(*map(int, self.keys[item]))
        return self._of(slice(item, item + 1))

    def together(self, items: slice, found: Sequence[Place | None]) -> Answers:
        """The answer for several, which draw in the places that were ``found``."""
        states = [_state(key) for key in self.keys[items]]
        with own_noise.drawing(found, states, self.question.jointly):
            return self._of(items)

    def _of(self, items: slice) -> Answers:
        with self._jointly():
            return self.question(self.pair["model"], self.pair["guide"], self._batch(items))

    def places(self) -> list[Place | None]:
        """Where the items are in each random operation."""
        return random_operations.places(lambda count: self._of(slice(count)))

    def _jointly(self) -> AbstractContextManager[Any]:
        return Jointly(*map(int, self.keys[0][1:])) if self.question.jointly else nullcontext()

    def _batch(self, items: slice) -> Batch:
        size = items.stop - (items.start or 0)
        here = {name: array[items] for name, array in self.arrays.items()}
        seen = {name: mask[items] if mask.ndim else mask.expand(size) for name, mask in self.observed.items()}
        return Batch(here, seen, size, size, index=None if self.rows is None else self.rows[items])


def _state(key: np.ndarray) -> torch.Tensor:
    seed(*map(int, key))
    return torch.default_generator.get_state()


def _together(asked: _Asked) -> list[Answers] | None:
    """The answers for all items, many at once; None where they would not be those of items alone, or cost more."""
    count, draws = len(asked.keys), asked.question.draws
    turns = draws if asked.question.one_by_one(asked.pair["model"]) else 1
    size = ROWS * turns // draws
    if count < SEVERAL or size < SEVERAL or not getattr(asked.question.function, "by_items", False):
        return None
    tried = replace(asked, question=replace(asked.question, draws=draws // turns))
    try:
        found = tried.places()
        if not _alike(tried.together(slice(2), found), tried.alone(0), tried.alone(1)):
            return None
        starts = range(0, count, size)
        return [asked.together(slice(start, min(start + size, count)), found * turns) for start in starts]
    except ValueError:  # items draw together, or a text does not take several, and says so of one alone if it must
        return None


def _alike(both: Answers, *alone: Answers) -> bool:
    """Are the answers for two items those for each?"""
    expected = {name: torch.cat([each[name] for each in alone], 1) for name in alone[0]}
    return all(_close(both[name], value) for name, value in expected.items())


def _close(found: torch.Tensor, expected: torch.Tensor) -> bool:
    """Are they equal, but for sums in another order?"""
    if found.shape != expected.shape or not expected.is_floating_point():
        return torch.equal(found, expected)
    size = expected[expected.isfinite()].abs().max().item() if expected.isfinite().any() else 0.0
    limit = size * torch.finfo(expected.dtype).eps ** 0.75
    return torch.allclose(found, expected, rtol=0, atol=limit, equal_nan=True)
