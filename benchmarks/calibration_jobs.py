"""Jobs of the calibration table: one method trained once on mfeat, and how far its posteriors can be believed."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import study_jobs
from study_jobs import Setting

import ppvae
from ppvae import Dataset
from ppvae.diagnostics.calibration import predictive, sbc
from ppvae.diagnostics.khat import khat
from ppvae.diagnostics.simulation import simulate
from ppvae.inference.fitted import Fitted

ITEMS, DRAWS, SIMULATED, LEVEL = 50, 1000, 500, 0.9


def calibrated(method: str, seed: int, setting: Setting) -> dict[str, Any]:
    """Train one method on complete data and check it: a row of the results."""
    train, test = ppvae.datasets.load("mfeat").split(0.75, seed=seed)
    fitted = study_jobs.trained(method, train, seed, setting)
    row = {"method": method, "seed": seed, "setting": setting.key}
    return {**row, **trusted(fitted, test), **ranked(fitted, test), **covered(fitted, test)}


def corrected(method: str, seed: int, setting: Setting) -> dict[str, Any]:
    """Train one method on complete data and check its corrected posteriors: a row of the results."""
    train, test = ppvae.datasets.load("mfeat").split(0.75, seed=seed)
    fitted = study_jobs.trained(method, train, seed, setting)
    row = {"method": method, "seed": seed, "setting": setting.key}
    return {
        **row,
        **weighed(fitted, test),
        **evidences(fitted, test, setting),
        **ranked(fitted, test, "corrected"),
    }


def trusted(fitted: Fitted, test: Dataset) -> dict[str, float]:
    """The share of test items whose k-hat is above 0.7, by how many views are given."""
    items = test.take(slice(ITEMS))
    return {
        f"khat_{size}": float(np.mean(list(khat(fitted, items, group, DRAWS).share.values())))
        for size, group in groups(test).items()
    }


def weighed(fitted: Fitted, test: Dataset) -> dict[str, float]:
    """The same of corrected posteriors, and the median of the effective number of their particles."""
    items, found = test.take(slice(ITEMS)), {}
    for size, group in groups(test).items():
        weights = [fitted.log_weights(items, given, DRAWS, posterior="corrected") for given in group]
        failing = [~each.served.passes for each in weights]  # type: ignore[attr-defined]
        found[f"khat_{size}"] = float(np.mean(failing))
        found[f"ess_{size}"] = float(np.median([effective(each) for each in weights]))
    return found


def evidences(fitted: Fitted, test: Dataset, setting: Setting) -> dict[str, float]:
    """Evidence of the study's test items by either posterior, the mean in nats."""
    items = test.take(slice(setting.evidence_items))
    means = {by: fitted.log_evidence(items, particles=DRAWS, posterior=by).mean() for by in ("guide", "corrected")}
    return {f"evidence_{by}": float(mean) for by, mean in means.items()}


def effective(log_weights: np.ndarray) -> np.ndarray:
    """``(Σ w)² / Σ w²`` of each item, ``(particles, items) -> (items,)``."""
    weights = np.exp(np.asarray(log_weights) - log_weights.max(0))
    return weights.sum(0) ** 2 / (weights**2).sum(0)


def groups(test: Dataset) -> dict[int, list[Collection[str]]]:
    """The subsets of views of each size that are looked at."""
    names = list(test.arrays)
    return {size: study_jobs.subsets(names, size) for size in study_jobs.OFFSETS} | {len(names): [names]}


def ranked(fitted: Fitted, test: Dataset, posterior: str = "guide") -> dict[str, float]:
    """SBC given one view, the views taken together, and given all: p-value, and coverage of 90 % intervals of z."""
    found = {}
    for count, group in (("1", [[name] for name in test.arrays]), ("all", [list(test.arrays)])):
        checks = [sbc(simulate(fitted, test, given, SIMULATED, posterior=posterior)) for given in group]
        found[f"sbc_{count}"] = min(1.0, len(checks) * min(check.p_value for check in checks))
        found[f"latents_{count}"] = float(np.mean([check.coverage(LEVEL)[0] for check in checks]))
    return found


def covered(fitted: Fitted, test: Dataset) -> dict[str, float]:
    """Coverage of 90 % predictive intervals of measured test views, from one other view and from all five others."""
    names = list(test.arrays)
    pairs = [(given, [name for name in names if name != given[0]]) for given in ([name] for name in names)]
    return {
        "predicted_1": coverage(fitted, test, pairs),
        "predicted_5": coverage(fitted, test, [([n for n in names if n != name], [name]) for name in names]),
    }


def coverage(fitted: Fitted, test: Dataset, questions: Sequence[tuple[Sequence[str], Collection[str]]]) -> float:
    """The mean, over what is given and what is asked, of the coverage of 90 % intervals."""
    checks = [check for given, ask in questions for check in predictive(fitted, test, given, list(ask)).values()]
    return float(np.mean([check.coverage(LEVEL)[0] for check in checks]))
