"""Simulation: new items of a fitted model, and what the posterior makes of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ppvae.data.dataset import Dataset
from ppvae.inference import arviz_groups, subset_questions
from ppvae.inference.chunks import answer
from ppvae.inference.correction import questions
from ppvae.inference.correction.answers import posteriors
from ppvae.inference.fitted import Fitted
from ppvae.inference.questions import Question
from ppvae.language.batch import Batch


@dataclass(frozen=True, eq=False)
class Simulation:
    """New items of a model and what a posterior makes of them.

    Attributes:
        given: the modalities that were shown; None for all.
        truth: latents by name, ``(items, ...)``.
        draws: the posterior's draws of them given what was shown, ``(draws, items, ...)``.
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


class Made(NamedTuple):
    """New items, and their latents by name, ``(items, ...)``."""

    truth: Mapping[str, np.ndarray]
    data: Dataset


def simulate(
    fitted: Fitted,
    data: Dataset,
    given: Sequence[str] | None = None,
    items: int = 500,
    draws: int = 99,
    seed: int = 0,
    posterior: str = "guide",
    known: Sequence[str] = (),
) -> Simulation:
    """New items of the model, and draws from a posterior given them; nothing is fitted again.

    An item has the holes of a row of the data, and what the model takes as given from there; rows that have something
    of what is given, if there are any, are taken in turn. Latents that all items share are the guide's.

    Args:
        fitted: the pair.
        data: rows that say what an item lacks.
        given: the modalities that are shown; all by default.
        items: how many.
        draws: of each item's posterior.
        seed: of all draws.
        posterior: ``"guide"``, ``"corrected"`` or ``"auto"``.
        known: modalities that an item keeps from its row. Its latents are then a draw of their corrected posterior
            given these in place of the prior, and the rest of what is given is measured anew there: posterior SBC
            (Säilynoja et al. 2025, https://arxiv.org/abs/2502.03279), which checks the posterior where the data lie.
            Rows whose corrected posterior does not pass k-hat are left out.

    Raises:
        ValueError: more than 1,000 draws were asked for, a name is unknown, all that is given is known, or no row
            passes.
    """
    rows = np.flatnonzero(subset_questions.showing(data, known or given))
    rows = np.resize(rows if len(rows) else np.arange(len(data)), items)
    subset_questions.checked_draws(draws)
    if known:
        return _judged(fitted, _continued(fitted, data.take(rows), given, known, seed), given, draws, seed, posterior)
    own = _simulated(fitted, data, given, rows, draws if posterior == "guide" else 1, seed)
    if posterior == "guide":
        return own
    return _judged(fitted, _as_data(fitted, data.take(rows), own), given, draws, seed, posterior)


def _simulated(
    fitted: Fitted, data: Dataset, given: Sequence[str] | None, rows: np.ndarray, draws: int, seed: int
) -> Simulation:
    """New items, and draws from the guide given them, by one question."""
    batch, names = conditions(fitted, data, given, rows), tuple(fitted.explained)
    question = Question(subset_questions.simulated, draws, names)
    found = answer(fitted.vae.pair, fitted.settings, question, batch, np.arange(len(rows), dtype=np.uint32), seed)
    prefixes = ("true ", subset_questions.DRAWN, "new ")
    truth, drawn, measured = (subset_questions.beginning(prefix, found) for prefix in prefixes)
    return Simulation(
        None if given is None else tuple(given),
        {name: values[0] for name, values in truth.items()},
        {name: drawn[name] for name in truth},
        (found["log_joint_at_truth"][0], found["log_joint"]),
        {name: measured[name][0] for name in names},
    )


def _as_data(fitted: Fitted, data: Dataset, simulation: Simulation) -> Made:
    """The items of a simulation as data, with the holes and the conditions of rows."""
    return Made(simulation.truth, measured_anew(fitted, data, simulation.measured))


