"""Points: one value that stands for draws of a modality."""

from __future__ import annotations

import numpy as np

from ppvae.language.modality import Modality


def point(modality: Modality, draws: np.ndarray) -> np.ndarray:
    """From ``(draws, items, *shape)`` to ``(items, *shape)``: the mean, a category's mode, or the most typical text."""
    if modality.likelihood == "autoregressive":
        return typical(draws)
    if modality.likelihood != "categorical":
        return draws.mean(0)
    from scipy import stats  # late: it takes longer to load than all of the package

    return stats.mode(draws).mode


def typical(draws: np.ndarray) -> np.ndarray:
    """The draw that agrees with all draws in most places, the first of several: ``(draws, items, n) -> (items, n)``.

    Unlike the modes of single places it was drawn as it stands, and so is a text.
    """
    agreeing = np.stack([(draws == row).sum((0, -1)) for row in draws])
    return np.take_along_axis(draws, agreeing.argmax(0)[None, :, None], 0)[0]
