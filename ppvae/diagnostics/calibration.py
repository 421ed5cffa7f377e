"""Calibration: do truths and measurements fall where the posterior and the predictive say, as often as they say?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import stats

from ppvae.data.dataset import Dataset
from ppvae.diagnostics import uniformity
from ppvae.diagnostics.khat import alone_and_all
from ppvae.diagnostics.simulation import Simulation, simulate
from ppvae.inference import subset_questions
from ppvae.inference.fitted import Fitted
from ppvae.inference.questions import Question
from ppvae.language.batch import over

ALPHA = 0.05
SHOWN = 4  # faults that a verdict lists


@dataclass(frozen=True, eq=False)
class Uniform:
    """Values that are uniform on (0, 1) where what they check is exact.

    Attributes:
        what: what they check, in words.
        names: of the quantities.
        values: ``(items, quantities)``; NaN where an item has none.
    """

    what: str
    names: tuple[str, ...]
    values: np.ndarray

    @cached_property
    def p_values(self) -> np.ndarray:
        """The p-value of each quantity, ``(quantities,)``."""
        return uniformity.p_values(self.values)

    @property
    def p_value(self) -> float:
        """The p-value of all quantities together (Bonferroni)."""
        return float(min(1.0, self.p_values.min() * len(self.names)))

    def coverage(self, level: float) -> tuple[float, float]:
        """How often the central interval of this level holds the truth, and the standard error of that over items.

        Items without a value are left out; elements of an item count as one.
        """
        seen = ~np.isnan(self.values)
        inside = (np.abs(np.nan_to_num(self.values, nan=2.0) - 0.5) <= level / 2).sum(1)
        rates = inside[seen.any(1)] / seen.sum(1)[seen.any(1)]
        return float(rates.mean()), float(rates.std(ddof=1) / np.sqrt(len(rates)))

    @property
    def verdict(self) -> str:
        """What the check found, in one sentence; faults are those of the posterior, or of the predictive."""
        if self.p_value >= ALPHA:
            items = int((~np.isnan(self.values)).any(1).sum())
            return f"{self.what}: no sign of miscalibration ({p_text(self.p_value)}, {items} items)"
        wrong = np.flatnonzero(self.p_values * len(self.names) < ALPHA)
        faults = [f"{self.names[i]} {fault(self.values[:, i])}" for i in wrong[:SHOWN]]
        more = f" and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
        return f"{self.what}: {', '.join(faults)}{more} ({p_text(self.p_value)})"


def p_text(value: float) -> str:
    """A p-value in words."""
    return f"p = {value:.2g}" if value >= 1e-4 else "p < 0.0001"


def fault(values: np.ndarray) -> str:
    """Which way uniform values went wrong: by place or by spread, whichever is further out."""
    values = values[~np.isnan(values)]
    place = (values.mean() - 0.5) * np.sqrt(12 * len(values))
    spread = (((values - 0.5) ** 2).mean() - 1 / 12) * np.sqrt(180 * len(values))
    if abs(place) > abs(spread):
        return "lies too low" if place > 0 else "lies too high"
    return "is too narrow" if spread > 0 else "is too wide"


@dataclass(frozen=True, eq=False)
class Symmetric:
    """Where true latents lie among the draws of each item: symmetric about 1/2 where posterior means are right.

    Attributes:
        what: what they check, in words.
        names: of the latents.
        values: ``(items, latents)``.
    """

    what: str
    names: tuple[str, ...]
    values: np.ndarray

    @cached_property
    def p_values(self) -> np.ndarray:
        """Wilcoxon's signed-rank test of symmetry about 1/2 of each latent, ``(latents,)``."""
        return stats.wilcoxon(self.values - 0.5, axis=0).pvalue

    @property
    def p_value(self) -> float:
        """The p-value of all latents together (Bonferroni)."""
        return float(min(1.0, self.p_values.min() * len(self.names)))

    @property
    def verdict(self) -> str:
        """What the check found, in one sentence."""
        if self.p_value >= ALPHA:
            return f"{self.what}: no sign of biased means ({p_text(self.p_value)}, {len(self.values)} items)"
        worst = int(self.p_values.argmin())
        side = "low" if self.values[:, worst].mean() > 0.5 else "high"
        return f"{self.what}: the mean of {self.names[worst]} lies too {side} ({p_text(self.p_value)})"


def sbc(simulation: Simulation, seed: int = 0) -> Uniform:
    """Simulation-based calibration: the rank of each true latent among its draws (Talts et al. 2018).

    The log joint density is ranked too: it sees what no single latent shows, such as a guide that ignores the data
    (Modrák et al. 2023). It is left out where nothing was given. Ties are broken at random.
    """
    names, truth, draws = simulation.flat
    if simulation.given != ():
        at_truth, at_draws = simulation.log_joint
        names = (*names, "log joint")
        truth = np.concatenate([truth, at_truth[:, None]], 1)
        draws = np.concatenate([draws, at_draws[..., None]], 2)
    values = places(truth, draws, seed)
    return Uniform(f"latents given {subset_questions.label(simulation.given)}", names, values)


