"""Summary: measures as the plain numbers and words of a diagnosis."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from ppvae.diagnostics.calibration import ALPHA, Uniform, fault
from ppvae.inference.arviz import THRESHOLD
from ppvae.report.diagnosis import (
    POINTS,
    Coherence,
    Correction,
    Diagnosis,
    Fit,
    Likeness,
    Posterior,
    Prediction,
    Suspect,
)
from ppvae.report.measures import Measures
from ppvae.report.subsets import Subset, source

WORDS = {"log joint": "the joint density"}
NAMES = {
    "edit_distance": "edits, of the longer text's length",
    "exact_match": "share that is right to the last token",
    "ssim": "structural similarity, at most 1",
    "mel_distance": "distance in decibels",
}  # of measures


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
        posteriors=tuple(_posterior(subset, measures) for subset in measures.subsets),
        predictions=tuple(_prediction(each, ask) for each in measures.subsets for ask in each.predictions),
        fits=tuple(_fits(measures)),
        correction=_correction(measures),
        skills={name: replace(each, scores=_known(each.scores)) for name, each in measures.skills.items()},
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
    found = measures.consistency
    if found is None:
        return None
    each = [(row, culprit := found.culprits[row], found.conflict[culprit, row]) for row in found.suspects()]
    return tuple(
        Suspect(
            _told(measures.rows[row]),
            found.names[culprit],
            -float(found.scores[row]),
            float(found.pairwise_errors[culprit, row]),
            None if np.isnan(conflict) else float(conflict),
        )
        for row, culprit, conflict in each
    )


def _told(identity: Any) -> int | str:
    """An id as JSON holds it."""
    return int(identity) if isinstance(identity, int | np.integer) else str(identity)


def _known(scores: Mapping[str, float]) -> dict[str, float]:
    """The scores that are numbers: where nothing varies there are none."""
    return {name: score for name, score in scores.items() if not np.isnan(score)}


def _fits(measures: Measures) -> Iterator[Fit]:
    kinds = {modality.name: modality for modality in measures.fitted.modalities}
    for name, check in measures.corrections.predictions.items():
        kind, items = kinds[name], int((~np.isnan(check.values)).any(1).sum())
        yield Fit(name, kind.shape, kind.likelihood, items, _coverage(check, 0.5), _coverage(check, 0.9))


def _correction(measures: Measures) -> Correction | None:
    found = measures.corrections
    if found.latents is None:
        return None if found.why_not is None else Correction(why_not=found.why_not)
    khat = np.concatenate(list(found.khat.values()))
    share, items = float((khat > THRESHOLD).mean()), len(found.latents.values)
    return Correction(len(khat), share, items, found.latents.p_value, *_worst(found.latents))


def _worst(check: Uniform) -> tuple[str, float | None]:
    """What is furthest from calibrated and what is wrong with it, in words, and how often its 90 % intervals held."""
    ranks = worst(check)
    (name,) = ranks.names
    return f"{WORDS.get(name, name)} {fault(ranks.values[:, 0])}", _coverage(ranks, 0.9)


def _posterior(subset: Subset, measures: Measures) -> Posterior:
    check, use, found = subset.latents, subset.use, subset.khat
    known = Posterior(subset.given, subset.label, weighed=len(subset.weighed))
    if (corrected := measures.corrections.khat.get(subset.given)) is not None:
        share = float((corrected > THRESHOLD).mean())
        known = replace(known, corrected_khat_share=share, corrected_rows=len(corrected))
    if use is not None:
        known = replace(known, active=use.active(), latents=len(use.names))
    if check is not None:
        said, coverage = _worst(check)
        known = replace(known, sbc_p=check.p_value, sbc_worst=said, sbc_coverage=coverage)
    if found is None:
        return known
    values = found.log_evidence[0]
    with np.errstate(invalid="ignore"):  # infinite evidence has no standard error
        error = float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else None
    share = float((found.khat[0] > THRESHOLD).mean())
    return replace(known, khat_share=share, evidence=float(values.mean()), evidence_error=error)


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
    return Prediction(subset.given, source(subset, ask), ask, items, _coverage(check, 0.5), _coverage(check, 0.9))


def _coverage(check: Uniform, level: float) -> float | None:
    """The coverage, which fewer than two rows do not have."""
    return check.coverage(level)[0] if (~np.isnan(check.values)).any(1).sum() > 1 else None
