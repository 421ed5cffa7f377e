"""Multiple Features: handwritten digits in six views."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ppvae.language.modality import Modality


def mfeat(stored: Mapping[str, np.ndarray]) -> tuple[Mapping[str, np.ndarray], list[Modality]]:
    """The arrays of the file, and what they are."""
    return stored, [
        Modality(view, array.shape[1:], "categorical", levels=7) if view == "pix" else Modality(view, array.shape[1:])
        for view, array in stored.items()
    ]