def tarp(simulation: Simulation, seed: int = 0) -> Uniform:
    """Coverage of balls around random points: the share of draws nearer to the point than the truth is.

    Tests of accuracy with random points (Lemos et al. 2023). The point of an item is the true latent of another;
    latents are measured in units of their prior deviation. All latents are checked jointly.
    """
    _, truth, draws = simulation.flat
    unit = truth.std(0) + np.finfo(float).tiny
    points = np.roll(truth, 1, axis=0)
    far = np.linalg.norm((truth - points) / unit, axis=-1)
    near = np.linalg.norm((draws - points) / unit, axis=-1)
    values = places(far, near, seed)
    return Uniform(
        f"all latents together given {subset_questions.label(simulation.given)}", ("distance",), values[:, None]
    )


def vsbc(simulation: Simulation, seed: int = 0) -> Symmetric:
    """The position of each true latent among its draws, and whether it is symmetric about their middle.

    Variational simulation-based calibration (Yao et al. 2018, "Yes, but did it work?"): it asks of a posterior known to
    be too narrow whether its mean is right on average. The test of symmetry here is Wilcoxon's.
    """
    names, truth, draws = simulation.flat
    values = places(truth, draws, seed)
    return Symmetric(f"means of latents given {subset_questions.label(simulation.given)}", names, values)


@dataclass(frozen=True, eq=False)
class Calibration:
    """The three checks of latents for one subset of modalities."""

    sbc: Uniform
    tarp: Uniform
    vsbc: Symmetric

    @property
    def verdict(self) -> str:
        """The three verdicts."""
        return "; ".join(check.verdict for check in (self.sbc, self.tarp, self.vsbc))


def calibration(
    fitted: Fitted,
    data: Dataset,
    subsets: Sequence[Sequence[str]] | None = None,
    items: int = 500,
    draws: int = 99,
    seed: int = 0,
    posterior: str = "guide",
) -> dict[tuple[str, ...], Calibration]:
    """The three checks of a posterior for each subset of modalities: by default each alone, and all."""
    names = fitted.explained
    chosen = alone_and_all(names) if subsets is None else subsets
    found = {}
    for subset in chosen:
        simulation = simulate(fitted, data, subset, items, draws, seed, posterior)
        found[tuple(subset)] = Calibration(sbc(simulation), tarp(simulation), vsbc(simulation))
    return found


def predictive(
    fitted: Fitted,
    data: Dataset,
    given: Sequence[str] | None = None,
    ask: Sequence[str] | None = None,
    draws: int = 99,
    seed: int = 0,
    posterior: str = "guide",
) -> dict[str, Uniform]:
    """Where each measured element lies in its predictive distribution: the probability integral transform.

    Args:
        fitted: the pair.
        data: measured items that the pair was not trained on.
        given: what the prediction is made from; by default, for each modality, all the others.
        ask: the modalities to check, in the items that have something of what is given; by default all that the data
            have.
        draws: of the predictive distribution; values are randomised between them, and so over the atoms of counts.
        seed: of the draws.
        posterior: that the latents behind predictions are from: ``"guide"``, ``"corrected"`` or ``"auto"``.

    Raises:
        ValueError: a name is unknown or not in the data, or the model takes what is asked for as given.
    """
    held, chosen = subset_questions.explained(fitted, data), subset_questions.chosen(fitted, data, ask)
    others = lambda name: [other for other in held if other != name]  # noqa: E731
    asked = [(given, chosen)] if given is not None else [(others(name), [name]) for name in chosen]
    found: dict[str, Uniform] = {}
    for shown, names in asked:
        counts = _counts(fitted, data, shown, names, draws, seed, posterior)
        seen, what = subset_questions.showing(data, shown), subset_questions.label(shown)
        for name in names:
            places = _positions(*counts[name], draws, seed)
            known = over(seen, places) & ~np.isnan(data.holed(name))
            flat = np.where(known, places, np.nan).reshape(len(data), -1)
            found[name] = Uniform(f"{name} given {what}", subset_questions.elements(name, places.shape[1:]), flat)
    return found


def _counts(
    fitted: Fitted, data: Dataset, given: Sequence[str], ask: Sequence[str], draws: int, seed: int, posterior: str
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """By modality how many predictive draws lie below each element, and how many equal it: ``(items, *shape)``."""
    if posterior == "guide":
        question = Question(subset_questions.ranks, draws, tuple(subset_questions.explained(fitted, data)))
        found = subset_questions.ask(fitted, question, data, given, seed)
        return {name: (found[f"below {name}"].sum(0), found[f"equal {name}"].sum(0)) for name in ask}
    drawn = fitted.query(data, given, ask, draws, seed, posterior)
    return {n: ((drawn[n] < data.arrays[n]).sum(0), (drawn[n] == data.arrays[n]).sum(0)) for n in ask}


def places(truth: np.ndarray, draws: np.ndarray, seed: int) -> np.ndarray:
    """Where truths ``(items, ...)`` lie among their draws ``(draws, items, ...)``, uniform on (0, 1) if one of them."""
    return _positions((draws < truth).sum(0), (draws == truth).sum(0), len(draws), seed)


def _positions(below: np.ndarray, equal: np.ndarray, draws: int, seed: int) -> np.ndarray:
    """A truth's place among draws, uniform on (0, 1) where it is one of them: random between its neighbours."""
    random = np.random.default_rng(seed).random(below.shape)
    return (below + random * (equal + 1)) / (draws + 1)
