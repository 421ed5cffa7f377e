"""Verdict: which posteriors and predictions to trust, which not, why, and whose fault that is: guide's or model's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import stats

from ppvae.diagnostics.calibration import p_text
from ppvae.diagnostics.modality_contributions import IDLE
from ppvae.inference.arviz import THRESHOLD
from ppvae.report.diagnosis import POINTS, Correction, Diagnosis, Fit, Posterior, Prediction

TRUST, CARE, DISTRUST = "trust", "with care", "do not trust"
LEVELS = (TRUST, CARE, DISTRUST)

# One report in a hundred finds fault with posteriors that have none, and one with predictions: p-values count after
# Holm (1979), and the binomial band around a promised coverage is one for all intervals together. Its trials are rows,
# whose elements may move together.
SIGNIFICANT = 0.01
ENOUGH = 170  # rows or simulations: the band at 50 % reaches no further than 10 points to either side; our choice
ROWS = 30  # with fewer, and none above 0.7, a tenth of all rows may still be (the rule of three)
SURE = 0.95  # of the intervals that stand beside shares of fewer
FEW, MANY = 0.1, 0.5  # shares of rows with k-hat above 0.7 that ask for care, and that forbid trust; our choice

# Faults as they are counted.
UNSEEN, SCARCE = "something was not measured", "rows are few"
NARROW, WIDE = "intervals are too narrow", "intervals are wider than need be"
UNCALIBRATED = "in simulations truths do not fall where it says"
REACH = f"k-hat is above {THRESHOLD} for more than {FEW:.0%} of rows"


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
        posteriors, predictions: by the guide, in the order of the diagnosis.
        corrected: the posteriors as ``posterior="corrected"`` makes them; None where the guide is not suspect.
        models: of each modality, by its predictions from latents that nothing is known against.
        remarks: what else a reader must know, in sentences.
    """

    posteriors: tuple[Judgement, ...]
    predictions: tuple[Judgement, ...]
    corrected: tuple[Judgement | None, ...]
    models: tuple[Judgement, ...]
    remarks: tuple[str, ...]

    @property
    def headline(self) -> tuple[str, ...]:
        """How many predictions, posteriors and corrected posteriors can be trusted, a sentence each."""
        first = _counted("prediction", self.predictions) if self.predictions else "There is nothing to predict."
        better = [one or other for one, other in zip(self.corrected, self.posteriors, strict=True)]
        last = [f"Corrected: {_counted('posterior', better, 'of')}"] if any(self.corrected) else []
        return first, _counted("posterior", self.posteriors), *last

    @property
    def why(self) -> tuple[str, ...]:
        """What is wrong with predictions and with posteriors, and with how many: a sentence each, or none."""
        groups = (_faults("prediction", self.predictions), _faults("posterior", self.posteriors))
        return tuple(sentence for sentence in groups if sentence)

    @property
    def sentences(self) -> tuple[str, ...]:
        """Everything, the headline first."""
        judged = (*self.predictions, *self.models, *self.posteriors, *filter(None, self.corrected))
        return (*self.headline, *self.why, *self.remarks, *(each.sentence for each in judged))


def verdict(diagnosis: Diagnosis) -> Verdict:
    """Judge every posterior and every prediction; what was not measured is said, and is no reason to trust."""
    measured = [each.sbc_p for each in diagnosis.posteriors if each.sbc_p is not None]
    adjusted = iter(holm(measured))
    simulated = diagnosis.simulated
    p_values = [None if each.sbc_p is None else next(adjusted) for each in diagnosis.posteriors]
    posteriors = tuple(
        _judged(each.given, each.label, None, [_reach(each.khat_share, each.weighed), _calibrated(each, p, simulated)])
        for each, p in zip(diagnosis.posteriors, p_values, strict=True)
    )
    models = tuple(
        _judged((), "right latents", each.ask, [_covered(each, 2 * len(diagnosis.fits))]) for each in diagnosis.fits
    )
    predictions = _predictions(diagnosis, {each.given: each.level for each in posteriors}, models)
    corrected = tuple(_corrected(each, diagnosis.correction) for each in diagnosis.posteriors)
    return Verdict(posteriors, predictions, corrected, models, tuple(_remarks(diagnosis)))


def _corrected(posterior: Posterior, correction: Correction | None) -> Judgement | None:
    if correction is None or posterior.corrected_khat_share is None:
        return None
    reach = _reach(posterior.corrected_khat_share, posterior.corrected_rows)
    if reach.fault == SCARCE and correction.rows >= ROWS and (share := correction.khat_share) <= FEW:
        reach = Finding(TRUST, f"{reach.reason}, and for {share:.0%} of {correction.rows} rows given anything")
    calibrated = _calibrated(correction, correction.sbc_p, correction.simulated)
    return _judged(posterior.given, f"{posterior.label}, corrected", None, [reach, calibrated])


def _predictions(
    diagnosis: Diagnosis, levels: Mapping[tuple[str, ...], str], models: Sequence[Judgement]
) -> tuple[Judgement, ...]:
    """Judge every prediction; of intervals that are off it is said whose fault that is, where it is known."""
    off = {judged.ask: bool({NARROW, WIDE} & {*judged.faults}) for judged in models}
    rates = [rate for each in diagnosis.predictions for rate in (each.coverage_50, each.coverage_90)]
    promises = max(1, sum(rate is not None for rate in rates))
    found = []
    for each in diagnosis.predictions:
        level, covered = levels.get(each.given), _covered(each, promises)
        if covered.fault in (NARROW, WIDE) and (blame := _blame(level == TRUST, off.get(each.ask))):
            covered = covered._replace(reason=f"{covered.reason}; {blame}")
        found.append(_judged(each.given, each.label, each.ask, [covered, _behind(level)]))
    return tuple(found)


