"""Predictive checks: do data sets that the fitted pair replicates look like the measured one, by any statistic?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ppvae.data.dataset import Dataset
from ppvae.diagnostics.calibration import ALPHA
from ppvae.inference import subset_questions
from ppvae.inference.chunks import NUMBERS
from ppvae.inference.fitted import Fitted
from ppvae.language.modality import CATEGORIES, COUNTS, Modality

Statistic = Callable[[np.ndarray], float]

MOMENTS: dict[str, Statistic] = {"mean": np.nanmean, "sd": np.nanstd, "min": np.nanmin, "max": np.nanmax}
LEAST = 200  # replications, which can tell of five statistics


@dataclass(frozen=True, eq=False)
class PredictiveCheck:
    """A modality's statistics, of the measured data set and of replicated ones.

    Attributes:
        what: the modality, and what replications were made from, in words.
        names: of the statistics.
        measured: their values on the data, ``(statistics,)``, in the units that they compute.
        replicated: their values on each replication, ``(draws, statistics)``.
    """

    what: str
    names: tuple[str, ...]
    measured: np.ndarray
    replicated: np.ndarray

    @property
    def p_values(self) -> np.ndarray:
        """The share of replications above the measured value, and half of those equal to it: ``(statistics,)``."""
        return (self.replicated > self.measured).mean(0) + 0.5 * (self.replicated == self.measured).mean(0)

    @property
    def p_texts(self) -> list[str]:
        """The p-values in words, to what so many replications can tell."""
        draws, p = len(self.replicated), self.p_values
        ends = {0.0: f"p < {1 / draws:.2g}", 1.0: f"p > {1 - 1 / draws:.4g}"}
        return [ends.get(float(value), f"p = {value:.2g}") for value in p]

    @property
    def extreme(self) -> np.ndarray:
        """Which statistics lie in the tails of their replications, booleans: at most 5 % for all of them together.

        The data count as one more replication. Fewer than ``enough`` replications find nothing extreme.
        """
        draws = len(self.replicated)
        tail = (draws * np.minimum(self.p_values, 1 - self.p_values) + 1) / (draws + 1)
        return 2 * tail * len(self.names) < ALPHA

    @property
    def verdict(self) -> str:
        """What the check found, in one sentence."""
        wrong = [f"{self.names[i]} ({self.p_texts[i]})" for i in np.flatnonzero(self.extreme)]
        if len(self.replicated) < (least := enough(len(self.names))):
            return f"{self.what}: {len(self.replicated)} replications are too few to tell; draw {least} or more"
        if not wrong:
            return f"{self.what}: replications look like the data in {', '.join(self.names)}"
        return f"{self.what}: replications miss the data's {', '.join(wrong)}"


def enough(statistics: int) -> int:
    """How many replications can tell that one of so many statistics is extreme."""
    return round(2 * statistics / ALPHA)


def predictive_check(
    fitted: Fitted,
    data: Dataset,
    given: Sequence[str] | None = None,
    statistics: Mapping[str, Mapping[str, Statistic]] | None = None,
    draws: int | None = None,
    seed: int = 0,
) -> dict[str, PredictiveCheck]:
    """Posterior predictive checks: a statistic of the data against the same of replicated data sets.

    Gelman, Meng & Stern (1996, "Posterior predictive assessment of model fitness via realized discrepancies"). A
    replication measures every item anew, at latents drawn from its posterior. Where that posterior saw what is
    replicated, the data are used twice and p-values are conservative: nearer to 1/2 than uniform ones (Meng 1994,
    "Posterior predictive p-values"). A small one is then strong evidence, and a large one is none. Items that were not
    trained on, or a ``given`` without the modality, make the check sharper.

    Args:
        fitted: the pair.
        data: the measured items. What an item lacks is missing from its replications too.
        given: what the latents are inferred from; by default all that an item has.
        statistics: modality to name to a function of its values, ``(items, *shape) -> number``. Items without the
            modality are left out; an element that an item lacks is NaN. By default mean, standard deviation, minimum
            and maximum over items and elements, of counts also the share of zeros; of binary elements the mean, of
            categorical ones each level's share.
        draws: replicated data sets; by default 200, or as many as can tell where there are more than five statistics.
        seed: of the draws.

    Raises:
        ValueError: a modality is unknown, not in the data or not explained, or a statistic is no finite number.
    """
    measured = [m for m in fitted.modalities if data.present(m.name).any()]
    held = data.only([m.name for m in measured])
    names = subset_questions.chosen(fitted, held, statistics)
    kinds = {m.name: m for m in measured}
    chosen = {name: defaults(kinds[name]) for name in names} if statistics is None else statistics
    values = {name: _values(data, name, data.holed(name), functions) for name, functions in chosen.items()}
    least = max(LEAST, *(enough(len(functions)) for functions in chosen.values()))
    replicated = _replicated(fitted, data, given, chosen, draws or least, seed)
    return {
        name: PredictiveCheck(
            f"{name} given {subset_questions.label(given)}", tuple(functions), values[name], np.array(replicated[name])
        )
        for name, functions in chosen.items()
    }


def _replicated(
    fitted: Fitted,
    data: Dataset,
    given: Sequence[str] | None,
    chosen: Mapping[str, Mapping[str, Statistic]],
    draws: int,
    seed: int,
) -> dict[str, list[np.ndarray]]:
    """The statistics of each replication, by modality; replications are drawn in blocks that fit into memory."""
    size = min(draws, max(1, NUMBERS // sum(data.arrays[name].size for name in chosen)))
    seeds = np.random.SeedSequence(seed).generate_state(-(-draws // size)).tolist()
    found: dict[str, list[np.ndarray]] = {name: [] for name in chosen}
    for block in seeds:
        drawn = fitted.query(data, given, list(chosen), size, block)
        for name, functions in chosen.items():
            found[name] += [_values(data, name, each, functions) for each in drawn[name]]
    return {name: values[:draws] for name, values in found.items()}


def _values(data: Dataset, name: str, values: np.ndarray, functions: Mapping[str, Statistic]) -> np.ndarray:
    """Each statistic of a modality's values ``(items, *shape)``, without what was not measured: ``(statistics,)``."""
    seen = np.where(np.isnan(data.holed(name)), np.nan, values)[data.present(name)]
    found = np.array([float(function(seen)) for function in functions.values()])
    if not np.isfinite(found).all():
        wrong = list(functions)[int(np.flatnonzero(~np.isfinite(found))[0])]
        advice = "holes are NaN, so take numpy's nanmean, nanstd, ..."
        raise ValueError(f"the statistic {wrong!r} of modality {name!r} is not a finite number; {advice}")
    return found


def defaults(modality: Modality) -> dict[str, Statistic]:
    """The statistics that say something of a modality of this kind."""
    if modality.likelihood in CATEGORIES:
        return {f"share of {level}": _share(level) for level in range(modality.levels or 0)}
    if modality.likelihood == "bernoulli":
        return {"mean": np.nanmean}
    return {**MOMENTS, "share of zeros": _share(0)} if modality.likelihood in COUNTS else dict(MOMENTS)


def _share(level: int) -> Statistic:
    """The share of measured elements that equal a level."""
    return lambda values: float((values == level).sum() / (~np.isnan(values)).sum())
