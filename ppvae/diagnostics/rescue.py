"""Rescue: better draws for the items whose guide fails k-hat, by the cheapest method that passes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as nd
import optax
from jax.scipy.special import logsumexp

from ppvae.data.dataset import Dataset
from ppvae.diagnostics import arviz
from ppvae.diagnostics.khat import THRESHOLD
from ppvae.diagnostics.nuts import CONVERGED, PROPOSED, sample
from ppvae.diagnostics.target import Item, Target
from ppvae.posterior import Fitted

MORE = 10  # times as many particles
ROUNDS, FREEDOM = 4, 5.0  # of resampling, and the degrees of freedom of its proposals
STEPS, PARTICLES, RATE = 300, 16, 0.05  # of the optimisation
LONG = 1000  # draws of each chain


@dataclass(frozen=True, eq=False)
class Rescue:
    """Draws of each item's own latents from p(z | x_S), and how they were obtained.

    Attributes:
        how: ``(items,)``, a key of ``METHODS``: the first that passed, or the one with the lowest k-hat if none did.
        passes: booleans ``(items,)``: k-hat at most 0.7; for NUTS, every R-hat below 1.01.
        khat: ``(items,)``, of the method that was used; NaN for NUTS, which has no weights.
        draws: site to ``(draws, items, *event)``, equally weighted.
    """

    how: np.ndarray
    passes: np.ndarray
    khat: np.ndarray
    draws: dict[str, np.ndarray]

    @property
    def counts(self) -> dict[str, int]:
        """How many items each method served."""
        return dict(Counter(self.how.tolist()))


@dataclass(frozen=True, eq=False)
class Attempt:
    """What one method makes of some items: vectors ``(items, draws, size)``, and of each item k-hat and verdict."""

    vectors: np.ndarray
    khat: np.ndarray
    passes: np.ndarray


def rescue(
    fitted: Fitted,
    data: Dataset,
    given: Sequence[str] | None = None,
    *,
    methods: Sequence[str] | None = None,
    draws: int = 1000,
    seed: int = 0,
) -> Rescue:
    """Try the guide, then one method after another on the items that have not passed yet, in the order of ``METHODS``.

    * ``guide``: importance resampling of ``draws`` particles from q(z | x_S).
    * ``particles``: ten times as many.
    * ``resampling``: the particles, resampled by their smoothed weights, give location and covariance of a
      heavy-tailed proposal, whose particles are resampled in turn: adaptive importance sampling.
    * ``optimisation``: a diagonal Gaussian for each item alone, from the guide's moments, by gradient steps on the
      importance-weighted bound (Burda et al. 2016).
    * ``nuts``: long chains.

    Args:
        fitted: the pair, trained on either backend; the methods run in JAX.
        data: the items.
        given: the names in S, all by default.
        methods: which of these to try; all by default.
        draws: particles of each method, and equally weighted draws to return.
        seed: of all draws; an item's rescue depends on the item and the seed alone.

    Raises:
        ValueError: no method has a name that was given, or a latent is discrete and not enumerated.
    """
    chosen = _chosen(methods)
    target = Target(fitted, data, given)
    vectors = np.zeros((len(data), draws, target.size))
    how, passes, khat = np.full(len(data), chosen[0], "U12"), np.zeros(len(data), bool), np.full(len(data), np.inf)
    for name in chosen:
        rows = np.flatnonzero(~passes)
        if not len(rows):
            break
        attempt = METHODS[name](target, target.take(rows), draws, jax.random.key(seed))
        better = attempt.passes | (attempt.khat < khat[rows]) | (name == chosen[0])
        rows, kept = rows[better], np.flatnonzero(better)
        vectors[rows], khat[rows], passes[rows] = attempt.vectors[kept], attempt.khat[kept], attempt.passes[kept]
        how[rows] = name
    return Rescue(how, passes, khat, target.values(np.moveaxis(vectors, 1, 0)))


def _chosen(methods: Sequence[str] | None) -> list[str]:
    unknown = [name for name in methods or () if name not in METHODS]
    if unknown:
        raise ValueError(f"unknown method {unknown[0]!r}; choose among {', '.join(METHODS)}")
    return [name for name in METHODS if methods is None or name in methods or name == "guide"]


def guide(target: Target, data: Item, draws: int, key: jax.Array, times: int = 1) -> Attempt:
    """Importance resampling of the guide's own particles."""
    return _resampled(*_particles(target, data, draws * times, key), draws, data)


def _particles(target: Target, data: Item, draws: int, key: jax.Array) -> tuple[np.ndarray, np.ndarray]:
    """Draws from the guide ``(items, draws, size)`` and their log weights ``(items, draws)``."""

    def one(weights: Any, item: Item) -> tuple[jax.Array, jax.Array]:
        vectors = target.propose(jax.random.fold_in(key, item.key), draws, weights, item)
        ratio = lambda vector: target.log_density(vector, weights, item) - target.log_guide(vector, weights, item)  # noqa: E731
        return vectors, jax.vmap(ratio)(vectors)

    return target.each(one, draws, data)


