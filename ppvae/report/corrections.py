"""Corrections: what each row's own posterior makes of subsets whose guide is suspect, and what that says of the model.

Predictions by posteriors that are right are wrong by the model's fault alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ppvae.data.dataset import Dataset
from ppvae.diagnostics.calibration import ALPHA, Uniform, places
from ppvae.diagnostics.simulation import measured_anew
from ppvae.inference import subset_questions
from ppvae.inference.arviz import THRESHOLD
from ppvae.inference.fitted import Fitted
from ppvae.inference.questions import Unanswerable
from ppvae.language.batch import over
from ppvae.report.subsets import Effort, Subset
from ppvae.training.progress import tracked


@dataclass(frozen=True, eq=False)
class Corrections:
    """What ``posterior="corrected"`` makes of the subsets whose guide is suspect.

    Attributes:
        khat: of each such subset's rows.
        latents: ranks of the true latents of simulated items of all such subsets; None where there are none.
        predictions: of each modality, where its values lie in predictions from all subsets that do not have it, by the
            guide where nothing suspects it, else corrected and of rows that pass k-hat.
        why_not: why nothing could be corrected; None where it could, or there was nothing to be.
    """

    khat: Mapping[tuple[str, ...], np.ndarray]
    latents: Uniform | None
    predictions: Mapping[str, Uniform]
    why_not: str | None = None


def corrections(
    fitted: Fitted, rows: Dataset, subsets: Sequence[Subset], effort: Effort, progress: bool | None = None
) -> Corrections:
    """Correct some rows and some simulated items of each subset whose guide is suspect.

    Different rows and items are taken for different subsets, as far as there are, so that they can count together:
    simulated items of one number are made from the same latents for all subsets.
    """
    suspects = [each for each in subsets if suspect(each, ALPHA / len(subsets))]
    honest = {each.given: each.predictions for each in subsets if each not in suspects}
    khat, ranks, found = {}, [], {}
    try:
        for number, each in enumerate(tracked(suspects if effort.corrected else [], "correcting", progress)):
            khat[each.given], found[each.given] = _predictions(fitted, rows, each.given, number, effort)
            ranks.append(_ranks(fitted, rows, each, number, effort))
    except (Unanswerable, NotImplementedError) as error:  # a latent is discrete, or JAX has not what Pyro's run has
        return Corrections({}, None, _pooled(honest), str(error))
    latents = Uniform("corrected latents", ranks[0].names, np.concatenate([r.values for r in ranks])) if ranks else None
    return Corrections(khat, latents, _pooled({**honest, **found}))


def suspect(subset: Subset, alpha: float) -> bool:
    """Is there a row whose k-hat is above 0.7, or are simulated items out of place, with a p-value below alpha?"""
    above = subset.khat is not None and bool((subset.khat.khat > THRESHOLD).any())
    return above or (subset.latents is not None and subset.latents.p_value < alpha)


def _predictions(
    fitted: Fitted, rows: Dataset, given: tuple[str, ...], number: int, effort: Effort
) -> tuple[np.ndarray, dict[str, Uniform]]:
    """k-hat of some rows, and where the values of what is not given lie in their predictions, NaN where that fails."""
    seen = np.flatnonzero(subset_questions.showing(rows, given))
    few = rows.take(np.roll(seen, -number * effort.corrected)[: effort.corrected])
    asked = subset_questions.explained(fitted, rows)
    drawn = fitted.query(few, given, asked, effort.draws, effort.seed, "corrected")
    served = drawn.served  # type: ignore[attr-defined]
    found = {}
    for name in (name for name in asked if name not in given):
        truth = few.holed(name)
        values = places(truth, drawn[name], effort.seed)
        known = over(served.passes, values) & ~np.isnan(truth)
        flat = np.where(known, values, np.nan).reshape(len(few), -1)
        found[name] = Uniform(name, subset_questions.elements(name, truth.shape[1:]), flat)
    return served.khat, found


def _ranks(fitted: Fitted, rows: Dataset, subset: Subset, number: int, effort: Effort) -> Uniform:
    """Where the true latents of some simulated items of a subset lie among corrected draws."""
    assert subset.simulation is not None
    made, count = subset.simulation, min(effort.corrected, effort.items)
    chosen = np.roll(np.arange(effort.items), -number * count)[:count]
    items = _simulated(fitted, rows, subset, chosen)
    drawn = fitted.encode(items, subset.given, effort.draws, effort.seed, "corrected")
    few = {name: values[chosen] for name, values in made.truth.items()}
    names, truth, draws = replace(made, truth=few, draws={name: drawn[name] for name in few}).flat
    return Uniform("corrected latents", names, places(truth, draws, effort.seed))


def _simulated(fitted: Fitted, rows: Dataset, subset: Subset, chosen: np.ndarray) -> Dataset:
    """Some simulated items of a subset, with the conditions and the holes of the rows that they are made from."""
    assert subset.simulation is not None
    seen = np.flatnonzero(subset_questions.showing(rows, subset.given))
    base = rows.take(np.resize(seen, chosen.max() + 1)[chosen])
    return measured_anew(fitted, base, {name: values[chosen] for name, values in subset.simulation.measured.items()})


def _pooled(found: Mapping[tuple[str, ...], Mapping[str, Uniform]]) -> dict[str, Uniform]:
    """The checks of each modality from all subsets as one."""
    names = dict.fromkeys(name for checks in found.values() for name in checks)
    by_name = {name: [checks[name] for checks in found.values() if name in checks] for name in names}
    return {
        name: Uniform(name, checks[0].names, np.concatenate([check.values for check in checks]))
        for name, checks in by_name.items()
    }
