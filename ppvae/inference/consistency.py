"""Consistency: does each modality of an item agree with the rest of it, or was it corrupted, swapped or mispaired?"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from ppvae.data.dataset import Dataset
from ppvae.inference import subset_questions
from ppvae.inference.log_means import log_mean, other_seed
from ppvae.inference.questions import Question

if TYPE_CHECKING:
    from ppvae.inference.fitted import Fitted

OUTLIER = 3.5  # modified z-scores beyond it are outliers (Iglewicz & Hoaglin 1993, "How to detect and handle outliers")
NORMAL = 0.6745  # the median absolute deviation of N(0, 1)
DRAWS = 100  # of the guide, for a conflict

Evidence = tuple[np.ndarray, np.ndarray]  # with its error
Pairs = dict[tuple[int, int], Evidence]


@dataclass(frozen=True, eq=False)
class Consistency:
    """How well each modality of each item fits the rest of it.

    Attributes:
        names: of the modalities.
        values: ``log p(x_m | rest) − log p(x_m)`` in nats, ``(modalities, items)``: below 0 the rest makes x_m less
            likely than if it were of any other item. NaN where an item lacks m, or has nothing else.
        errors: Monte Carlo standard errors, alike; too small where importance weights are poor, as those of items that
            disagree can be: their values are then too low, not too high.
        conflict: Jeffreys' divergence between the guide's posteriors given x_m and given the rest, in nats, alike; NaN
            also for a guide that knows the density of its own draws alone.
        pairwise: the mean of ``log p(x_m | x_o) − log p(x_m)`` over the other modalities o of the item, alike.
        pairwise_errors: theirs.
    """

    names: tuple[str, ...]
    values: np.ndarray
    errors: np.ndarray
    conflict: np.ndarray
    pairwise: np.ndarray
    pairwise_errors: np.ndarray

    @property
    def scores(self) -> np.ndarray:
        """The lowest pairwise value of each item, ``(items,)``; NaN where it has but one modality.

        What disagrees with each of the others is what is wrong, and a pair's evidence is better known than that of all.
        """
        return np.fmin.reduce(self.pairwise, 0)

    @property
    def culprits(self) -> np.ndarray:
        """The number of the modality with the lowest score, ``(items,)``; of two modalities, which is wrong is open."""
        return np.nan_to_num(self.pairwise, nan=np.inf).argmin(0)

    def suspects(self) -> np.ndarray:
        """The rows that disagree with themselves, the most suspicious first.

        Their score is below 0 by more than two standard errors, and an outlier among the scores.
        """
        scores = self.scores
        errors = self.pairwise_errors[self.culprits, np.arange(len(scores))]
        middle = np.nanmedian(scores)
        spread = np.nanmedian(np.abs(scores - middle))
        found = (scores + 2 * errors < 0) & (NORMAL * (middle - scores) > OUTLIER * spread)
        order = np.argsort(np.where(found, scores, np.inf), kind="stable")
        return order[: found.sum()]

    @property
    def verdict(self) -> str:
        """How many items disagree with themselves, and the worst of them."""
        rows = self.suspects()
        if not len(rows):
            return f"of {len(self.scores)} items, none disagrees with itself"
        worst, culprit = rows[0], self.names[self.culprits[rows[0]]]
        return (
            f"of {len(self.scores)} items, {len(rows)} disagree with themselves; {culprit} of row {worst} is "
            f"{-self.scores[worst]:.0f} nats less likely given another modality than alone"
        )


def consistency(fitted: Fitted, data: Dataset, particles: int = 1000, seed: int = 0) -> Consistency:
    """See :meth:`ppvae.inference.fitted.Fitted.consistency`."""
    names = _compared(fitted, data)
    one, one_error = alone = _alone(fitted, data, names, particles, seed)
    rest = [[other for other in names if other != name] for name in names]
    whole, error = _evidence(fitted, data, names, particles, seed)
    others = [_evidence(fitted, data, some, particles, other_seed(seed, n + len(names))) for n, some in enumerate(rest)]
    other, other_error = np.stack(others, 1)
    values = whole - one - other, np.sqrt(error**2 + one_error**2 + other_error**2)
    return _by_pairs(fitted, data, names, values, alone, particles, seed)


def pairwise_consistency(fitted: Fitted, data: Dataset, particles: int = 1000, seed: int = 0) -> Consistency:
    """The same without values and their errors, which are NaN: what scores and suspects need, for half the work."""
    names = _compared(fitted, data)
    alone = _alone(fitted, data, names, particles, seed)
    unknown = np.full_like(alone[0], np.nan)
    return _by_pairs(fitted, data, names, (unknown, unknown), alone, particles, seed)


def _compared(fitted: Fitted, data: Dataset) -> list[str]:
    """The modalities that are compared.

    Raises:
        ValueError: there are fewer than two.
    """
    names = subset_questions.explained(fitted, data)
    if len(names) < 2:
        raise ValueError(
            f"consistency compares modalities, and the data have only {', '.join(names) or 'none'} of these"
        )
    return names


def _by_pairs(
    fitted: Fitted, data: Dataset, names: list[str], values: Evidence, alone: Evidence, particles: int, seed: int
) -> Consistency:
    """Values and their errors, and what else there is to be known."""
    present = np.stack([data.present(name) for name in names])
    pairs = _pairs(fitted, data, names, particles, seed)
    found = [*values, _conflict(fitted, data, names, seed), *_pairwise(pairs, *alone, present)]
    return Consistency(tuple(names), *(np.where(present & (present.sum(0) > 1), part, np.nan) for part in found))


def _alone(fitted: Fitted, data: Dataset, names: list[str], particles: int, seed: int) -> Evidence:
    """The evidence of each modality and its error, ``(modalities, items)`` each."""
    found = [_evidence(fitted, data, [name], particles, other_seed(seed, n)) for n, name in enumerate(names)]
    one, error = np.stack(found, 1)
    return one, error


def _pairs(fitted: Fitted, data: Dataset, names: list[str], particles: int, seed: int) -> Pairs:
    """The evidence of each two modalities and its error, by their numbers."""
    numbers = list(combinations(range(len(names)), 2))
    seeds = (other_seed(seed, 2 * len(names) + n) for n in range(len(numbers)))
    each = (
        _evidence(fitted, data, [names[a], names[b]], particles, s) for (a, b), s in zip(numbers, seeds, strict=True)
    )
    return dict(zip(numbers, each, strict=True))


def _pairwise(pairs: Pairs, one: np.ndarray, error: np.ndarray, present: np.ndarray) -> Evidence:
    """The mean of ``log p(x_m | x_o) − log p(x_m)`` over what else an item has, and its error."""
    total, variance, count = np.zeros((3, *one.shape))
    for (a, b), (both, both_error) in pairs.items():
        there = present[a] & present[b]
        for m, o in ((a, b), (b, a)):
            total[m] += there * (both - one[a] - one[b])
            variance[m] += there * (both_error**2 + error[o] ** 2)
            count[m] += there
    count = np.maximum(count, 1)
    return total / count, np.sqrt(variance / count**2 + error**2)


def _evidence(fitted: Fitted, data: Dataset, given: list[str], particles: int, seed: int) -> Evidence:
    question = Question(subset_questions.log_weights, particles)
    weights = subset_questions.ask(fitted, question, data, given, seed)["log_weights"]
    return log_mean(weights.astype(np.float64))


def _conflict(fitted: Fitted, data: Dataset, names: list[str], seed: int) -> np.ndarray:
    question = Question(subset_questions.conflicts, DRAWS)
    try:
        found = [subset_questions.ask(fitted, question, data, [name], seed)["conflicts"] for name in names]
    except NotImplementedError:  # a flow without an inverse
        return np.full((len(names), len(data)), np.nan)
    return np.stack([each.mean(0, dtype=np.float64) for each in found])
