"""Diagnosis: what was measured of a fitted pair as plain numbers and words, one line of JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ppvae.diagnostics.calibration import ALPHA, Uniform, fault
from ppvae.inference.arviz import THRESHOLD
from ppvae.metrics.bootstrap import Interval
from ppvae.report.measures import Measures, Subset

WORDS = {"log joint": "the joint density"}
NAMES = {
    "edit_distance": "edits, of the longer text's length",
    "exact_match": "share that is right to the last token",
    "ssim": "structural similarity, at most 1",
    "mel_distance": "distance in decibels",
}  # of measures
POINTS = 0.05  # a coverage this near to what was promised misleads nobody, however surely it is off; our choice


@dataclass(frozen=True)
class Posterior:
    """What is known of q(z | x_given); None is what could not be measured.

    Attributes:
        given: the modalities that were shown.
        label: these in words.
        active, latents: how many latents follow the data, of how many.
        khat_share: the share of the weighed rows whose k-hat is above 0.7.
        evidence, evidence_error: the mean of log p(x_given) in nats per row, and its standard error over rows.
        sbc_p: the p-value of simulation-based calibration, of all latents together.
        sbc_worst: the latent (or joint density) that is furthest from calibrated, and what is wrong with it, in words.
        sbc_coverage: how often its 90 % intervals held the truth.
        weighed: how many rows have importance weights.
    """

    given: tuple[str, ...]
    label: str
    active: int | None = None
    latents: int | None = None
    khat_share: float | None = None
    evidence: float | None = None
    evidence_error: float | None = None
    sbc_p: float | None = None
    sbc_worst: str | None = None
    sbc_coverage: float | None = None
    weighed: int = 0


@dataclass(frozen=True)
class Prediction:
    """What is known of predictions of a modality given others; None is what could not be measured.

    Attributes:
        given: the modalities that were shown.
        label: these in words.
        ask: the modality that was predicted.
        items: how many rows have it, and something of what was shown.
        coverage_50, coverage_90: how often central intervals of these levels held the measured value.
    """

    given: tuple[str, ...]
    label: str
    ask: str
    items: int
    coverage_50: float | None
    coverage_90: float | None


@dataclass(frozen=True)
class Suspect:
    """A row that disagrees with itself.

    Attributes:
        row: its number in the data.
        modality: the one that fits the rest worst.
        nats: how much less likely that is given the rest than alone, and ``error``, its standard error.
        conflict: of the guide's posteriors given either, in nats; None where it was not measured.
    """

    row: int
    modality: str
    nats: float
    error: float
    conflict: float | None


@dataclass(frozen=True)
class Likeness:
    """How near predictions of a text, image or sound from all others are to what was measured.

    Attributes:
        ask: the modality.
        measure: of likeness, in words.
        mean, error: over rows, and the standard error of that; None where fewer than two rows have it.
    """

    ask: str
    measure: str
    mean: float
    error: float | None


@dataclass(frozen=True)
class Coherence:
    """How often a classifier reads the right label off predictions of a modality from all others.

    Attributes:
        ask: the modality.
        label: of the data.
        made: the share of predictions, with its interval of 90 %.
        real: of measurements, by the same classifier, alike.
    """

    ask: str
    label: str
    made: Interval
    real: Interval


@dataclass(frozen=True)
class Diagnosis:
    """Everything that was measured of a fitted pair.

    Attributes:
        method: what was trained, in words.
        data_set: on what; None where the run does not say.
        backend: that trained it, and that was asked.
        trained_on: did training see the rows? None where nobody knows.
        items, simulated: how many rows, and how many simulated items.
        weighed, particles: how many of the rows have importance weights at most, and how many each.
        posteriors: by subset.
        predictions: by subset and modality.
        shares: of each modality in what the posterior knows; None where no row has it.
        missing: modalities of the run that the rows do not have.
        history: ``epoch``, ``loss`` and, if there was any, ``validation_loss``, in nats per item; ``best_epoch`` where
            that chose the weights.
        likenesses: of the predictions of texts, images and sounds.
        coherences: of these and of all others, where the rows have labels.
        suspects: rows that disagree with themselves, the worst first; None where that was not asked.
    """

    method: str
    data_set: str | None
    backend: str
    trained_on: bool | None
    items: int
    simulated: int
    weighed: int
    particles: int
    posteriors: tuple[Posterior, ...]
    predictions: tuple[Prediction, ...]
    shares: Mapping[str, float | None]
    missing: tuple[str, ...]
    history: tuple[Mapping[str, Any], ...]
    likenesses: tuple[Likeness, ...] = ()
    coherences: tuple[Coherence, ...] = ()
    suspects: tuple[Suspect, ...] | None = None


def summary(measures: Measures) -> Diagnosis:
    """The measures as plain numbers."""
    fitted, effort, parts = measures.fitted, measures.effort, measures.parts
    programs = [type(program).__name__ for program in (fitted.vae.model, fitted.vae.guide)]
    kept = ("epoch", "loss", "validation_loss", "best_epoch")
    return Diagnosis(
        method=fitted.notes.get("method") or fitted.vae.recipe.get("method") or " and ".join(programs),
        data_set=fitted.notes.get("data_set"),
        backend=fitted.settings.backend,
        trained_on=measures.trained_on,
        items=measures.items,
        simulated=effort.items,
        weighed=min(effort.weighed, measures.items),
        particles=effort.particles,
        posteriors=tuple(_posterior(subset) for subset in measures.subsets),
        predictions=tuple(_prediction(each, ask) for each in measures.subsets for ask in each.predictions),
        likenesses=tuple(_likenesses(measures)),
        coherences=tuple(
            Coherence(name, label, judged.made, judged.real)
            for name, each in measures.coherent.items()
            for label, judged in each.items()
        ),
        shares={
            name: None if np.isnan(kl).all() else float(share)
            for name, kl, share in zip(parts.names, parts.kl, parts.shares, strict=True)
        },
        missing=tuple(name for name in fitted.explained if name not in parts.names),
        history=tuple({key: entry[key] for key in kept if key in entry} for entry in fitted.history),
        suspects=_suspects(measures),
    )


def _suspects(measures: Measures) -> tuple[Suspect, ...] | None:
    found, numbers = measures.consistency, measures.rows
    if found is None or numbers is None:
        return None
    each = [(row, culprit := found.culprits[row], found.conflict[culprit, row]) for row in found.suspects()]
    return tuple(
        Suspect(
            int(numbers[row]),
            found.names[culprit],
            -float(found.scores[row]),
            float(found.errors[culprit, row]),
            None if np.isnan(conflict) else float(conflict),
        )
        for row, culprit, conflict in each
    )


def _posterior(subset: Subset) -> Posterior:
    check, use, found = subset.latents, subset.use, subset.khat
    known = Posterior(subset.given, subset.label, weighed=len(subset.weighed))
    if use is not None:
        known = replace(known, active=use.active(), latents=len(use.names))
    if check is None or found is None:
        return known
    ranks, values = worst(check), found.log_evidence[0]
    (name,) = ranks.names
    with np.errstate(invalid="ignore"):  # infinite evidence has no standard error
        error = float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else None
    return replace(
        known,
        khat_share=float((found.khat[0] > THRESHOLD).mean()),
        evidence=float(values.mean()),
        evidence_error=error,
        sbc_p=check.p_value,
        sbc_worst=f"{WORDS.get(name, name)} {fault(ranks.values[:, 0])}",
        sbc_coverage=_coverage(ranks, 0.9),
    )


def _likenesses(measures: Measures) -> Iterator[Likeness]:
    for name, found in measures.alike.items():
        for measure, values in found.items():
            seen = values[~np.isnan(values)]
            if len(seen):
                error = float(seen.std(ddof=1) / np.sqrt(len(seen))) if len(seen) > 1 else None
                yield Likeness(name, NAMES[measure], float(seen.mean()), error)


def worst(check: Uniform) -> Uniform:
    """The quantity that is furthest from calibrated: of those that are off the one whose intervals hold least.

    A single latent goes before the joint density where that misleads no more, as it is easier read.
    """
    p, single = check.p_values, [_only(check, i) for i in range(len(check.names))]
    off = [each for i, each in enumerate(single) if p[i] * len(p) < ALPHA]
    if not off:
        return single[int(p.argmin())]
    misleads = lambda each: each.coverage(0.9)[0] < 0.9 - POINTS  # noqa: E731
    return min(off, key=lambda each: (not misleads(each), each.names[0] in WORDS, each.coverage(0.9)[0]))


def _only(check: Uniform, number: int) -> Uniform:
    """The check of one quantity."""
    return Uniform(check.what, check.names[number : number + 1], check.values[:, number : number + 1])


def _prediction(subset: Subset, ask: str) -> Prediction:
    check = subset.predictions[ask]
    items = int((~np.isnan(check.values)).any(1).sum())
    label = "all others" if subset.label == f"all but {ask}" else subset.label
    return Prediction(subset.given, label, ask, items, _coverage(check, 0.5), _coverage(check, 0.9))


def _coverage(check: Uniform, level: float) -> float | None:
    """The coverage, which fewer than two rows do not have."""
    return check.coverage(level)[0] if (~np.isnan(check.values)).any(1).sum() > 1 else None
