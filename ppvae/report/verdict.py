"""Verdict: which posteriors and predictions to trust, which not, and why, in plain words with the number."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import stats

from ppvae.diagnostics.calibration import p_text
from ppvae.diagnostics.modality_contributions import IDLE
from ppvae.inference.arviz import THRESHOLD
from ppvae.report.diagnosis import POINTS, Diagnosis, Posterior, Prediction
from ppvae.training.early_stopping import overtrained

TRUST, CARE, DISTRUST = "trust", "with care", "do not trust"
LEVELS = (TRUST, CARE, DISTRUST)

# One report in a hundred finds fault with posteriors that have none, and one with predictions: p-values count after
# Holm (1979), and the binomial band around a promised coverage is one for all intervals together. Its trials are rows,
# whose elements may move together.
SIGNIFICANT = 0.01
ENOUGH = 170  # rows or simulations: the band at 50 % reaches no further than 10 points to either side; our choice
ROWS = 30  # with fewer, and none above 0.7, a tenth of all rows may still be (the rule of three)
FEW, MANY = 0.1, 0.5  # shares of rows with k-hat above 0.7 that ask for care, and that forbid trust; our choice

# Faults as they are counted.
UNSEEN, SCARCE = "something was not measured", "rows are too few to tell"
UNCALIBRATED = "in simulations truths do not fall where it says"
REACH = f"k-hat is above {THRESHOLD} for more than {FEW:.0%} of rows"
WAY_OUT = (
    'What to do about posteriors: ask with posterior="corrected", on the command line --posterior corrected, which '
    "draws from each row's own posterior and says of which rows even that cannot be trusted."
)


class Finding(NamedTuple):
    """A level, the reason for it, and where that is a fault its name in a count of faults."""

    level: str
    reason: str
    fault: str = ""


@dataclass(frozen=True)
class Judgement:
    """How far something can be trusted.

    Attributes:
        given, label: the modalities that are shown, and these in words.
        ask: the modality that is predicted; None for the posterior itself.
        level: ``trust``, ``with care`` or ``do not trust``.
        reasons: why, in plain words, the weightiest first.
        faults: names of what is wrong.
    """

    given: tuple[str, ...]
    label: str
    ask: str | None
    level: str
    reasons: tuple[str, ...]
    faults: tuple[str, ...] = ()

    @property
    def about(self) -> str:
        """What is judged, in words."""
        return f"{self.ask or 'latents'} given {self.label}"

    @property
    def rank(self) -> int:
        """0 for what can be trusted, 2 for what cannot."""
        return LEVELS.index(self.level)

    @property
    def sentence(self) -> str:
        """The judgement in one sentence."""
        return f"{self.about}: {self.level}; {'; '.join(self.reasons)}."


@dataclass(frozen=True)
class Verdict:
    """The judgements of a diagnosis.

    Attributes:
        posteriors, predictions: in the order of the diagnosis.
        remarks: what else a reader must know, in sentences.
    """

    posteriors: tuple[Judgement, ...]
    predictions: tuple[Judgement, ...]
    remarks: tuple[str, ...]

    @property
    def headline(self) -> tuple[str, ...]:
        """How many predictions and how many posteriors can be trusted, a sentence each."""
        first = _counted("prediction", self.predictions) if self.predictions else "There is nothing to predict."
        return first, _counted("posterior", self.posteriors)

    @property
    def why(self) -> tuple[str, ...]:
        """What is wrong with predictions and with posteriors, and with how many: a sentence each, or none."""
        groups = (_faults("prediction", self.predictions), _faults("posterior", self.posteriors))
        return tuple(sentence for sentence in groups if sentence)

    @property
    def sentences(self) -> tuple[str, ...]:
        """Everything, the headline first."""
        return (
            *self.headline,
            *self.why,
            *self.remarks,
            *(each.sentence for each in (*self.predictions, *self.posteriors)),
        )


def verdict(diagnosis: Diagnosis) -> Verdict:
    """Judge every posterior and every prediction; what was not measured is said, and is no reason to trust."""
    measured = [each.sbc_p for each in diagnosis.posteriors if each.sbc_p is not None]
    adjusted = iter(holm(measured))
    p_values = [None if each.sbc_p is None else next(adjusted) for each in diagnosis.posteriors]
    posteriors = tuple(
        _judged(each, None, [_reach(each), _calibrated(each, p, diagnosis.simulated)])
        for each, p in zip(diagnosis.posteriors, p_values, strict=True)
    )
    levels = {each.given: each.level for each in posteriors}
    rates = [rate for each in diagnosis.predictions for rate in (each.coverage_50, each.coverage_90)]
    promises = max(1, sum(rate is not None for rate in rates))
    predictions = tuple(
        _judged(each, each.ask, [_covered(each, promises), _behind(each, levels)]) for each in diagnosis.predictions
    )
    inexact = any(fault in (REACH, UNCALIBRATED) for each in posteriors for fault in each.faults)
    return Verdict(posteriors, predictions, (*[WAY_OUT] * inexact, *_remarks(diagnosis)))


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values adjusted for their number (Holm 1979, "A simple sequentially rejective multiple test procedure")."""
    order = np.argsort(p_values)
    factors = len(p_values) - np.arange(len(p_values))
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(np.array(p_values)[order] * factors))
    return adjusted.tolist()


def band(items: int, level: float, promises: int = 1) -> tuple[float, float]:
    """Between which shares the coverage of so many rows lies if ``level`` is right.

    So do, in 99 % of all cases, those of all ``promises`` (Bonferroni).
    """
    low, high = stats.binom.interval(1 - SIGNIFICANT / promises, items, level)
    return float(low / items), float(high / items)


