"""Modality: one kind of measurement, and guessing it from data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import nn

from ppvae.language.guesses import guess_likelihood

LIKELIHOODS = ("normal", "laplace", "bernoulli", "categorical", "poisson", "negative_binomial")
RESERVED = frozenset(dir(nn.ModuleDict()))  # networks are kept by modality in one of these
COUNTS = ("poisson", "negative_binomial")


@dataclass(frozen=True, eq=False)
class Modality:
    """One kind of measurement of an item.

    Attributes:
        name: an identifier; also the name of the site in programs.
        shape: event shape of one measurement, ``(240,)`` or ``(1, 28, 28)``.
        likelihood: one of ``normal``, ``laplace``, ``bernoulli``, ``categorical``, ``poisson``,
            ``negative_binomial``.
        scale: the likelihood's scale in units of ``spread`` (normal, Laplace); learned per element if None.
        levels: number of categories of each element (categorical).
        center, spread: typical value and deviation of each element, ``shape`` or scalar. Networks see
            ``(x - center) / spread`` (of ``log(1 + x)`` for counts), likelihoods speak in the data's own units.
        encoder: ``latent -> network`` from ``(..., *shape)`` to ``(..., 2 * latent)``; None for a stock one.
        decoder: ``latent -> network`` from ``(..., latent)`` to ``(..., *shape)``, or
            ``(..., *shape, levels)`` for a categorical; None for a stock one.
    """

    name: str
    shape: tuple[int, ...]
    likelihood: str = "normal"
    scale: float | None = None
    levels: int | None = None
    center: Any = 0.0
    spread: Any = 1.0
    encoder: Callable[[int], Any] | None = None
    decoder: Callable[[int], Any] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", tuple(int(n) for n in self.shape))
        if not self.name.isidentifier():
            raise ValueError(f"a modality's name must be an identifier, {self.name!r} is not; rename it")
        if self.name in RESERVED:
            raise ValueError(f"a modality cannot be named {self.name!r}, which torch keeps for itself; rename it")
        if self.likelihood not in LIKELIHOODS:
            wrong = f"modality {self.name!r} has unknown likelihood {self.likelihood!r}"
            raise ValueError(f"{wrong}; choose one of {', '.join(LIKELIHOODS)}")
        if self.likelihood == "categorical" and not self.levels:
            raise ValueError(f"modality {self.name!r} is categorical: give levels, the number of its categories")
        if not self.shape or min(self.shape) < 1:
            raise ValueError(f"modality {self.name!r} has shape {self.shape}; a single number has shape (1,)")
        for key in ("scale", "spread"):
            value = getattr(self, key)
            if value is not None and not (np.asarray(value) > 0).all():
                raise ValueError(f"modality {self.name!r} has {key} {value}; it must be above zero")

    def plain(self) -> dict[str, Any]:
        """What JSON can hold of it; center and spread live in the programs' buffers."""
        return {key: getattr(self, key) for key in ("name", "shape", "likelihood", "scale", "levels")}


def guess(name: str, array: np.ndarray, observed: np.ndarray | None = None, like: Modality | None = None) -> Modality:
    """A modality for an array ``(items, *shape)``: zeros and ones are Bernoulli, other counts negative binomial.

    ``like`` fixes everything but center and spread, which are taken from what was observed.
    """
    seen = array if observed is None else _observed_values(array, observed)
    likelihood = like.likelihood if like else guess_likelihood(seen).likelihood
    center, spread = _moments(seen, likelihood)
    base = like or Modality(name, array.shape[1:], likelihood)
    return Modality(**{**base.__dict__, "center": center.astype(np.float32), "spread": spread.astype(np.float32)})


def _observed_values(array: np.ndarray, observed: np.ndarray) -> np.ndarray:
    mask = observed.reshape(observed.shape + (1,) * (array.ndim - observed.ndim))
    return np.where(mask, array, np.nan)


def _moments(array: np.ndarray, likelihood: str) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each element over the items that have it; 0 and 1 where none or no spread."""
    values = np.asarray(array, dtype=np.float64)
    values = np.log1p(values) if likelihood in COUNTS else values
    seen = np.isfinite(values)
    count = np.maximum(seen.sum(0), 1)
    center = np.where(seen, values, 0).sum(0) / count
    deviation = np.sqrt(np.where(seen, (values - center) ** 2, 0).sum(0) / count)
    return center, np.where(deviation > 1e-6 * (1 + np.abs(center)), deviation, 1.0)