def _blame(trusted: bool, off: bool | None) -> str:
    """Whose fault intervals are: the model's where latents can be trusted, or where right ones do not mend them."""
    if trusted:
        return "the model is at fault, as the latents behind can be trusted"
    if off is None:
        return ""
    if off:
        return "the model is at fault, as corrected latents do not mend them"
    return "the guide is at fault, as corrected latents mend them"


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


def interval(rate: float, items: int) -> tuple[float, float]:
    """Between which shares that of all rows lies, in 95 % of all cases (Clopper & Pearson 1934)."""
    hits, tail = rate * items, (1 - SURE) / 2
    low = 0.0 if hits <= 0 else stats.beta.ppf(tail, hits, items - hits + 1)
    return float(low), 1.0 if hits >= items else float(stats.beta.ppf(1 - tail, hits + 1, items - hits))


def _between(rate: float, items: int) -> str:
    """The interval in words."""
    low, high = interval(rate, items)
    return f"{low:.0%} to {high:.0%}, 95% interval"


def _judged(given: tuple[str, ...], label: str, ask: str | None, findings: Sequence[Finding]) -> Judgement:
    """The worst level decides, and its reason stands first."""
    ordered = sorted(findings, key=lambda finding: -LEVELS.index(finding.level))
    reasons, faults = zip(*[(finding.reason, finding.fault) for finding in ordered], strict=True)
    return Judgement(given, label, ask, ordered[0].level, reasons, tuple(dict.fromkeys(filter(None, faults))))


def _reach(share: float | None, rows: int) -> Finding:
    if share is None:
        return Finding(CARE, "k-hat was not measured, as no row shows any of it", UNSEEN)
    why = f"k-hat is above {THRESHOLD} for {share:.0%} of {rows} rows"
    if share <= FEW and rows < ROWS:
        return Finding(CARE, f"{why} ({_between(share, rows)})", SCARCE)
    if share <= FEW:
        return Finding(TRUST, why)
    level = CARE if share <= MANY else DISTRUST
    return Finding(level, f"{why}: there it misses a part of what the model holds possible", REACH)


def _calibrated(checked: Posterior | Correction, p_value: float | None, items: int) -> Finding:
    worst, coverage = checked.sbc_worst, checked.sbc_coverage
    if p_value is None or coverage is None:
        return Finding(
            CARE, "calibration was not measured, as no row shows any of it or no item has latents of its own", UNSEEN
        )
    if p_value >= SIGNIFICANT:
        why = f"in {items} simulations truths fall where it says ({p_text(p_value)})"
        held = f"; its least calibrated 90% intervals held {coverage:.0%} of truths ({_between(coverage, items)})"
        return Finding(TRUST, why) if items >= ENOUGH else Finding(CARE, why + held, SCARCE)
    why = f"in {items} simulations {worst}: 90% intervals held {coverage:.0%} of truths ({p_text(p_value)})"
    return Finding(DISTRUST if coverage < 0.9 - POINTS else CARE, why, UNCALIBRATED)


def _covered(prediction: Prediction | Fit, promises: int) -> Finding:
    rates, items = {0.5: prediction.coverage_50, 0.9: prediction.coverage_90}, prediction.items
    known = {level: rate for level, rate in rates.items() if rate is not None}
    if not known:
        why = f"its intervals were not measured, as fewer than two rows have {prediction.ask} and something shown"
        return Finding(CARE, why, UNSEEN)
    level = max((_interval(*each, items, promises) for each in known.items()), key=LEVELS.index)
    unsure = {promised: f" ({_between(rate, items)})" if items < ENOUGH else "" for promised, rate in known.items()}
    held = " and ".join(
        f"{promised:.0%} intervals held {rate:.0%}{unsure[promised]}" for promised, rate in known.items()
    )
    if level == TRUST:
        why = f"{held} of values in {items} rows"
        return Finding(TRUST, why) if items >= ENOUGH else Finding(CARE, why, SCARCE)
    fault = NARROW if level == DISTRUST else WIDE
    return Finding(level, f"{held} of values: {fault.removeprefix('intervals are ')}", fault)


def _interval(level: float, rate: float, items: int, promises: int) -> str:
    low, high = band(items, level, promises)
    if low <= rate <= high or abs(rate - level) <= POINTS:
        return TRUST
    return DISTRUST if rate < level else CARE


def _behind(level: str | None) -> Finding:
    if level is None:
        return Finding(CARE, "the latents behind it were not measured", UNSEEN)
    words = {TRUST: "can be trusted", CARE: "are to be taken with care", DISTRUST: "are not to be trusted"}
    why = f"the latents behind it {words[level]}"
    return Finding(TRUST, why) if level == TRUST else Finding(CARE, why, f"the latents behind {words[level]}")


def _counted(word: str, judgements: Sequence[Judgement], first: str = "Of") -> str:
    counts, total = Counter(each.level for each in judgements), len(judgements)
    words = {CARE: "take {} with care", DISTRUST: "do not trust {}"}
    rest = [words[level].format(counts[level]) for level in words if counts[level] > 0 and counts[DISTRUST] < total]
    said = [f"trust {counts[TRUST] or 'none'}", *rest]
    plural = "" if total == 1 else "s"
    return f"{first} {total} {word}{plural}, {', '.join(said[:-1])}{' and ' if rest else ''}{said[-1]}."


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
    if diagnosis.missing:
        said.append(f"The rows do not have {', '.join(diagnosis.missing)}: nothing is known of that.")
    idle = [name for name, share in diagnosis.shares.items() if share is not None and share < IDLE]
    if idle:
        said.append(f"The posterior hardly uses {', '.join(idle)}: without, it would know almost as much.")
    return said
