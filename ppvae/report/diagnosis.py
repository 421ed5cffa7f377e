"""Diagnosis: what was measured of a fitted pair as plain numbers and words, one line of JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ppvae.data.dataset import Dataset
from ppvae.diagnostics import questions
from ppvae.diagnostics.calibration import ALPHA, Uniform, fault
from ppvae.diagnostics.khat import THRESHOLD
from ppvae.posterior import Fitted
from ppvae.report.measures import Effort, Measures, Subset, measure

WORDS = {"log joint": "the joint density"}


@dataclass(frozen=True)
class Posterior:
    """What is known of q(z | x_given); None is what could not be measured.

    Attributes:
        given: the modalities that were shown.
        label: these in words.
        active, latents: how many latents follow the data, of how many.
        khat_share: the share of rows whose k-hat is above 0.7.
        evidence, evidence_error: the mean of log p(x_given) in nats per row, and its standard error over rows.
        sbc_p: the p-value of simulation-based calibration, of all latents together.
        sbc_worst: the latent that is furthest from calibrated, and what is wrong with it, in words.
        sbc_coverage: how often its 90 % intervals held the truth.
    """

    given: tuple[str, ...]
    label: str
    active: int
    latents: int
    khat_share: float | None = None
    evidence: float | None = None
    evidence_error: float | None = None
    sbc_p: float | None = None
    sbc_worst: str | None = None
    sbc_coverage: float | None = None


@dataclass(frozen=True)
class Prediction:
    """What is known of predictions of a modality given others; None is what could not be measured.

    Attributes:
        given: the modalities that were shown.
        label: these in words.
        ask: the modality that was predicted.
        items: how many rows have it.
        coverage_50, coverage_90: how often central intervals of these levels held the measured value.
    """

    given: tuple[str, ...]
    label: str
    ask: str
    items: int
    coverage_50: float | None
    coverage_90: float | None


@dataclass(frozen=True)
class Diagnosis:
    """Everything that was measured of a fitted pair.

    Attributes:
        method: what was trained, in words.
        data_set: on what; None where the run does not say.
        backend: that trained it, and that was asked.
        trained_on: did training see the rows? None where nobody knows.
        items, simulated: how many rows, and how many simulated items.
        weighed, particles: how many of the rows have importance weights, and how many each.
        posteriors: by subset.
        predictions: by subset and modality.
        shares: of each modality in what the posterior knows; None where no row has it.
        missing: modalities of the run that the rows do not have.
        history: ``epoch``, ``loss`` and, if there was any, ``validation_loss``, in nats per item.
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


def diagnose(
    fitted: Fitted,
    data: Dataset,
    also: Sequence[Sequence[str]] = (),
    effort: Effort | None = None,
    trained_on: bool | None = None,
    progress: bool | None = None,
) -> Diagnosis:
    """Measure what can be believed of a fitted pair; arguments and errors are those of ``measure``."""
    return summary(measure(fitted, data, also, effort, trained_on, progress))


def summary(measures: Measures) -> Diagnosis:
    """The measures as plain numbers."""
    fitted, effort, parts = measures.fitted, measures.effort, measures.parts
    programs = [type(program).__name__ for program in (fitted.vae.model, fitted.vae.guide)]
    kept = ("epoch", "loss", "validation_loss")
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
        shares={
            name: None if np.isnan(kl).all() else float(share)
            for name, kl, share in zip(parts.names, parts.kl, parts.shares, strict=True)
        },
        missing=tuple(name for name in questions.explained(fitted) if name not in parts.names),
        history=tuple({key: entry[key] for key in kept if key in entry} for entry in fitted.history),
    )


def _posterior(subset: Subset) -> Posterior:
    check, use = subset.latents, subset.use
    known = Posterior(subset.given, subset.label, active=use.active(), latents=len(use.names))
    if not subset.seen.any():
        return known
    ranks = _worst(check)
    values = subset.khat.log_evidence[0, subset.seen]
    return replace(
        known,
        khat_share=float((subset.khat.khat[0, subset.seen] > THRESHOLD).mean()),
        evidence=_finite(values.mean()),
        evidence_error=_finite(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else None,
        sbc_p=check.p_value,
        sbc_worst=f"{WORDS.get(*2 * ranks.names)} {fault(ranks.values[:, 0])}",
        sbc_coverage=_coverage(ranks, 0.9),
    )


def _worst(check: Uniform) -> Uniform:
    """The quantity that is furthest from calibrated: a single latent, unless none is off, as that is easier read."""
    p = check.p_values
    off = [i for i, name in enumerate(check.names) if name not in WORDS and p[i] * len(p) < ALPHA]
    worst = min(off or range(len(p)), key=lambda i: p[i])
    return Uniform(check.what, check.names[worst : worst + 1], check.values[:, worst : worst + 1])


def _prediction(subset: Subset, ask: str) -> Prediction:
    check = subset.predictions[ask]
    items = int((~np.isnan(check.values)).any(1).sum())
    label = "all others" if subset.label == f"all but {ask}" else subset.label
    return Prediction(subset.given, label, ask, items, _coverage(check, 0.5), _coverage(check, 0.9))


def _coverage(check: Uniform, level: float) -> float | None:
    """The coverage, which fewer than two rows do not have."""
    return check.coverage(level)[0] if (~np.isnan(check.values)).any(1).sum() > 1 else None


def _finite(value: float) -> float | None:
    """JSON has no NaN and no infinity."""
    return float(value) if np.isfinite(value) else None
