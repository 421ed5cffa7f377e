"""Clustering: do items that share a label lie together in the latent space?"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score, silhouette_score

from ppvae.data.dataset import Dataset
from ppvae.inference.fitted import Fitted
from ppvae.metrics.classifiers import known, labels
from ppvae.metrics.subsets import encoded


@dataclass(frozen=True)
class Clustering:
    """How far a label shows in the latent space: 1 is best in all three.

    Attributes:
        ari: adjusted Rand index of clusters and label (Hubert and Arabie 1985); chance is 0.
        nmi: their mutual information over the mean of their entropies; chance is a little above 0.
        silhouette: how much closer items are to their own label than to the next (Rousseeuw 1987), from -1; no
            clusters are needed for it.
    """

    ari: float
    nmi: float
    silhouette: float


def clustering(
    fitted: Fitted,
    data: Dataset,
    label: str,
    given: Collection[str] | None = None,
    clusterer: Any = None,
    site: str = "z",
    draws: int = 20,
    seed: int = 0,
) -> Clustering:
    """Clusters of the posterior means of a latent, given some modalities (all by default), against a label.

    ``clusterer`` is anything of scikit-learn's with ``fit_predict``, such as ``GaussianMixture(10)``; by default
    k-means, with as many clusters as the label has values. Items that have nothing of what is given, or no label, take
    no part.
    """
    ((mean, there),) = encoded(fitted, data, [data.arrays if given is None else given], site, draws, seed)
    truth = labels(data, label)
    seen = there & known(truth)
    z, truth = mean[seen].astype(np.float64), truth[seen]
    found = (clusterer or KMeans(len(np.unique(truth)), n_init=10, random_state=seed)).fit_predict(z)
    return Clustering(
        float(adjusted_rand_score(truth, found)),
        float(normalized_mutual_info_score(truth, found)),
        float(silhouette_score(z, truth)),
    )
