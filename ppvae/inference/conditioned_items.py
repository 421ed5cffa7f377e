"""Conditioned items: several questions in JAX about the same items, of which some modalities are given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ppvae.data.dataset import Dataset
from ppvae.inference import subset_questions
from ppvae.inference.questions import Question

if TYPE_CHECKING:
    from ppvae.inference.fitted import Fitted


@dataclass(frozen=True, eq=False)
class ConditionedItems:
    """Items of which some modalities are given, and the pair that is asked about them.

    Attributes:
        fitted: the pair, on NumPyro.
        data: the items.
        given: the modalities that count.
        keys: of the items with all they have, ``(items,)``, so that items that look alike here draw apart.
        seed: of all draws.
        rows: the items' numbers in the data that the pair was trained on, ``(items,)``; None if they are of others.
    """

    fitted: Fitted
    data: Dataset
    given: Sequence[str] | None
    keys: np.ndarray
    seed: int
    rows: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.data)

    def take(self, rows: np.ndarray) -> ConditionedItems:
        """The same about some of the items."""
        numbers = None if self.rows is None else self.rows[rows]
        return replace(self, data=self.data.take(rows), keys=self.keys[rows], rows=numbers)

    def ask(self, question: Question, at: Mapping[str, Any] | None = None) -> dict[str, np.ndarray]:
        """The question's answer for every item; arrays ``at``, ``(items, ...)``, stand beside the data."""
        return subset_questions.ask(self.fitted, question, self.data, self.given, self.seed, at, self.keys, self.rows)


def conditioned(fitted: Fitted, data: Dataset, given: Sequence[str] | None, seed: int) -> ConditionedItems:
    """Questions about p(z | x_given) of the items, whichever backend trained the pair, without what is not given.

    Decoders of that do not run.

    Raises:
        ValueError: a name is unknown or not in the data.
    """
    about = whole(fitted, data, given, seed)
    names = list(about.data.arrays)
    shown = names if given is None else subset_questions.there(data, fitted.known(given))
    kept = [name for name in names if name in shown or name in fitted.vae.model.conditions]
    return replace(about, data=about.data.only(kept or names))


def whole(fitted: Fitted, data: Dataset, given: Sequence[str] | None, seed: int) -> ConditionedItems:
    """The same with all that the run knows of the items, so that a question about any subset is compiled once."""
    rows = np.arange(len(data)) if data.order == fitted.notes.get("order") else None
    known = data.only(subset_questions.held(fitted, data))
    return ConditionedItems(fitted.to("numpyro"), known, given, data.keys, seed, rows)