def _resampled(vectors: np.ndarray, log_weights: np.ndarray, draws: int, data: Item) -> Attempt:
    """Draws by the smoothed weights; where these are not numbers, the particles as they come."""
    smooth, khat = arviz.psis(log_weights.T)
    picked = np.empty((len(vectors), draws, vectors.shape[-1]))
    for i, (row, each, key) in enumerate(zip(vectors, smooth.T, np.asarray(data.key), strict=True)):
        weights = np.exp(each) if np.isfinite(each).any() else np.ones(len(row))
        picked[i] = np.random.default_rng(key).choice(row, draws, p=weights / weights.sum())
    return Attempt(picked, khat, khat <= THRESHOLD)


def resampling(target: Target, data: Item, draws: int, key: jax.Array) -> Attempt:
    """Adaptive importance sampling: each round's proposal has the weighted moments of the round before."""

    def one(weights: Any, item: Item, loc: jax.Array, root: jax.Array, number: jax.Array) -> Any:
        proposal = nd.MultivariateStudentT(FREEDOM, loc, root)
        vectors = proposal.sample(jax.random.fold_in(jax.random.fold_in(key, item.key), number), (draws,))
        density = jax.vmap(target.log_density, (0, None, None))(vectors, weights, item)
        return vectors, density - proposal.log_prob(vectors)

    vectors, log_weights = _particles(target, data, draws, key)
    for number in range(1, ROUNDS + 1):
        moments = [_moments(row, each) for row, each in zip(vectors, arviz.psis(log_weights.T)[0].T, strict=True)]
        loc, root = (np.stack(part).astype(vectors.dtype) for part in zip(*moments, strict=True))
        vectors, log_weights = target.each(one, draws, data, loc, root, np.full(len(loc), number))
    return _resampled(vectors, log_weights, draws, data)


def _moments(vectors: np.ndarray, log_weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weighted mean ``(size,)`` and Cholesky factor of the covariance.

    The covariance is shrunk towards the unweighted one, the more the fewer particles the weights amount to.
    """
    weights = np.exp(log_weights) if np.isfinite(log_weights).any() else np.full(len(vectors), 1 / len(vectors))
    size, amount = vectors.shape[-1], 1 / (weights**2).sum()
    centred = vectors - (loc := weights @ vectors)
    spread, trust = np.cov(vectors.T).reshape(size, size), amount / (amount + size)
    covariance = trust * (centred.T * weights) @ centred + (1 - trust) * spread
    return loc, np.linalg.cholesky(covariance + 1e-6 * np.diag(np.diag(spread)))


def optimisation(target: Target, data: Item, draws: int, key: jax.Array) -> Attempt:
    """A diagonal Gaussian for each item, optimised for it alone."""
    vectors, log_weights = target.each(partial(_optimised, target, draws, key), draws, data)
    return _resampled(vectors, log_weights, draws, data)


def _optimised(target: Target, draws: int, key: jax.Array, weights: Any, item: Item) -> tuple[jax.Array, jax.Array]:
    """Particles of the item's own Gaussian ``(draws, size)`` and their log weights."""
    first, second, third = jax.random.split(jax.random.fold_in(key, item.key), 3)
    proposed = target.propose(first, PROPOSED, weights, item)
    center, unit = proposed.mean(0), jnp.maximum(proposed.std(0), 1e-6)

    def particles(gaussian: tuple[jax.Array, jax.Array], key: jax.Array, count: int) -> Any:
        own = nd.Normal(center + unit * gaussian[0], unit * jnp.exp(gaussian[1])).to_event(1)
        vectors = own.sample(key, (count,))
        return vectors, jax.vmap(target.log_density, (0, None, None))(vectors, weights, item) - own.log_prob(vectors)

    def step(state: Any, key: jax.Array) -> Any:
        gaussian, moments = state
        gradient = jax.grad(lambda g: -logsumexp(particles(g, key, PARTICLES)[1]))(gaussian)
        updates, moments = adam.update(gradient, moments)
        return (optax.apply_updates(gaussian, updates), moments), None

    adam = optax.adam(optax.cosine_decay_schedule(RATE, STEPS))
    start = jnp.zeros_like(center), jnp.zeros_like(center)
    (gaussian, _), _ = jax.lax.scan(step, (start, adam.init(start)), jax.random.split(second, STEPS))
    return particles(gaussian, third, draws)


def chains(target: Target, data: Item, draws: int, key: jax.Array) -> Attempt:
    """NUTS: what its chains draw, thinned evenly or repeated to the number wanted."""
    vectors, _, _ = sample(target, data, key, draws=LONG)
    rhat = arviz.rhat(np.moveaxis(vectors, 0, 2))
    merged = vectors.reshape(len(vectors), -1, vectors.shape[-1])
    every = np.linspace(0, merged.shape[1] - 1, draws).round().astype(int)
    return Attempt(merged[:, every], np.full(len(merged), np.nan), rhat.max(-1) < CONVERGED)


METHODS: dict[str, Callable[[Target, Item, int, jax.Array], Attempt]] = {
    "guide": guide,
    "particles": partial(guide, times=MORE),
    "resampling": resampling,
    "optimisation": optimisation,
    "nuts": chains,
}
