"""Reconstruction: how near the predictions of modalities are to what was measured."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from ppvae.data.dataset import Dataset
from ppvae.inference.fitted import Fitted
from ppvae.inference.points import point
from ppvae.language.batch import over
from ppvae.language.modality import Modality
from ppvae.language.tokens import END
from ppvae.metrics.distances.edit_distance import edit_distance
from ppvae.metrics.distances.mel_distance import loudness_distance
from ppvae.metrics.distances.ssim import SMALLEST, ssim
from ppvae.metrics.predictive_means import predicted
from ppvae.metrics.subsets import anything, shown

Compare = Callable[[np.ndarray, np.ndarray], Any]
MEASURED = ("text", "image", "sound")  # kinds that have a measure of their own


def compared(compare: Compare, data: Dataset, there: np.ndarray, made: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """What ``compare(measured, made)`` says of each modality.

    Args:
        compare: takes the measured values in double precision, NaN in holes, and the predictions of them.
        data: the measurements.
        there: which items were given something, ``(items,)``; nothing of the others counts as measured.
        made: name to predictions.

    Raises:
        ValueError: a prediction is not a number, or the data lack a modality.
    """
    for name, values in made.items():
        if name not in data.arrays:
            raise ValueError(f"the data have no {name!r} to compare with; ask for some of {', '.join(data.arrays)}")
        if np.isnan(values).any():
            raise ValueError(f"predictions of {name!r} are not numbers; train again, with a lower learning rate")
    return {name: compare(_measured(data, name, there), values) for name, values in made.items()}


def _measured(data: Dataset, name: str, there: np.ndarray) -> np.ndarray:
    values = data.holed(name).astype(np.float64)
    return np.where(over(there, values), values, np.nan)


def r2(real: np.ndarray, made: np.ndarray) -> float:
    """Share of the variance of real ``(items, *shape)`` that predictions explain: 1 is best, the items' mean has 0.

    Errors and variance are each summed over elements, in the data's own units, before they are compared: scikit-learn's
    ``variance_weighted``. NaN in ``real`` is left out; the result is NaN where nothing varies.
    """
    seen = ~np.isnan(real)
    mean = np.where(seen, real, 0).sum(0) / np.maximum(seen.sum(0), 1)
    unexplained, total = (float(np.square((real - near)[seen]).sum()) for near in (made, mean))
    return 1 - unexplained / total if total > 0 else np.nan


def likeness(modality: Modality, real: np.ndarray, made: np.ndarray) -> dict[str, np.ndarray]:
    """How alike texts, images or sounds are to the real ones, item by item: measures ``(items,)`` by name.

    Of texts the ``edit_distance`` and the ``exact_match``, 0 or 1, of images the ``ssim``, and of sounds, in decibels
    by band and frame, the ``mel_distance``; of other kinds nothing. What was not measured is NaN.
    """
    if modality.kind == "text":
        edits = edit_distance(real, made, end=END)
        return {"edit_distance": edits, "exact_match": np.where(np.isnan(edits), np.nan, edits == 0)}
    if modality.kind == "image" and min(modality.shape[-2:]) >= SMALLEST:
        seen = real[~np.isnan(real)]
        span = modality.top if np.isfinite(modality.top) else np.ptp(seen) if seen.size else 1.0
        return {"ssim": ssim(real, made, span=float(span) or 1.0)}
    return {"mel_distance": loudness_distance(real, made)} if modality.kind == "sound" else {}


def likenesses(
    fitted: Fitted, data: Dataset, given: Collection[str] | None = None, draws: int = 20, seed: int = 0
) -> dict[str, dict[str, np.ndarray]]:
    """The :func:`likeness` of the prediction of each text, image and sound to what was measured.

    Each is predicted from the ``given`` modalities, by default from all others that the data have, and from itself
    where there is no other. Items that have nothing of these are NaN.
    """
    found: dict[str, dict[str, np.ndarray]] = {}
    for modality in fitted.modalities:
        name = modality.name
        if modality.kind in MEASURED and name in data.arrays and name in fitted.explained:
            others = [each for each in fitted.names if each in data.arrays and each != name] if given is None else given
            found |= reconstruction(fitted, data, others or [name], [name], partial(likeness, modality), draws, seed)
    return found


def reconstruction(
    fitted: Fitted,
    data: Dataset,
    given: Collection[str],
    ask: Sequence[str] | None = None,
    measure: Compare = r2,
    draws: int = 20,
    seed: int = 0,
) -> dict[str, Any]:
    """A measure of the predictions of each asked modality from the given ones, against what was measured.

    A prediction is the mean over draws of the noiseless modality; of a categorical element its likeliest level among
    the draws, of a text the most typical draw. Items that have nothing of what is given, and elements that were not
    measured, do not count.

    Args:
        fitted: the run.
        data: the items.
        given: the modalities to predict from.
        ask: those to predict; all that the model explains by default. One that is given is reconstructed.
        measure: of ``(real, made)``, each ``(items, *shape)``, with NaN in the holes of ``real``: :func:`r2`,
            :func:`~ppvae.metrics.ssim`, :func:`~ppvae.metrics.edit_distance`, :func:`~ppvae.metrics.mel_distance`,
            or one of your own.
        draws: of the latents.
        seed: of the draws.

    >>> import numpy as np
    >>> import ppvae
    >>> from ppvae import metrics
    >>> data = ppvae.datasets.load("mfeat").take(slice(0, 2000, 20))
    >>> vae = ppvae.method("mvae", data.modalities, latent=2, hidden=(8,))
    >>> fitted = ppvae.fit(vae, data, backend="pyro", epochs=1)
    >>> image = lambda pix: pix.reshape(-1, 16, 15)
    >>> likeness = lambda real, made: metrics.ssim(image(real), image(made), span=6.0)
    >>> metrics.reconstruction(fitted, data, ["fou"], ["pix"], likeness)["pix"].shape
    (100,)
    """
    rows = shown(data, [given])
    made = points(fitted, rows, fitted.explained if ask is None else ask, draws, seed)
    return compared(measure, data, anything(rows), made)


def points(fitted: Fitted, data: Dataset, ask: Sequence[str], draws: int, seed: int) -> dict[str, np.ndarray]:
    """The prediction of each asked modality, as of :func:`reconstruction`, from what each item has."""
    drawn = predicted(fitted, data, ask, draws, seed)
    levels = [m.name for m in fitted.modalities if m.name in drawn and m.likelihood == "categorical"]
    if levels:
        drawn |= fitted.query(data, ask=levels, draws=draws, seed=seed)
    return {m.name: point(m, drawn[m.name]) for m in fitted.modalities if m.name in drawn}