def _continued(fitted: Fitted, data: Dataset, given: Sequence[str] | None, known: Sequence[str], seed: int) -> Made:
    """Rows with latents of their posterior given what is known, at which all else that is given is measured anew."""
    shown = [name for name in subset_questions.explained(fitted, data) if given is None or name in given]
    if not set(known) < set(shown):
        raise ValueError(f"known is {list(known)}: name some of the modalities that are given, and not all of them")
    new = [name for name in shown if name not in known]
    asked = Question(questions.latents), Question(questions.predictions, ask=tuple(new))
    (truth, measured), served = posteriors(fitted, data, known, seed, "corrected").at_draws(1, *asked)
    rows = np.flatnonzero(served.passes)
    if not len(rows):
        raise ValueError(f"of no row does the corrected posterior given {', '.join(known)} pass k-hat: name others")
    fresh = {name: values[0, rows] for name, values in measured.items()}
    return Made({n: v[0, rows] for n, v in truth.items()}, measured_anew(fitted, data.take(rows), fresh))


def measured_anew(fitted: Fitted, data: Dataset, measured: Mapping[str, np.ndarray]) -> Dataset:
    """Rows with other measurements in the place of their own, where they have any."""
    kept = {name: data.arrays[name] for name in subset_questions.held(fitted, data)}
    arrays = {**kept, **{name: values for name, values in measured.items() if name in kept}}
    observed = {name: mask for name, mask in (data.observed or {}).items() if name in arrays}
    return Dataset(arrays, observed, modalities=data.only(arrays).modalities)


def _judged(
    fitted: Fitted, made: Made, given: Sequence[str] | None, draws: int, seed: int, posterior: str
) -> Simulation:
    """What a posterior makes of new items."""
    if posterior == "guide":
        found = subset_questions.ask(fitted, Question(subset_questions.terms, draws), made.data, given, seed)
        drawn, level = subset_questions.beginning(subset_questions.DRAWN, found), found["log_joint"]
    else:
        drawn = fitted.encode(made.data, given, draws, seed, posterior)
        level = _log_joint(fitted, made.data, given, {name: drawn[name] for name in made.truth})
    (at_truth,) = _log_joint(fitted, made.data, given, {name: values[None] for name, values in made.truth.items()})
    measured = {name: made.data.arrays[name] for name in subset_questions.explained(fitted, made.data)}
    shown = None if given is None else tuple(given)
    return Simulation(shown, made.truth, {name: drawn[name] for name in made.truth}, (at_truth, level), measured)


def _log_joint(
    fitted: Fitted, data: Dataset, given: Sequence[str] | None, values: Mapping[str, np.ndarray]
) -> np.ndarray:
    """log p(x_shown, z) at latents ``(draws, items, ...)``: ``(draws, items)``."""
    at = {name: np.moveaxis(value, 0, 1) for name, value in values.items()}
    question = Question(subset_questions.joints, len(next(iter(values.values()))))
    return subset_questions.ask(fitted, question, data, given, 0, at)["log_joint"]


def prior_draws(fitted: Fitted, data: Dataset, draws: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Draws of each item's own latents from the model, by name: ``(draws, items, *event)``."""
    batch = conditions(fitted, data, (), np.arange(len(data)))
    question = Question(arviz_groups.from_prior, draws, ask=())
    drawn = answer(fitted.vae.pair, fitted.settings, question, batch, data.keys, seed)
    return {name: values for name, values in drawn.items() if name not in fitted.names}


def conditions(fitted: Fitted, data: Dataset, given: Sequence[str] | None, rows: np.ndarray) -> Batch:
    """What new items take from rows of the data: conditions and holes; all that the data have is given by default."""
    shown = subset_questions.held(fitted, data) if given is None else given
    arrays = {name: data.arrays[name][rows] for name in fitted.vae.model.conditions if name in data.arrays}
    holes = {name: mask[rows] for name, mask in (data.observed or {}).items()}
    return Batch(arrays, {**holes, **subset_questions.shown_masks(fitted, shown)}, size=len(rows))
