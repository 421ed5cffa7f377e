"""Fréchet distance: how far made items are from real ones, as sets."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


def frechet(real: np.ndarray, made: np.ndarray, features: Callable[[np.ndarray], np.ndarray] | None = None) -> float:
    """The squared Fréchet distance between Gaussians fitted to the features of real and of made items.

    ``|m_1 − m_2|² + tr(C_1 + C_2 − 2 (C_1 C_2)^½)`` (Dowson and Landau 1982): with features of an Inception network the
    FID of Heusel et al. (2017). The trace of the root is a sum of singular values, so singular covariances do no harm.
    Estimates are too large, and the more so the fewer items: compare only distances from equal numbers of them.

    Args:
        real, made: ``(items, *shape)``; items with a hole, NaN, are left out.
        features: from items ``(items, *shape)`` to ``(items, features)``; the flattened values by default.

    Raises:
        ValueError: fewer than two whole items, or different numbers of features.
    """
    (mean, root), (other_mean, other_root) = (_moments(items, features) for items in (real, made))
    if mean.shape != other_mean.shape:
        raise ValueError(f"real items have {len(mean)} features, made ones {len(other_mean)}; give both the same")
    overlap = np.linalg.svd(root @ other_root.T, compute_uv=False).sum()
    spread = np.square(root).sum() + np.square(other_root).sum() - 2 * overlap
    return float(np.square(mean - other_mean).sum() + max(spread, 0.0))


def _moments(items: np.ndarray, features: Callable[[np.ndarray], np.ndarray] | None) -> tuple[np.ndarray, np.ndarray]:
    """The mean of the features, and a root R of their covariance, ``RᵀR``."""
    whole = items[~np.isnan(items).reshape(len(items), -1).any(1)]
    if len(whole) < 2:
        raise ValueError(f"{len(whole)} of {len(items)} items have no hole; a covariance needs at least two")
    found = np.asarray(features(whole) if features else whole, np.float64).reshape(len(whole), -1)
    mean = found.mean(0)
    return mean, np.linalg.qr(found - mean, mode="r") / np.sqrt(len(found) - 1)
