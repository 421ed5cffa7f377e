"""Outside: items that a fitted model would hardly make, which no better posterior can mend."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ppvae.data.dataset import Dataset
from ppvae.diagnostics.simulation import measured_anew, simulate
from ppvae.inference import subset_questions
from ppvae.inference.fitted import Fitted
from ppvae.inference.questions import Question

ALARM = 0.01  # the share of the model's own items that are flagged
SIMULATED = 1000  # half of them tell the moments of summaries, and half the level
DRAWS = 50  # of the guide


@dataclass(frozen=True, eq=False)
class Outside:
    """How far items are from those that the model makes.

    Attributes:
        distance: of each item's summaries from those of simulated items, Mahalanobis', ``(items,)``; NaN where an item
            has nothing of what is given.
        level: the distance that one simulated item in a hundred exceeds.
    """

    distance: np.ndarray
    level: float

    @property
    def flagged(self) -> np.ndarray:
        """Booleans ``(items,)``: is the item outside the model?"""
        return self.distance > self.level

    @property
    def verdict(self) -> str:
        """How many items are flagged, in one sentence."""
        count = f"outside the model: {self.flagged.sum()} of {len(self.distance)} items"
        return f"{count}; correction cannot mend a model that does not fit" if self.flagged.any() else count


def outside(fitted: Fitted, data: Dataset, given: Sequence[str] | None = None, seed: int = 0) -> Outside:
    """Compare items with simulated ones, which have the same holes: one in a hundred of the model's own is flagged.

    The summaries of an item are ``log p(x_m | z)`` for each modality m that is given, a measured element, and
    ``log p(z)``, the means over draws of the guide. The guide need not be right: it makes of simulated items what it
    makes of others.

    Args:
        fitted: the pair, on either backend.
        data: the items.
        given: the modalities that count; all by default.
        seed: of all draws.

    Raises:
        ValueError: a name is unknown or not in the data.
    """
    seen = np.flatnonzero(subset_questions.showing(data, given))
    rows = data.take(np.resize(seen if len(seen) else np.arange(len(data)), SIMULATED))
    made = measured_anew(fitted, rows, simulate(fitted, rows, given, SIMULATED, 1, seed).measured)
    known, new = _summaries(fitted, made, given, seed), _summaries(fitted, data, given, seed)
    half = known[: SIMULATED // 2]
    center, unit = np.nanmean(half, 0), np.nanstd(half, 0) + np.finfo(float).tiny
    white = [np.nan_to_num((each - center) / unit) for each in (known, new)]  # what an item lacks is as expected
    inverse = np.linalg.pinv(np.cov(white[0][: len(half)].T).reshape(len(center), -1), hermitian=True)
    own, found = (np.sqrt(np.einsum("ni,ij,nj->n", each, inverse, each)) for each in white)
    level = np.quantile(own[len(half) :], 1 - ALARM, method="higher")
    return Outside(np.where(subset_questions.showing(data, given), found, np.nan), float(level))


def _summaries(fitted: Fitted, data: Dataset, given: Sequence[str] | None, seed: int) -> np.ndarray:
    """The summaries of each item, ``(items, modalities + 1)``; NaN where the item lacks the modality."""
    found = subset_questions.ask(fitted, Question(subset_questions.terms, DRAWS), data, given, seed)
    names = [name for name in subset_questions.explained(fitted, data) if given is None or name in given]
    measured = [(~np.isnan(data.holed(name))).reshape(len(data), -1).sum(1) for name in names]
    with np.errstate(divide="ignore", invalid="ignore"):
        each = [found[f"log_like {n}"].mean(0, dtype=float) / count for n, count in zip(names, measured, strict=True)]
    return np.stack([*each, found["log_prior"].mean(0, dtype=float)], 1)
