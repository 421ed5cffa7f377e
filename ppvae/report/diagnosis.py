"""Diagnosis: what was measured of a fitted pair as plain numbers and words, one line of JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ppvae.metrics.bootstrap import Interval
from ppvae.metrics.skills import Skill

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
        corrected_khat_share: the share of ``corrected_rows`` whose k-hat is above 0.7 though they are corrected; None
            where the guide is not suspect.
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
    corrected_khat_share: float | None = None
    corrected_rows: int = 0


@dataclass(frozen=True)
class Correction:
    """What is known of corrected posteriors, of all subsets whose guide is suspect together.

    Attributes:
        rows, khat_share: how many rows were corrected, each time that one was, and the share of them whose k-hat is
            above 0.7.
        simulated: how many simulated items were corrected.
        sbc_p, sbc_worst, sbc_coverage: as those of a posterior.
        why_not: why nothing could be corrected; None where it could.
    """

    rows: int = 0
    khat_share: float = 0.0
    simulated: int = 0
    sbc_p: float | None = None
    sbc_worst: str | None = None
    sbc_coverage: float | None = None
    why_not: str | None = None


@dataclass(frozen=True)
class Fit:
    """What is known of the model of one modality, by predictions from posteriors that nothing is known against.

    Attributes:
        ask: the modality.
        shape: of its events.
        likelihood: of the model.
        items: how many rows were predicted, each time that one was.
        coverage_50, coverage_90: how often central intervals of these levels held the measured value.
    """

    ask: str
    shape: tuple[int, ...]
    likelihood: str
    items: int
    coverage_50: float | None
    coverage_90: float | None


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
        row: its id, or its number in the data where they have no ids.
        modality: the one that fits the rest worst.
        nats: how much less likely that is given another than alone, on average, and ``error``, its standard error.
        conflict: of the guide's posteriors given either, in nats; None where it was not measured.
    """

    row: int | str
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
        fits: of the model of each modality that is predicted.
        correction: of posteriors whose guide is suspect; None where none is.
        skills: how good predictions of each modality from all others are.
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
    fits: tuple[Fit, ...] = ()
    correction: Correction | None = None
    skills: Mapping[str, Skill] = field(default_factory=dict)
    likenesses: tuple[Likeness, ...] = ()
    coherences: tuple[Coherence, ...] = ()
    suspects: tuple[Suspect, ...] | None = None
