"""Retrieval: is an item found by its latent among those that other modalities tell of?"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.metrics import pairwise_distances_chunked

from ppvae.data.dataset import Dataset
from ppvae.inference.fitted import Fitted
from ppvae.metrics.subsets import encoded

KS = (1, 5, 10)


@dataclass(frozen=True)
class Retrieval:
    """How well two sets of points that show the same items find each other.

    Attributes:
        items: how many each set shows.
        forth: recall@k, k to the share of the one set's points whose match is among the k nearest of the other set.
        back: the same from the other set to the one.
        foscttm: fraction of samples closer than the true match (Liu et al. 2019), the mean over both ways: 0 is best.
    """

    items: int
    forth: dict[int, float]
    back: dict[int, float]
    foscttm: float

    @property
    def chance(self) -> dict[int, float]:
        """The recall@k of points that know nothing of each other."""
        return {k: min(k / self.items, 1.0) for k in self.forth}


def retrieval(
    fitted: Fitted,
    data: Dataset,
    one: Collection[str],
    other: Collection[str],
    ks: Sequence[int] = KS,
    site: str = "z",
    draws: int = 20,
    seed: int = 0,
) -> Retrieval:
    """How well items are found by the posterior mean of a latent, given some modalities, among those given others.

    Items that have nothing of ``one`` or nothing of ``other`` take no part.
    """
    (left, here), (right, there) = encoded(fitted, data, [one, other], site, draws, seed)
    return matched(left[here & there], right[here & there], ks)


def matched(one: np.ndarray, other: np.ndarray, ks: Sequence[int] = KS) -> Retrieval:
    """How well the rows of two arrays ``(items, elements)`` find each other by Euclidean distance.

    Candidates that are as far as the match count as if their order were drawn by lot, so that points that are all
    equal score as chance does.

    Raises:
        ValueError: the shapes differ, or there are fewer than two items.

    >>> found = matched(np.array([[0.0], [1.0], [5.0]]), np.array([[0.1], [1.2], [0.5]]), ks=[1, 2])
    >>> found.forth
    {1: 0.6666666666666666, 2: 1.0}
    >>> found.foscttm
    0.25
    """
    if one.shape != other.shape or len(one) < 2:
        raise ValueError(f"points of shapes {one.shape} and {other.shape} cannot be matched; give two items or more")
    sides = [_closer(one, other), _closer(other, one)]
    forth, back = ({k: float(np.clip((k - closer) / (1 + tied), 0, 1).mean()) for k in ks} for closer, tied in sides)
    shares = [(closer + tied / 2) / (len(one) - 1) for closer, tied in sides]
    return Retrieval(len(one), forth, back, float(np.mean(shares)))


def _closer(points: np.ndarray, candidates: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How many candidates are closer to each point than its match, and how many others are as far: ``(items,)``."""

    def count(distances: np.ndarray, start: int) -> tuple[np.ndarray, np.ndarray]:
        rows = np.arange(len(distances))
        own = distances[rows, start + rows][:, None]
        return (distances < own).sum(1), (distances == own).sum(1) - 1

    # sqeuclidean is scipy's: unlike scikit-learn's own euclidean, it gives equal points equal distances
    chunks = pairwise_distances_chunked(points, candidates, reduce_func=count, metric="sqeuclidean")
    closer, tied = zip(*chunks, strict=True)
    return np.concatenate(closer), np.concatenate(tied)