def _judged(each: Posterior | Prediction, ask: str | None, findings: Sequence[Finding]) -> Judgement:
    """The worst level decides, and its reason stands first."""
    ordered = sorted(findings, key=lambda finding: -LEVELS.index(finding.level))
    reasons, faults = zip(*[(finding.reason, finding.fault) for finding in ordered], strict=True)
    return Judgement(each.given, each.label, ask, ordered[0].level, reasons, tuple(dict.fromkeys(filter(None, faults))))


def _reach(posterior: Posterior) -> Finding:
    share = posterior.khat_share
    if share is None:
        return Finding(CARE, "k-hat was not measured, as no row shows any of it", UNSEEN)
    why = f"k-hat is above {THRESHOLD} for {share:.0%} of {posterior.weighed} rows"
    if share <= FEW and posterior.weighed < ROWS:
        return Finding(CARE, f"{why}, which are too few to tell: it takes {ROWS}", SCARCE)
    if share <= FEW:
        return Finding(TRUST, why)
    level = CARE if share <= MANY else DISTRUST
    return Finding(level, f"{why}: there it misses a part of what the model holds possible", REACH)


def _calibrated(posterior: Posterior, p_value: float | None, items: int) -> Finding:
    worst, coverage = posterior.sbc_worst, posterior.sbc_coverage
    if p_value is None or coverage is None:
        return Finding(CARE, "calibration was not measured, as no row shows any of it", UNSEEN)
    if p_value >= SIGNIFICANT:
        return _enough(items, f"in {items} simulations truths fall where it says ({p_text(p_value)})")
    why = f"in {items} simulations {worst}: 90% intervals held {coverage:.0%} of truths ({p_text(p_value)})"
    return Finding(DISTRUST if coverage < 0.9 - POINTS else CARE, why, UNCALIBRATED)


def _covered(prediction: Prediction, promises: int) -> Finding:
    rates = {0.5: prediction.coverage_50, 0.9: prediction.coverage_90}
    known = {level: rate for level, rate in rates.items() if rate is not None}
    if not known:
        why = f"its intervals were not measured, as fewer than two rows have {prediction.ask} and something shown"
        return Finding(CARE, why, UNSEEN)
    level = max((_interval(*each, prediction.items, promises) for each in known.items()), key=LEVELS.index)
    held = " and ".join(f"{promised:.0%} intervals held {rate:.0%}" for promised, rate in known.items())
    if level == TRUST:
        return _enough(prediction.items, f"{held} of values in {prediction.items} rows")
    how = "too narrow" if level == DISTRUST else "wider than need be"
    return Finding(level, f"{held} of values: {how}", f"intervals are {how}")


def _interval(level: float, rate: float, items: int, promises: int) -> str:
    low, high = band(items, level, promises)
    if low <= rate <= high or abs(rate - level) <= POINTS:
        return TRUST
    return DISTRUST if rate < level else CARE


def _enough(items: int, why: str) -> Finding:
    """Nothing was found, in enough items to say so or in too few."""
    if items >= ENOUGH:
        return Finding(TRUST, why)
    return Finding(CARE, f"{why}, which are too few to tell: it takes {ENOUGH}", SCARCE)


def _behind(prediction: Prediction, levels: dict[tuple[str, ...], str]) -> Finding:
    level = levels.get(prediction.given)
    if level is None:
        return Finding(CARE, "the latents behind it were not measured", UNSEEN)
    words = {TRUST: "can be trusted", CARE: "are to be taken with care", DISTRUST: "are not to be trusted"}
    why = f"the latents behind it {words[level]}"
    return Finding(TRUST, why) if level == TRUST else Finding(CARE, why, f"the latents behind {words[level]}")


def _counted(word: str, judgements: Sequence[Judgement]) -> str:
    counts, total = Counter(each.level for each in judgements), len(judgements)
    words = {CARE: "take {} with care", DISTRUST: "do not trust {}"}
    rest = [words[level].format(counts[level]) for level in words if counts[level] > 0 and counts[DISTRUST] < total]
    said = [f"trust {counts[TRUST] or 'none'}", *rest]
    plural = "" if total == 1 else "s"
    return f"Of {total} {word}{plural}, {', '.join(said[:-1])}{' and ' if rest else ''}{said[-1]}."


def _faults(word: str, judgements: Sequence[Judgement]) -> str:
    """How many of the judgements have each fault, the most frequent first."""
    counts = Counter(fault for each in judgements for fault in each.faults).most_common()
    said = "; ".join(f"{fault} ({count} of {len(judgements)})" for fault, count in counts)
    return said and f"What is wrong with {word}s: {said}."


def _remarks(diagnosis: Diagnosis) -> list[str]:
    said = []
    if diagnosis.trained_on:
        said.append("Training saw these rows, which flatters everything that is measured on them.")
    if diagnosis.trained_on is None:
        said.append("Whether training saw these rows is not known; if it did, that flatters what is measured on them.")
    if sentence := overtrained(diagnosis.history):
        said.append(sentence)
    if diagnosis.missing:
        said.append(f"The rows do not have {', '.join(diagnosis.missing)}: nothing is known of that.")
    idle = [name for name, share in diagnosis.shares.items() if share is not None and share < IDLE]
    if idle:
        said.append(f"The posterior hardly uses {', '.join(idle)}: without, it would know almost as much.")
    return said
