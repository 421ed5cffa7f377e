"""Summaries: the numbers that a run and its evaluation report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

from ppvae.data import Dataset
from ppvae.inference.fitted import Fitted

if TYPE_CHECKING:  # scikit-learn, which training does not need
    from ppvae.metrics.classifiers import Judged
    from ppvae.metrics.skills import Skill


def of_training(fitted: Fitted) -> dict[str, Any]:
    """Last loss in nats per item, and times: medians over the epochs after the first; None where there were none."""
    settings, history = fitted.settings, fitted.history
    seconds = median(entry["seconds"] for entry in history[1:] or history) if history else None
    return {
        "backend": settings.backend,
        "epochs": len(history),
        "stopped": fitted.notes.get("stopped"),
        "loss": history[-1]["loss"] if history else None,
        "seconds_per_epoch": seconds,
        "ms_per_step": None if seconds is None else 1000 * seconds * len(history) / fitted.snapshot.step,
        "first_step_seconds": fitted.notes.get("first_step_seconds"),
    }


def of_likelihoods(data: Dataset) -> list[str]:
    """Each modality's likelihood, and the reason for one that was guessed."""
    why = {name: f" (guessed: {reason})" for name, reason in data.guesses.items()}
    return [f"{m.name} {m.likelihood}{why.get(m.name, '')}" for m in data.modalities or ()]


def of_evidence(elbo: np.ndarray, log_evidence: np.ndarray, particles: int) -> dict[str, Any]:
    """ELBO and log evidence per item in nats, from those of each item, ``(items,)``."""
    return {
        "items": len(elbo),
        "elbo": _mean(elbo),
        "log_evidence": _mean(log_evidence),
        "particles": particles,
    }


def of_served(answer: Any) -> dict[str, Any]:
    """How many items of an answer were corrected, and the rows of those that fail k-hat; nothing of a plain answer."""
    served = getattr(answer, "served", None)
    if served is None:
        return {}
    return {"corrected": int((served.stage == "corrected").sum()), "failed": np.flatnonzero(~served.passes).tolist()}


def of_skills(found: Mapping[str, Skill]) -> dict[str, Any]:
    """How good predictions of each modality are, ``NAME_r2`` or ``NAME_accuracy``, beside those of regressions."""
    keys = {"R²": "r2", "accuracy": "accuracy"}
    return {f"{name}_{keys[skill.measure]}": dict(skill.scores) for name, skill in found.items()}


def of_likenesses(found: Mapping[str, Mapping[str, np.ndarray]]) -> dict[str, Any]:
    """Each measure of each predicted modality, ``NAME_MEASURE``, over the items that have it."""
    return {
        f"{name}_{measure}": _mean(values[~np.isnan(values)])
        for name, measures in found.items()
        for measure, values in measures.items()
        if not np.isnan(values).all()
    }


def of_coherences(found: Mapping[str, Mapping[str, Judged]]) -> dict[str, Any]:
    """How often each label is read right off each predicted modality and off real ones, ``NAME_coherence_LABEL``."""
    return {
        f"{name}_coherence_{label}": asdict(judged) for name, each in found.items() for label, judged in each.items()
    }


def _mean(values: np.ndarray) -> dict[str, float | None]:
    """The mean over items and its standard error, which one item does not have."""
    with np.errstate(invalid="ignore"):  # infinite values have none either
        error = float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else None
    return {"mean": float(values.mean()), "se": error}
