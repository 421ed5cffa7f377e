"""Measures: everything that a report says of a fitted pair, measured once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from ppvae.data.dataset import Dataset
from ppvae.diagnostics.active_units import Activity, activity
from ppvae.diagnostics.calibration import Uniform, predictive, sbc
from ppvae.diagnostics.khat import KHat, khat
from ppvae.diagnostics.modality_contributions import Contribution, contribution
from ppvae.diagnostics.simulation import simulate
from ppvae.inference import subset_questions
from ppvae.inference.consistency import Consistency
from ppvae.inference.fitted import Fitted
from ppvae.metrics.classifiers import Judged
from ppvae.metrics.coherence import label_coherences
from ppvae.metrics.reconstruction import likenesses
from ppvae.training.progress import tracked


@dataclass(frozen=True)
class Effort:
    """How much is drawn; by default six modalities take less than two minutes of one core.

    Attributes:
        items: at most so many rows, picked at random, and so many simulated items, but of these no more than there are
            rows or 300. With 300 a binomial band of 99 % reaches 4 points to either side of 90 %.
        weighed: of so many of these rows that have something of what is shown importance weights are drawn, which
            cost most.
        particles: weights of each of them, 25 or more.
        draws: of each prediction.
        seed: of rows and draws.
    """

    items: int = 300
    weighed: int = 48
    particles: int = 1000
    draws: int = 49
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Subset:
    """What was measured of the posterior given some modalities, and of what it predicts.

    Attributes:
        given: the modalities that were shown.
        label: these in words, such as ``all but pix``.
        weighed: those of the rows whose weights were drawn: they have something of what was shown.
        khat: of the weighed rows, with their evidence, ``(1, weighed)``; None where there are none.
        latents: ranks of the true latents of simulated items; None as well.
        use: what each latent carries of the weighed rows; None where there are fewer than two.
        predictions: by modality that was not shown, where its values lie in their predictive distribution.
    """

    given: tuple[str, ...]
    label: str
    weighed: np.ndarray
    khat: KHat | None
    latents: Uniform | None
    use: Activity | None
    predictions: Mapping[str, Uniform]


@dataclass(frozen=True, eq=False)
class Measures:
    """A fitted pair, and what was measured of it.

    Attributes:
        fitted: the pair.
        effort: how much was drawn.
        items: how many rows were looked at.
        trained_on: did training see them? None where nobody knows.
        subsets: each modality alone, all others of each, all, and whatever else was asked for.
        parts: what the posterior would lose without each modality.
        alike: how near each text, image and sound is predicted from all others, by modality and measure ``(items,)``.
        coherent: how often classifiers read the right label off such predictions, by modality and label.
        consistency: of the rows, whose numbers in the data are ``rows``; None where the data have but one modality.
    """

    fitted: Fitted
    effort: Effort
    items: int
    trained_on: bool | None
    subsets: tuple[Subset, ...]
    parts: Contribution
    alike: Mapping[str, Mapping[str, np.ndarray]]
    coherent: Mapping[str, Mapping[str, Judged]]
    consistency: Consistency | None = None
    rows: np.ndarray | None = None


def measure(
    fitted: Fitted,
    data: Dataset,
    also: Sequence[Sequence[str]] = (),
    effort: Effort | None = None,
    trained_on: bool | None = None,
    progress: bool | None = None,
) -> Measures:
    """Measure the posteriors given each modality alone, all others of each, and all, and what these predict.

    Args:
        fitted: the pair.
        data: measured rows, best such that training did not see.
        also: further subsets of modalities.
        effort: how much is drawn.
        trained_on: did training see the rows?
        progress: show a bar on stderr; by default where that is a terminal.

    Raises:
        ValueError: a subset names what the run or the data do not have, or there are fewer than 25 particles.
    """
    effort = effort or Effort()
    effort = replace(effort, items=min(effort.items, max(len(data), Effort.items)))
    numbers = np.random.default_rng(effort.seed).permutation(len(data))[: effort.items]
    rows = data.take(numbers)
    tasks = [partial(_subset, fitted, rows, given, effort) for given in _subsets(fitted, data, also)]
    found = [task() for task in tracked(tasks, "measuring", progress)]
    parts = contribution(fitted, rows, seed=effort.seed)
    alike = likenesses(fitted, rows, seed=effort.seed)
    coherent = label_coherences(fitted, rows, seed=effort.seed)
    agree = _consistency(fitted, rows, effort)
    return Measures(fitted, effort, len(rows), trained_on, tuple(found), parts, alike, coherent, agree, numbers)


def _consistency(fitted: Fitted, rows: Dataset, effort: Effort) -> Consistency | None:
    """Of all rows, with as many weights as are drawn of some for k-hat."""
    if len(subset_questions.explained(fitted, rows)) < 2:
        return None
    return fitted.consistency(rows, max(25, effort.weighed * effort.particles // len(rows)), effort.seed)


def _subsets(fitted: Fitted, data: Dataset, also: Sequence[Sequence[str]]) -> list[tuple[str, ...]]:
    """Each modality alone, all others of each, all, and further ones."""
    names = subset_questions.explained(fitted, data)
    if not names:
        raise ValueError("the model takes all that the data have as given, so there is no posterior to look at")
    for name in (name for subset in also for name in subset):
        if name not in names:
            raise ValueError(f"cannot diagnose given {name!r}; the data and the model have {', '.join(names)}")
    others = [tuple(other for other in names if other != name) for name in names]
    further = [tuple(name for name in names if name in subset) for subset in also]
    chosen = [*((name,) for name in names), *others, tuple(names), *further]
    return [given for given in dict.fromkeys(chosen) if given]


def _subset(fitted: Fitted, rows: Dataset, given: tuple[str, ...], effort: Effort) -> Subset:
    names, seed = subset_questions.explained(fitted, rows), effort.seed
    asked = [name for name in names if name not in given]
    seen = np.flatnonzero(np.any([rows.present(name) for name in given], axis=0))[: effort.weighed]
    return Subset(
        given,
        label(given, names),
        seen,
        khat(fitted, rows.take(seen), [given], effort.particles, seed) if len(seen) else None,
        sbc(simulate(fitted, rows, given, effort.items, seed=seed), seed) if len(seen) else None,
        activity(fitted, rows.take(seen), given, seed=seed) if len(seen) > 1 else None,
        predictive(fitted, rows, given, asked, effort.draws, seed) if asked else {},
    )


def label(given: Sequence[str], names: Sequence[str]) -> str:
    """A subset of the named modalities in words."""
    left = [name for name in names if name not in given]
    if len(given) > 1 and len(left) < 2:
        return f"all but {left[0]}" if left else "everything"
    return ", ".join(given)
