"""Measures: everything that a report says of a fitted pair, measured once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from ppvae.data.dataset import Dataset
from ppvae.diagnostics.modality_contributions import Contribution, contribution
from ppvae.inference import subset_questions
from ppvae.inference.consistency import Consistency, pairwise_consistency
from ppvae.inference.fitted import Fitted
from ppvae.metrics.classifiers import Judged
from ppvae.metrics.coherence import label_coherences
from ppvae.metrics.reconstruction import likenesses
from ppvae.metrics.skills import Skill, skills
from ppvae.report.corrections import Corrections, corrections
from ppvae.report.subsets import Effort, Subset, subset
from ppvae.training.progress import tracked


@dataclass(frozen=True, eq=False)
class Measures:
    """A fitted pair, and what was measured of it.

    Attributes:
        fitted: the pair.
        effort: how much was drawn.
        items: how many rows were looked at.
        trained_on: did training see them? None where nobody knows.
        subsets: each modality alone, all others of each, all, and whatever else was asked for.
        corrections: what each row's own posterior makes of those of them whose guide is suspect.
        parts: what the posterior would lose without each modality.
        skills: how good predictions of each modality from all others are, beside those of simple regressions.
        alike: how near each text, image and sound is predicted from all others, by modality and measure ``(items,)``.
        coherent: how often classifiers read the right label off such predictions, by modality and label.
        consistency: of the rows, whose ids or numbers in the data are ``rows``; None where these have one modality.
    """

    fitted: Fitted
    effort: Effort
    items: int
    trained_on: bool | None
    subsets: tuple[Subset, ...]
    corrections: Corrections
    parts: Contribution
    skills: Mapping[str, Skill]
    alike: Mapping[str, Mapping[str, np.ndarray]]
    coherent: Mapping[str, Mapping[str, Judged]]
    consistency: Consistency | None
    rows: np.ndarray


def measure(
    fitted: Fitted,
    data: Dataset,
    also: Sequence[Sequence[str]] = (),
    effort: Effort | None = None,
    trained_on: bool | None = None,
    progress: bool | None = None,
    train: Dataset | None = None,
) -> Measures:
    """Measure the posteriors given each modality alone, all others of each, and all, and what these predict.

    Args:
        fitted: the pair.
        data: measured rows, best such that training did not see.
        also: further subsets of modalities.
        effort: how much is drawn.
        trained_on: did training see the rows?
        progress: show bars on stderr; by default where that is a terminal.
        train: the rows that training saw, to fit simple regressions to, whose predictions stand beside the model's.

    Raises:
        ValueError: a subset names what the run or the data do not have, or there are fewer than 25 particles.
    """
    effort = effort or Effort()
    effort = replace(effort, items=min(effort.items, max(len(data), Effort.items)))
    numbers = np.random.default_rng(effort.seed).permutation(len(data))[: effort.items]
    rows, seed = data.counted().take(numbers), effort.seed
    tasks = [partial(subset, fitted, rows, given, effort) for given in _subsets(fitted, data, also)]
    rest: dict[str, Callable[[], Any]] = {
        "parts": partial(contribution, fitted, rows, seed=seed),
        "skills": partial(skills, fitted, rows, train, seed=seed),
        "alike": partial(likenesses, fitted, rows, seed=seed),
        "coherent": partial(label_coherences, fitted, rows, seed=seed),
        "consistency": partial(_consistency, fitted, rows, effort),
    }
    with _beside(rest) as waiting:
        found = tuple(task() for task in tracked(tasks, "measuring", progress))
        corrected = corrections(fitted, rows, found, effort, progress)
        others = {name: waiting[name].result() for name in tracked(list(waiting), "comparing", progress)}
    return Measures(fitted, effort, len(rows), trained_on, found, corrected, **others, rows=np.asarray(rows.ids))


@contextmanager
def _beside(tasks: Mapping[str, Callable[[], Any]]) -> Iterator[dict[str, Future[Any]]]:
    """Tasks that are done one after the other beside the block: one program is compiled while others run.

    Nobody waits for them where the block fails or is interrupted.
    """
    pool = ThreadPoolExecutor(1)
    try:
        yield {name: pool.submit(task) for name, task in tasks.items()}
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _consistency(fitted: Fitted, rows: Dataset, effort: Effort) -> Consistency | None:
    """Of all rows by pairs of modalities, with about as many weights in all as are drawn of some for k-hat."""
    if len(subset_questions.explained(fitted, rows)) < 2:
        return None
    return pairwise_consistency(fitted, rows, max(25, effort.weighed * effort.particles // len(rows)), effort.seed)


def _subsets(fitted: Fitted, data: Dataset, also: Sequence[Sequence[str]]) -> list[tuple[str, ...]]:
    """Each modality alone, all others of each, all, and further ones."""
    names = subset_questions.explained(fitted, data)
    if not names:
        raise ValueError("the model takes all that the data have as given, so there is no posterior to look at")
    for name in (name for wanted in also for name in wanted):
        if name not in names:
            raise ValueError(f"cannot diagnose given {name!r}; the data and the model have {', '.join(names)}")
    others = [tuple(other for other in names if other != name) for name in names]
    further = [tuple(name for name in names if name in wanted) for wanted in also]
    chosen = [*((name,) for name in names), *others, tuple(names), *further]
    return [given for given in dict.fromkeys(chosen) if given]
