"""Answers: latents, predictions and densities at draws of each item's own posterior, and its evidence."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ppvae.inference.arviz_groups import Group, drawn
from ppvae.inference.conditioned_items import ConditionedItems, whole
from ppvae.inference.correction import questions
from ppvae.inference.correction.ladder import PARTICLES, Weighed, weighed
from ppvae.inference.correction.served import Answer, Answers, Served
from ppvae.inference.log_means import log_mean
from ppvae.inference.predicted import as_measured
from ppvae.inference.questions import Question

if TYPE_CHECKING:
    from ppvae.data.dataset import Dataset
    from ppvae.inference.fitted import Fitted

POSTERIORS = ("guide", "corrected", "auto")
Arrays = dict[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class Posteriors:
    """p(z | x_given) of each item, and what :class:`ppvae.inference.fitted.Fitted` answers by it.

    Attributes:
        about: the items.
        posterior: ``"corrected"`` or ``"auto"``.
    """

    about: ConditionedItems
    posterior: str

    def encode(self, draws: int) -> Answers:
        """Draws of every latent that the guide has: site to ``(draws, items, *event)``."""
        (found,), served = self.at_draws(draws, Question(questions.latents))
        return Answers(found, served)

    def query(self, ask: Sequence[str], draws: int) -> Answers:
        """Draws of the asked modalities: name to ``(draws, items, *shape)``."""
        (found,), served = self.at_draws(draws, Question(questions.predictions, ask=tuple(ask)))
        return Answers(as_measured(found, self.about.fitted.modalities), served)

    def log_weights(self, particles: int) -> Answer:
        """``log p(x_given, z)`` less the log density of what z was drawn from: ``(particles, items)``."""
        return self._reduced(particles, lambda log_weights: log_weights)

    def log_evidence(self, particles: int) -> Answer:
        """The log mean of the weights, ``(items,)``."""
        return self._reduced(particles, lambda log_weights: log_mean(log_weights)[0])

    def groups(self, draws: int) -> dict[str, Group]:
        """The groups of an ArviZ result that stand on the posterior, all at the same draws."""
        data, names = self.about.data, tuple(self.about.data.arrays)
        (latents, predicted, scored), served = self.at_draws(
            draws,
            Question(questions.latents),
            Question(questions.predictions, ask=tuple(self.about.fitted.explained)),
            Question(questions.likelihoods, ask=names),
        )
        return {
            "posterior": drawn(latents, "latent"),
            "posterior_predictive": drawn(as_measured(predicted, self.about.fitted.modalities), "feature"),
            "log_likelihood": drawn({n: np.where(data.present(n), v, np.nan) for n, v in scored.items()}),
            "sample_stats": {
                "khat": (("item",), served.khat),
                "passes": (("item",), served.passes),
                "stage": (("item",), served.stage.astype(str)),
            },
        }

    def at_draws(self, draws: int, *asked: Question) -> tuple[list[Arrays], Served]:
        """What questions find at the same draws, name to ``(draws, items, ...)``, and how the items were served.

        Raises:
            ValueError: no draws were asked for.
        """
        if draws < 1:
            raise ValueError(f"{draws} draws of {len(self.about)} items were asked for; ask for at least one of one")

        def found(some: Weighed) -> list[Arrays]:
            at = {"vectors": some.resampled(draws)}
            return [some.about.ask(question, at) for question in asked]

        parts, served = self._each(PARTICLES, draws, found)
        return [
            {name: self._joined([part[name] for part in each]) for name in each[0]} for each in zip(*parts, strict=True)
        ], served

    def _reduced(self, particles: int, function: Callable[[np.ndarray], np.ndarray]) -> Answer:
        parts, served = self._each(particles, 1, lambda some: function(some.log_weights))
        return Answer(self._joined(parts), served)

    def _each(self, particles: int, draws: int, function: Callable[[Weighed], Any]) -> tuple[list[Any], Served]:
        """What a function finds of some items at a time, and how all were served."""
        parts = [(function(some), some.served) for some in weighed(self.about, self.posterior, particles, draws)]
        found, served = zip(*parts, strict=True)
        return list(found), Served(*(self._joined([getattr(each, n) for each in served]) for n in ("stage", "khat")))

    def _joined(self, parts: Sequence[np.ndarray]) -> np.ndarray:
        """Arrays ``(items,)`` or ``(draws, items, ...)`` of some items each as one, without what the last repeats."""
        axis = min(1, parts[0].ndim - 1)
        return np.concatenate(parts, axis).take(range(len(self.about)), axis)


def posteriors(fitted: Fitted, data: Dataset, given: Sequence[str] | None, seed: int, posterior: str) -> Posteriors:
    """The posteriors of the items, corrected all or where the guide fails.

    Raises:
        ValueError: there is no such posterior, or the data have none of the run's modalities, or do not fit it.
    """
    if posterior not in POSTERIORS:
        raise ValueError(f"unknown posterior {posterior!r}; choose one of {', '.join(POSTERIORS)}")
    return Posteriors(whole(fitted, data, given, seed), posterior)
