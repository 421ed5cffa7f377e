"""Subsets: what was measured of the posterior given some modalities, and of what it predicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ppvae.data.dataset import Dataset
from ppvae.diagnostics.active_units import Activity, activity
from ppvae.diagnostics.calibration import Uniform, predictive, sbc
from ppvae.diagnostics.khat import KHat, khat
from ppvae.diagnostics.simulation import Simulation, simulate
from ppvae.inference import subset_questions
from ppvae.inference.fitted import Fitted


@dataclass(frozen=True)
class Effort:
    """How much is drawn.

    Attributes:
        items: at most so many rows, picked at random, and so many simulated items, but of these no more than there are
            rows or 300. With 300 a binomial band of 99 % reaches 4 points to either side of 90 %.
        weighed: of so many of these rows that have something of what is shown importance weights are drawn.
        particles: weights of each of them, 25 or more.
        draws: of each prediction, and of the latents of each simulated item.
        corrected: so many rows, and as many simulated items, of each subset whose guide is suspect are corrected, which
            costs most.
        seed: of rows and draws.
    """

    items: int = 300
    weighed: int = 32
    particles: int = 1000
    draws: int = 49
    corrected: int = 16
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Subset:
    """What was measured of the posterior given some modalities, and of what it predicts.

    Attributes:
        given: the modalities that were shown.
        label: these in words, such as ``all but pix``.
        weighed: those of the rows whose weights were drawn: they have something of what was shown.
        khat: of the weighed rows, with their evidence, ``(1, weighed)``; None where there are none.
        simulation: items that the model made; None as well, and where items have no latents of their own.
        latents: ranks of their true latents; None as well.
        use: what each latent carries of the weighed rows; None as well, and where there are fewer than two.
        predictions: by modality that was not shown, where its values lie in their predictive distribution.
    """

    given: tuple[str, ...]
    label: str
    weighed: np.ndarray
    khat: KHat | None
    simulation: Simulation | None
    latents: Uniform | None
    use: Activity | None
    predictions: Mapping[str, Uniform]


def subset(fitted: Fitted, rows: Dataset, given: tuple[str, ...], effort: Effort) -> Subset:
    """Measure the posterior given some modalities, and what it predicts of the others."""
    names, seed = subset_questions.explained(fitted, rows), effort.seed
    asked = [name for name in names if name not in given]
    seen = np.flatnonzero(subset_questions.showing(rows, given))[: effort.weighed]
    simulated = simulate(fitted, rows, given, effort.items, effort.draws, seed) if len(seen) else None
    made = simulated if simulated is not None and simulated.truth else None  # items may have no latents of their own
    return Subset(
        given,
        label(given, names),
        seen,
        khat(fitted, rows.take(seen), [given], effort.particles, seed) if len(seen) else None,
        made,
        None if made is None else sbc(made, seed),
        activity(fitted, rows.take(seen), given, seed=seed) if made is not None and len(seen) > 1 else None,
        predictive(fitted, rows, given, asked, effort.draws, seed) if asked else {},
    )


def label(given: Sequence[str], names: Sequence[str]) -> str:
    """A subset of the named modalities in words."""
    left = [name for name in names if name not in given]
    if len(given) > 1 and len(left) < 2:
        return f"all but {left[0]}" if left else "everything"
    return ", ".join(given)


def source(subset: Subset, ask: str) -> str:
    """What a modality is predicted from, in words."""
    return "all others" if subset.label == f"all but {ask}" else subset.label
