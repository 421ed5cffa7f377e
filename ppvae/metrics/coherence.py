"""Coherence: do predicted or generated modalities show the same thing, as classifiers read it?"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from ppvae.data.dataset import Dataset
from ppvae.inference.fitted import Fitted
from ppvae.inference.subset_questions import explained
from ppvae.metrics.bootstrap import interval
from ppvae.metrics.classifiers import Judged, Judges, complete, crossed, known, labels
from ppvae.metrics.predictive_means import generated, judged, predicted
from ppvae.metrics.subsets import anything, shown

MOST = 500  # items that label_coherences reads


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


def label_coherences(
    fitted: Fitted, data: Dataset, given: Collection[str] | None = None, seed: int = 0
) -> dict[str, dict[str, Judged]]:
    """The :func:`coherence` of predictions of each modality with each label that names classes: by modality and label.

    Each is predicted from the ``given`` modalities, by default from all others that the data have, and from itself
    where there is no other. Judges are fitted to the data themselves, see :func:`~ppvae.metrics.crossed`. At most 500
    items, drawn by the seed, take part. Nothing is found, and a warning says so, where a density has no mean.
    """
    names = explained(fitted, data)
    if not data.labels or not names:
        return {}
    few = data.take(np.random.default_rng(seed).permutation(len(data))[:MOST])
    others = [[other for other in fitted.names if other in data.arrays and other != name] or [name] for name in names]
    rows = shown(few, others if given is None else [given] * len(names))
    drawn: dict[str, np.ndarray] = {}
    with judged(names):
        drawn = predicted(fitted, rows, names, seed=seed)
    there, found = anything(rows).reshape(len(names), -1), {}
    for number, modality in enumerate(m for m in fitted.modalities if m.name in drawn):
        name, shares = modality.name, {}
        made = drawn[name].reshape(len(names), len(few), *modality.shape)[number]
        for label, truth in (few.labels or {}).items():
            seen = complete(few, name) & known(truth) & there[number]
            shares[label] = crossed(modality, few.arrays[name][seen], made[seen], truth[seen], seed)
        found[name] = {label: each for label, each in shares.items() if each}
    return found


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
