"""Generating: do the modalities of a generated item show the same thing?"""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import numpy as np

from ppvae.metrics.judging import Judges
from ppvae.metrics.noiseless import generated
from ppvae.posterior import Fitted


def prior_coherence(fitted: Fitted, judges: Judges, items: int = 1000, seed: int = 0) -> dict[str, float]:
    """How far the modalities of noiseless items from the prior agree on the judges' label: see :func:`agreement`.

    Unconditional, or joint, coherence (Shi et al. 2019).
    """
    return agreement(judges.read(generated(fitted, items, seed=seed)))


def agreement(read: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Of labels ``(items,)`` read off each modality: ``all``, the share of items whose modalities all agree, and
    ``pairs``, the mean share of items over pairs of modalities that agree.

    What the judges read off real items bounds both.

    >>> agreement({"a": np.array([0, 1]), "b": np.array([0, 1]), "c": np.array([0, 2])})
    {'all': 0.5, 'pairs': 0.6666666666666666}
    """
    labels = np.stack(list(read.values()))
    pairs = [(one == other).mean() for one, other in itertools.combinations(labels, 2)]
    return {"all": float((labels == labels[0]).all(0).mean()), "pairs": float(np.mean(pairs))}
