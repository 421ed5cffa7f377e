"""Active units: which latents carry something of the items."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ppvae.data.dataset import Dataset
from ppvae.diagnostics.simulation import prior_draws
from ppvae.inference import questions, subset_questions
from ppvae.inference.fitted import Fitted
from ppvae.inference.questions import Question, each_draw
from ppvae.language.batch import Batch


@dataclass(frozen=True, eq=False)
class Activity:
    """What each single latent carries of the items.

    Attributes:
        given: the modalities that were shown.
        names: of the latents.
        variance: of the posterior mean over items, ``(latents,)``.
        kl: mean KL of the posterior's to the prior's marginal, as Gaussians of their moments, in nats, ``(latents,)``.
    """

    given: tuple[str, ...] | None
    names: tuple[str, ...]
    variance: np.ndarray
    kl: np.ndarray

    def active(self, threshold: float = 0.01) -> int:
        """How many posterior means vary by more than the threshold (Burda et al. 2016)."""
        return int((self.variance > threshold).sum())

    def informative(self, nats: float = 0.1) -> int:
        """How many latents cost more than so many nats."""
        return int((self.kl > nats).sum())

    @property
    def verdict(self) -> str:
        """How many latents are used."""
        used, all_of = self.active(), len(self.names)
        cure = "; the others stand idle" if used < all_of else ""
        where = subset_questions.label(self.given)
        return f"given {where}, {used} of {all_of} latents are active, {self.informative()} cost 0.1 nats or more{cure}"


def activity(
    fitted: Fitted, data: Dataset, given: Sequence[str] | None = None, draws: int = 100, seed: int = 0
) -> Activity:
    """Which latents are in use given a subset of modalities.

    The variance over items of the mean of so many draws is freed of what the draws' own noise adds to it. Items that
    have nothing of the subset are left out.

    Raises:
        ValueError: there are fewer than two items, so that nothing varies.
    """
    data = data.take(subset_questions.showing(data, given))
    if len(data) < 2:
        raise ValueError(f"activity is measured over items, of which there are {len(data)}; take two or more")
    drawn = subset_questions.ask(fitted, Question(_drawn, draws), data, given, seed)
    prior = prior_draws(fitted, data, draws, seed)
    (names, posterior), (_, start) = (subset_questions.columns({n: each[n] for n in drawn}) for each in (drawn, prior))
    mean, spread = posterior.mean(0), posterior.var(0, ddof=1)
    ratio = spread / start.var((0, 1), ddof=1)
    shift = (mean - start.mean((0, 1))) ** 2 / start.var((0, 1), ddof=1)
    kl = 0.5 * (ratio + shift - 1 - np.log(np.maximum(ratio, np.finfo(float).tiny))).mean(0)
    variance = np.maximum(mean.var(0, ddof=1) - (spread / draws).mean(0), 0.0)
    return Activity(None if given is None else tuple(given), names, variance, kl)


@each_draw
def _drawn(model: Any, guide: Any, batch: Batch, draws: int) -> dict[str, Any]:
    """Draws of each item's own latents from q(z | x_S), S what is shown: by name ``(draws, items, ...)``."""
    return questions.encode(model, guide, subset_questions.shown(batch), draws)
