"""Conditioned items: several questions in JAX about the same items, of which some modalities are given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ppvae.data.dataset import Dataset
from ppvae.inference import subset_questions
from ppvae.inference.fitted import Fitted
from ppvae.inference.questions import Question


@dataclass(frozen=True, eq=False)
class ConditionedItems:
    """Items of which some modalities are given, and the pair that is asked about them.

    Attributes:
        fitted: the pair, on NumPyro.
        data: the items, without what is not given: decoders of that do not run.
        given: the modalities that count.
        keys: of the items with all they have, ``(items,)``, so that items that look alike here draw apart.
        seed: of all draws.
    """

    fitted: Fitted
    data: Dataset
    given: Sequence[str] | None
    keys: np.ndarray
    seed: int

    def __len__(self) -> int:
        return len(self.data)

    def take(self, rows: np.ndarray) -> ConditionedItems:
        """The same about some of the items."""
        return replace(self, data=self.data.take(rows), keys=self.keys[rows])

    def ask(self, question: Question, at: Mapping[str, Any] | None = None) -> dict[str, np.ndarray]:
        """The question's answer for every item; arrays ``at``, ``(items, ...)``, stand beside the data."""
        return subset_questions.ask(self.fitted, question, self.data, self.given, self.seed, at, self.keys)


def conditioned(fitted: Fitted, data: Dataset, given: Sequence[str] | None, seed: int) -> ConditionedItems:
    """Questions about p(z | x_given) of the items, whichever backend trained the pair.

    Raises:
        ValueError: a name is unknown or not in the data.
    """
    names = subset_questions.held(fitted, data)
    shown = names if given is None else subset_questions.there(data, fitted.known(given))
    kept = [name for name in names if name in shown or name in fitted.vae.model.conditions]
    return ConditionedItems(fitted.to("numpyro"), data.only(kept or names), given, data.keys, seed)
