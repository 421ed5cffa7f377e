"""Reconstruction: how near the predictions of modalities are to what was measured."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np

from ppvae.data.dataset import Dataset
from ppvae.inference.fitted import Fitted
from ppvae.inference.points import point
from ppvae.language.batch import over
from ppvae.metrics.predictive_means import predicted
from ppvae.metrics.subsets import anything, shown

Compare = Callable[[np.ndarray, np.ndarray], Any]


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
    names = fitted.explained if ask is None else ask
    drawn = predicted(fitted, rows, names, draws, seed)
    levels = [m.name for m in fitted.modalities if m.name in drawn and m.likelihood == "categorical"]
    if levels:
        drawn |= fitted.query(rows, ask=levels, draws=draws, seed=seed)
    made = {m.name: point(m, drawn[m.name]) for m in fitted.modalities if m.name in drawn}
    return compared(measure, data, anything(rows), made)
