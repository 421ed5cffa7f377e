"""Evidences: how well each modality is foretold by all others."""

from __future__ import annotations

import numpy as np

from ppvae.data.dataset import Dataset
from ppvae.metrics.judging import complete
from ppvae.metrics.shown import shown
from ppvae.posterior import Fitted


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
