"""Linear-Gaussian: data whose evidence and posterior have a closed form, for every subset and every hole."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from scipy import stats

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class LinearGaussian:
    """``z ~ N(0, I)``, ``x_m = W_m z + b_m + s_m * noise``; elements that are not measured are NaN.

    What a method estimates of such data can be compared with what is so.

    Attributes:
        weights: ``(elements, latent)`` by modality.
        biases, scales: ``(elements,)`` by modality; scales are standard deviations.

    >>> truth = linear_gaussian({"a": 3, "b": 2}, latent=1)
    >>> rows = truth.draw(4, seed=0)
    >>> truth.evidence({"a": rows["a"]}).shape
    (4,)
    """

    weights: Arrays
    biases: Arrays
    scales: Arrays

    @property
    def names(self) -> list[str]:
        """The modalities."""
        return list(self.weights)

    @property
    def latent(self) -> int:
        """How many latents an item has."""
        return next(iter(self.weights.values())).shape[1]

    def draw(self, items: int, seed: int) -> Arrays:
        """New items, ``(items, elements)`` by modality."""
        rng = np.random.default_rng(seed)
        z = rng.normal(size=(items, self.latent))
        return {
            name: z @ self.weights[name].T
            + self.biases[name]
            + self.scales[name] * rng.normal(size=(items, len(self.biases[name])))
            for name in self.names
        }

    def evidence(self, values: Mapping[str, np.ndarray]) -> np.ndarray:
        """log p(x) of what each item has, ``(items,)``, in nats."""
        return np.array([self._row_evidence(*row) for row in self._rows(values)])

    def posterior(self, values: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Mean ``(items, latent)`` and covariance ``(items, latent, latent)`` of z given what each item has."""
        moments = [self._row_posterior(*row) for row in self._rows(values)]
        return np.stack([mean for mean, _ in moments]), np.stack([cov for _, cov in moments])

    def predictive(self, name: str, values: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Mean ``(items, elements)`` and covariance of a new measurement of a modality given what each item has."""
        mean, cov = self.posterior(values)
        weight = self.weights[name]
        return mean @ weight.T + self.biases[name], weight @ cov @ weight.T + np.diag(self.scales[name] ** 2)

    def elbo(self, values: Mapping[str, np.ndarray], loc: np.ndarray, scale: np.ndarray) -> np.ndarray:
        """``E_q log p(x | z) − KL(q ‖ p)`` of each item for ``q = N(loc, diag(scale²))``, ``(items,)``."""
        found = []
        for (x, weight, bias, noise), m, s in zip(self._rows(values), loc, scale, strict=True):
            spread = (weight**2 @ s**2) / noise**2
            fit = stats.norm.logpdf(x, weight @ m + bias, noise).sum() - 0.5 * spread.sum()
            found.append(fit - 0.5 * (s**2 + m**2 - 1 - 2 * np.log(s)).sum())
        return np.array(found)

    def _rows(self, values: Mapping[str, np.ndarray]) -> Iterator[tuple[np.ndarray, ...]]:
        """What each item has: values, weights, biases and scales of its measured elements."""
        names = [name for name in self.names if name in values]
        empty = np.zeros(0)
        weight = np.concatenate([np.zeros((0, self.latent)), *(self.weights[name] for name in names)])
        bias = np.concatenate([empty, *(self.biases[name] for name in names)])
        scale = np.concatenate([empty, *(self.scales[name] for name in names)])
        items = len(next(iter(values.values())))
        for row in np.concatenate([np.zeros((items, 0)), *(values[name] for name in names)], 1):
            seen = ~np.isnan(row)
            yield row[seen], weight[seen], bias[seen], scale[seen]

    def _row_evidence(self, x: np.ndarray, weight: np.ndarray, bias: np.ndarray, scale: np.ndarray) -> float:
        cov = weight @ weight.T + np.diag(scale**2)
        return float(stats.multivariate_normal.logpdf(x, bias, cov)) if len(x) else 0.0

    def _row_posterior(
        self, x: np.ndarray, weight: np.ndarray, bias: np.ndarray, scale: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        scaled = weight / scale[:, None] ** 2
        cov = np.linalg.inv(np.eye(self.latent) + weight.T @ scaled)
        return cov @ scaled.T @ (x - bias), cov


def linear_gaussian(sizes: Mapping[str, int], latent: int = 2, seed: int = 0) -> LinearGaussian:
    """Modalities of so many elements, their weights and biases standard normal, their scales from 0.5 to 1.2."""
    rng = np.random.default_rng(seed)
    return LinearGaussian(
        {name: rng.normal(size=(size, latent)) for name, size in sizes.items()},
        {name: rng.normal(size=size) for name, size in sizes.items()},
        {name: rng.uniform(0.5, 1.2, size) for name, size in sizes.items()},
    )
