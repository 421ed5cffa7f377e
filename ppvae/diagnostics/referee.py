"""Referee: the guide's posterior of each item beside NUTS's, latent by latent."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.discriminant_analysis import QuadraticDiscriminantAnalysis
from sklearn.model_selection import StratifiedKFold, cross_val_score

from ppvae.data.dataset import Dataset
from ppvae.diagnostics import questions
from ppvae.diagnostics.nuts import Chains
from ppvae.posterior import Fitted

FOLDS, SHRINK = 5, 1e-3


@dataclass(frozen=True, eq=False)
class Comparison:
    """The guide against NUTS.

    Attributes:
        latents: names of the columns: ``"z[0]"``, ``"z[1]"``, ...
        guide_mean, guide_sd, nuts_mean, nuts_sd: moments ``(items, latents)``.
        wasserstein: the distance W1 between the two marginals, in the latent's own units ``(items, latents)``.
        c2st: how often a classifier tells the two apart, ``(items,)``: 0.5 where it cannot, 1 where it always does.
    """

    latents: tuple[str, ...]
    guide_mean: np.ndarray
    guide_sd: np.ndarray
    nuts_mean: np.ndarray
    nuts_sd: np.ndarray
    wasserstein: np.ndarray
    c2st: np.ndarray

    def rows(self) -> Iterator[dict[str, Any]]:
        """A table: one row for each item and latent."""
        columns = ("guide_mean", "guide_sd", "nuts_mean", "nuts_sd", "wasserstein")
        for item, score in enumerate(self.c2st):
            for k, latent in enumerate(self.latents):
                values = {name: float(getattr(self, name)[item, k]) for name in columns}
                yield {"item": item, "latent": latent, **values, "c2st": float(score)}


def compare(
    fitted: Fitted, data: Dataset, chains: Chains, given: Sequence[str] | None = None, seed: int = 0
) -> Comparison:
    """Compare q(z | x_given) with the chains of the same items and modalities, on as many draws of each.

    The classifier two-sample test (Lopez-Paz & Oquab 2017, "Revisiting classifier two-sample tests") is quadratic
    discriminant analysis, cross-validated: it sees differences of location, scale and correlation.
    """
    referee = {name: values.reshape(-1, *values.shape[2:]) for name, values in chains.draws.items()}
    count = len(next(iter(referee.values())))
    drawn = fitted.encode(data, given, count, seed)
    names, p = questions.columns(referee)
    _, q = questions.columns({name: drawn[name] for name in referee})
    distance = np.abs(np.sort(p, 0) - np.sort(q, 0)).mean(0)
    scores = np.array([_told_apart(p[:, item], q[:, item], seed) for item in range(p.shape[1])])
    return Comparison(names, q.mean(0), q.std(0), p.mean(0), p.std(0), distance, scores)


def _told_apart(one: np.ndarray, other: np.ndarray, seed: int) -> float:
    """Accuracy on draws that the classifier was not fitted to."""
    x, label = np.concatenate([one, other]), np.repeat([0, 1], [len(one), len(other)])
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    classifier = QuadraticDiscriminantAnalysis(reg_param=SHRINK)
    return float(cross_val_score(classifier, (x - x.mean(0)) / x.std(0), label, cv=folds).mean())
