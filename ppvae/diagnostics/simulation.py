"""Simulation: new items of a fitted model, and what its guide makes of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ppvae.data.dataset import Dataset
from ppvae.inference import arviz_groups, subset_questions
from ppvae.inference.chunks import answer
from ppvae.inference.fitted import Fitted
from ppvae.inference.questions import Question
from ppvae.language.batch import Batch


@dataclass(frozen=True, eq=False)
class Simulation:
    """New items of a model and what the guide makes of them.

    Attributes:
        given: the modalities that the guide was shown; None for all.
        truth: latents by name, ``(items, ...)``.
        draws: the guide's draws of them given what was shown, ``(draws, items, ...)``.
        log_joint: log p(x_shown, z) at the truth, ``(items,)``, and at the draws, ``(draws, items)``.
        measured: the new items' measurements by modality, ``(items, *shape)``.
    """

    given: tuple[str, ...] | None
    truth: Mapping[str, np.ndarray]
    draws: Mapping[str, np.ndarray]
    log_joint: tuple[np.ndarray, np.ndarray]
    measured: Mapping[str, np.ndarray]

    @property
    def flat(self) -> tuple[tuple[str, ...], np.ndarray, np.ndarray]:
        """The names of all single latents, their truth ``(items, n)`` and their draws ``(draws, items, n)``."""
        names, truth = subset_questions.columns({name: value[None] for name, value in self.truth.items()})
        return names, truth[0], subset_questions.columns(self.draws)[1]


def simulate(
    fitted: Fitted,
    data: Dataset,
    given: Sequence[str] | None = None,
    items: int = 500,
    draws: int = 99,
    seed: int = 0,
) -> Simulation:
    """New items of the model, and draws from the guide given them; nothing is fitted again.

    An item has the holes of a row of the data, and what the model takes as given from there; rows that have something
    of what is given, if there are any, are taken in turn. Latents that all items share are the guide's.
    """
    rows = np.flatnonzero(subset_questions.showing(data, given))
    rows = np.resize(rows if len(rows) else np.arange(len(data)), items)
    batch = conditions(fitted, data, given, rows)
    names = tuple(fitted.explained)
    question = Question(subset_questions.simulated, subset_questions.checked_draws(draws), names)
    found = answer(fitted.vae.pair, fitted.settings, question, batch, np.arange(items, dtype=np.uint32), seed)
    prefixes = ("true ", subset_questions.DRAWN, "new ")
    truth, drawn, measured = (subset_questions.beginning(prefix, found) for prefix in prefixes)
    return Simulation(
        None if given is None else tuple(given),
        {name: values[0] for name, values in truth.items()},
        {name: drawn[name] for name in truth},
        (found["log_joint_at_truth"][0], found["log_joint"]),
        {name: measured[name][0] for name in names},
    )


def prior_draws(fitted: Fitted, data: Dataset, draws: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Draws of each item's own latents from the model, by name: ``(draws, items, *event)``."""
    batch = replace(conditions(fitted, data, (), np.arange(len(data))), ask=())
    question = Question(arviz_groups.from_prior, draws)
    drawn = answer(fitted.vae.pair, fitted.settings, question, batch, data.keys, seed)
    return {name: values for name, values in drawn.items() if name not in fitted.names}


def conditions(fitted: Fitted, data: Dataset, given: Sequence[str] | None, rows: np.ndarray) -> Batch:
    """What new items take from rows of the data: conditions and holes; all that the data have is given by default."""
    shown = subset_questions.held(fitted, data) if given is None else given
    arrays = {name: data.arrays[name][rows] for name in fitted.vae.model.conditions if name in data.arrays}
    holes = {name: mask[rows] for name, mask in (data.observed or {}).items()}
    return Batch(arrays, {**holes, **subset_questions.shown_masks(fitted, shown, len(rows))}, size=len(rows))
