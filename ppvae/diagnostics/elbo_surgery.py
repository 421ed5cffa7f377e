"""ELBO surgery: how much of its KL term is information about the item, and how much is the prior's misfit.

Hoffman & Johnson 2016 ("ELBO surgery: yet another way to carve up the variational evidence lower bound"): with
``q(z) = (1/N) Σ_n q(z | x_n)``, the mean KL to the prior is ``I(n; z) + KL(q(z) ‖ p(z))``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp

from ppvae.data.dataset import Dataset
from ppvae.inference import subset_questions
from ppvae.inference.chunks import DRAWS
from ppvae.inference.fitted import Fitted
from ppvae.inference.questions import Question


@dataclass(frozen=True, eq=False)
class Surgery:
    """The parts of the KL term at a draw z of each item, in nats, ``(items,)``; their means are what they estimate.

    Attributes:
        given: the modalities that were shown.
        information: ``log q(z | x_n) − log q(z)``: the mutual information of item and latent, at most log N.
        hole: ``log q(z) − log p(z)``: the KL divergence of the aggregate posterior from the prior.
    """

    given: tuple[str, ...] | None
    information: np.ndarray
    hole: np.ndarray

    @property
    def kl(self) -> np.ndarray:
        """``log q(z | x_n) − log p(z)``, ``(items,)``."""
        return self.information + self.hole

    @property
    def verdict(self) -> str:
        """The parts, and what they mean."""
        known, hole, most = self.information.mean(), self.hole.mean(), np.log(len(self.hole))
        parts = f"KL {known + hole:.2f} = information {known:.2f} (at most {most:.2f}) + prior hole {hole:.2f} nats"
        if known < 0.1:
            return f"{parts}: the latents say next to nothing of the item"
        return f"{parts}: {'draws from the prior miss the data' if hole > 0.5 * known else 'the prior fits'}"


def surgery(
    fitted: Fitted, data: Dataset, given: Sequence[str] | None = None, items: int = DRAWS, seed: int = 0
) -> Surgery:
    """The surgery given a subset of modalities, on at most ``items`` of the data that have something of it.

    Its cost grows with the square of their number.
    """
    data = data.take(np.flatnonzero(subset_questions.showing(data, given))[:items])
    found = subset_questions.ask(fitted, Question(subset_questions.terms, 1), data, given, seed)
    points = {name: values[0] for name, values in subset_questions.beginning(subset_questions.DRAWN, found).items()}
    mixture = np.concatenate(
        [
            _mixture(fitted, data, given, {name: z[start : start + DRAWS] for name, z in points.items()}, seed)
            for start in range(0, len(data), DRAWS)
        ]
    )
    log_guide, log_prior = (found[name][0].astype(np.float64) for name in ("log_guide", "log_prior"))
    return Surgery(None if given is None else tuple(given), log_guide - mixture, mixture - log_prior)


def _mixture(
    fitted: Fitted, data: Dataset, given: Sequence[str] | None, points: dict[str, np.ndarray], seed: int
) -> np.ndarray:
    """``log q(z)`` of the aggregate posterior at points ``(points, ...)``: ``(points,)``."""
    question = Question(subset_questions.densities, len(next(iter(points.values()))))
    at = {name: np.broadcast_to(z, (len(data), *z.shape)) for name, z in points.items()}
    density = subset_questions.ask(fitted, question, data, given, seed, at)["log_guide"]
    return logsumexp(density.astype(np.float64), axis=1) - np.log(len(data))
