"""Crossing: do modalities predicted from others show what the others show?"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from ppvae.data.dataset import Dataset
from ppvae.metrics.judging import Judged, Judges, known, labels
from ppvae.metrics.noiseless import predicted
from ppvae.metrics.resampling import interval
from ppvae.metrics.shown import anything, shown
from ppvae.posterior import Fitted


def coherence(
    fitted: Fitted,
    judges: Judges,
    data: Dataset,
    given: Collection[str],
    ask: Collection[str] | None = None,
    draws: int = 1,
    seed: int = 0,
) -> dict[str, float]:
    """Share of the predictions of each asked modality, from the given ones, that a judge reads as the item's label.

    Conditional coherence (Shi et al. 2019): predictions are noiseless, one for each draw of the latents. ``ask``
    defaults to all modalities that are not given. Items that have nothing of what is given, or no label, take no part.

    >>> import numpy as np
    >>> import ppvae
    >>> from ppvae import metrics
    >>> train, test = ppvae.datasets.load("mfeat").take(slice(0, 2000, 10)).split(0.75, seed=0)
    >>> vae = ppvae.method("mvae", train.modalities, latent=2, hidden=(8,))
    >>> fitted = ppvae.fit(vae, train, backend="pyro", epochs=1)
    >>> found = metrics.coherence(fitted, metrics.judges(train, "digit"), test, given=["pix"], ask=["fou", "mor"])
    >>> sorted(found)
    ['fou', 'mor']
    """
    (found,) = coherences(fitted, judges, data, [given], draws, seed)
    wanted = found.keys() if ask is None else ask
    unknown = [name for name in wanted if name not in found]
    if unknown:
        raise ValueError(f"{unknown[0]!r} is given or unknown; ask for some of {', '.join(found)}")
    return {name: found[name] for name in wanted}


def coherences(
    fitted: Fitted, judges: Judges, data: Dataset, subsets: Sequence[Collection[str]], draws: int = 1, seed: int = 0
) -> list[dict[str, float]]:
    """The :func:`coherence` of every modality that is not given, for each subset of given ones, asked all at once."""
    shares = _shares(fitted, judges, data, subsets, draws, seed)
    return [{name: float(each.mean()) for name, each in found.items()} for found in shares]


def coherence_intervals(
    fitted: Fitted,
    judges: Judges,
    data: Dataset,
    subsets: Sequence[Collection[str]],
    draws: int = 1,
    seed: int = 0,
    level: float = 0.95,
) -> list[dict[str, Judged]]:
    """The :func:`coherences` with bootstrap intervals over items, each beside the judge's accuracy on real items."""
    real = {name: interval(each, level) for name, each in judges.right(data).items() if name in fitted.explained}
    shares = _shares(fitted, judges, data, subsets, draws, seed)
    return [{name: Judged(interval(each, level), real[name]) for name, each in found.items()} for found in shares]


def _shares(
    fitted: Fitted, judges: Judges, data: Dataset, subsets: Sequence[Collection[str]], draws: int, seed: int
) -> list[dict[str, np.ndarray]]:
    """For each subset, the share of its draws that are read right of each item that takes part."""
    rows = shown(data, subsets)
    truth = labels(rows, judges.label)
    there = anything(rows) & known(truth)
    drawn = predicted(fitted, rows, draws=draws, seed=seed)
    right = {
        name: np.mean([judges.read({name: each})[name] == truth for each in values], axis=0)
        for name, values in drawn.items()
    }
    parts = np.arange(len(rows)).reshape(len(subsets), -1)
    return [
        {name: right[name][part[there[part]]] for name in fitted.explained if name not in subset}
        for part, subset in zip(parts, subsets, strict=True)
    ]
