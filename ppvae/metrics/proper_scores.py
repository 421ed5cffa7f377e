"""Proper scores of predictions, which the true distribution wins on average: CRPS, energy, and the log score."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
from scipy.spatial.distance import pdist

from ppvae.data.dataset import Dataset
from ppvae.inference.fitted import Fitted
from ppvae.metrics.classifiers import complete
from ppvae.metrics.reconstruction import Compare, compared
from ppvae.metrics.subsets import anything, shown


def crps(real: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """The continuous ranked probability score of each element, ``(items, *shape)``, in its own units: lower is better.

    ``E|X − x| − E|X − X'| / 2`` (Gneiting and Raftery 2007, equation 21), where the second mean is over all pairs of
    different draws, so that few draws are not scored worse than many on average (Ferro 2014).

    Args:
        real: ``(items, *shape)``; NaN is a hole, and so is its score.
        draws: from the predictive distribution, ``(draws, items, *shape)``.

    Raises:
        ValueError: there are fewer than two draws.

    >>> crps(np.array([[0.0]]), np.array([[[1.0]], [[3.0]]]))
    array([[1.]])
    """
    count = _count(draws)
    errors = np.sort(draws - real.astype(np.float64), axis=0)
    ranks = 2 * np.arange(count) - count + 1
    return np.abs(errors).mean(0) - np.tensordot(ranks, errors, 1) / (count * (count - 1))


def energy(real: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """The energy score of each item, ``(items,)``: the :func:`crps` of all its elements together, lower is better.

    ``E|X − x| − E|X − X'| / 2`` with Euclidean distances (Gneiting and Raftery 2007, equation 22), in the elements'
    units: divide by their spreads where these differ. Elements that are NaN in ``real`` are left out of the distances;
    an item without any other is NaN. Shapes and errors are those of :func:`crps`.
    """
    count, items = _count(draws), len(real)
    seen = ~np.isnan(real)
    errors = np.where(seen, draws - real.astype(np.float64), 0).reshape(count, items, -1)
    apart = np.array([pdist(errors[:, item]).sum() for item in range(items)]) / (count * (count - 1))
    score = np.linalg.norm(errors, axis=-1).mean(0) - apart
    return np.where(seen.reshape(items, -1).any(1), score, np.nan)


def predictive_scores(
    fitted: Fitted,
    data: Dataset,
    given: Collection[str],
    ask: Sequence[str] | None = None,
    score: Compare = crps,
    draws: int = 100,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """A proper score of the predictive draws of each asked modality from the given ones: name to what ``score`` gives.

    Draws are those of :meth:`~ppvae.inference.fitted.Fitted.query`, with the noise of the likelihood. ``ask`` defaults
    to all that the model explains. Items that have nothing of what is given, and elements that were not measured, are
    NaN.

    Args:
        fitted: the run.
        data: the items.
        given: the modalities to predict from.
        ask: those to predict.
        score: of ``(real, draws)``: :func:`crps`, :func:`energy`, or one of your own.
        draws: of each item.
        seed: of the draws.
    """
    rows = shown(data, [given])
    return compared(score, data, anything(rows), fitted.query(rows, ask=ask, draws=draws, seed=seed))


def _count(draws: np.ndarray) -> int:
    if len(draws) < 2:
        raise ValueError(f"a score was asked of {len(draws)} draws; it needs at least two")
    return len(draws)


def conditional_evidence(fitted: Fitted, data: Dataset, particles: int = 200, seed: int = 0) -> dict[str, np.ndarray]:
    """``log p(x_m | x_-m) = log p(x) − log p(x_-m)`` of each modality m of each item, in nats: name to ``(items,)``.

    Both terms are importance weighted with the same number of particles; NaN where an item lacks all or some of x_m.
    """
    names = fitted.explained
    subsets = [list(data.arrays), *([other for other in data.arrays if other != name] for name in names)]
    whole, *others = np.split(fitted.log_evidence(shown(data, subsets), particles=particles, seed=seed), len(subsets))
    return {
        name: np.where(complete(data, name), whole - rest, np.nan) for name, rest in zip(names, others, strict=True)
    }
