"""Generating: do the modalities of a generated item show the same thing?"""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import numpy as np

from ppvae.data.dataset import Dataset
from ppvae.metrics.judging import Judged, Judges, complete
from ppvae.metrics.noiseless import generated
from ppvae.metrics.resampling import interval
from ppvae.posterior import Fitted


def prior_coherence(fitted: Fitted, judges: Judges, items: int = 1000, seed: int = 0) -> dict[str, float]:
    """How far the modalities of noiseless items from the prior agree on the judges' label: see :func:`agreement`.

    Unconditional, or joint, coherence (Shi et al. 2019).
    """
    return agreement(judges.read(generated(fitted, items, seed=seed)))


def prior_coherence_intervals(
    fitted: Fitted, judges: Judges, data: Dataset, items: int = 1000, seed: int = 0, level: float = 0.95
) -> dict[str, Judged]:
    """The :func:`prior_coherence` with bootstrap intervals over items, beside the agreement on real items.

    ``data`` hold the real ones; those that lack something take no part.

    Raises:
        ValueError: no real item is complete.
    """
    names = fitted.explained
    whole = np.all([complete(data, name) for name in names], axis=0)
    if not whole.any():
        raise ValueError(f"no item has all of {', '.join(names)}; give complete ones, which the judges can agree on")
    made = _agreements(judges.read(generated(fitted, items, seed=seed)))
    real = _agreements(judges.read({name: data.arrays[name][whole] for name in names}))
    return {what: Judged(interval(made[what], level), interval(real[what], level)) for what in made}


def agreement(read: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Of labels ``(items,)`` read off each modality: ``all``, the share of items whose modalities all agree, and
    ``pairs``, the mean share of items over pairs of modalities that agree.

    What the judges read off real items bounds both.

    >>> agreement({"a": np.array([0, 1]), "b": np.array([0, 1]), "c": np.array([0, 2])})
    {'all': 0.5, 'pairs': 0.6666666666666666}
    """
    return {what: float(each.mean()) for what, each in _agreements(read).items()}


def _agreements(read: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The share of each item, ``(items,)``."""
    labels = np.stack(list(read.values()))
    pairs = np.mean([one == other for one, other in itertools.combinations(labels, 2)], axis=0)
    return {"all": (labels == labels[0]).all(0).astype(float), "pairs": pairs}
