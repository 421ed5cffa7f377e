"""Proposals: mixtures of Student's t that importance samples of an item's posterior are drawn from, and adapted to."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import gammaln

from ppvae.inference.chunks import DRAWS
from ppvae.inference.conditioned_items import ConditionedItems
from ppvae.inference.correction.modes import modes
from ppvae.inference.questions import MANY, Question, in_turn
from ppvae.inference.subset_questions import AT
from ppvae.inference.unconstrained import unconstrained
from ppvae.language.batch import Batch

FREEDOM = 7.0  # degrees of freedom


class Mixture(NamedTuple):
    """A mixture of t distributions for each item, its parts along the second axis.

    Attributes:
        share: the weights of the parts, ``(items, parts)``.
        loc: ``(items, parts, size)``.
        root: lower triangular factors of the scale matrices, ``(items, parts, size, size)``.
    """

    share: np.ndarray
    loc: np.ndarray
    root: np.ndarray


class Particles(NamedTuple):
    """Draws ``vectors (particles, items, size)`` from proposals, and ``log p(x_S, z) − log proposal``."""

    vectors: np.ndarray
    log_weights: np.ndarray


def around_modes(about: ConditionedItems) -> Mixture:
    """A part for each mode, all of one weight."""
    found = about.ask(Question(modes))
    loc, root = (np.moveaxis(found[name].astype(np.float64), 0, 1) for name in ("loc", "root"))
    return Mixture(np.full(loc.shape[:2], 1 / loc.shape[1]), loc, root)


def drawn(
    about: ConditionedItems, mixture: Mixture, particles: int, number: int, rows: np.ndarray
) -> tuple[Particles, np.ndarray]:
    """Particles of the mixture of some of the items, and their log densities in each part, ``(n, rows, parts)``.

    Draws of another ``number`` are independent. They are made here, since XLA draws from all parts to keep one.
    """
    randoms = (np.random.default_rng([number, key, about.seed]) for key in about.keys[rows])
    each = [_sampled(random, Mixture(*parts), particles) for random, *parts in zip(randoms, *mixture, strict=True)]
    vectors = np.stack(each).astype(about.fitted.settings.dtype)
    parts = np.split(vectors, range(DRAWS, particles, DRAWS), axis=1)
    level = np.concatenate([_levels(about, part, rows) for part in parts])
    vectors = np.moveaxis(vectors, 1, 0)
    log_parts = densities(mixture, vectors)
    return Particles(vectors, level - np.logaddexp.reduce(log_parts, -1)), log_parts


def _levels(about: ConditionedItems, vectors: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """``log p(x_S, z)`` of some items at vectors ``(rows, n, size)``: ``(n, rows)``. One question takes ``DRAWS``.

    The question is about all items, so that it is compiled once however few are asked.
    """
    there, asked = np.zeros((len(about), *vectors.shape[1:]), vectors.dtype), np.zeros(len(about))
    there[rows], asked[rows] = vectors, 1.0
    found = about.ask(Question(_log_joint, vectors.shape[1]), {"vectors": there, "asked": asked})
    return found["log_joint"][:, rows].astype(np.float64)


def _sampled(random: np.random.Generator, mixture: Mixture, count: int) -> np.ndarray:
    """So many vectors of one item's mixture, ``(count, size)``: those of a part stand together."""
    share, loc, root = mixture
    counts = random.multinomial(count, share / share.sum())
    far = _far(random, count, loc.shape[-1])
    parts = np.split(far, np.cumsum(counts)[:-1])
    return np.concatenate([center + part @ factor.T for center, factor, part in zip(loc, root, parts, strict=True)])


def _far(random: np.random.Generator, count: int, size: int) -> np.ndarray:
    """Draws of the standard t distribution, ``(count, size)``."""
    return random.standard_normal((count, size)) / np.sqrt(random.chisquare(FREEDOM, (count, 1)) / FREEDOM)


def one_of_each(about: ConditionedItems, mixture: Mixture, number: int) -> np.ndarray:
    """A draw of each part, ``(items, parts, size)``; those of another ``number`` are independent."""
    randoms = (np.random.default_rng([number, key, about.seed]) for key in about.keys)
    far = np.stack([_far(random, *mixture.loc.shape[1:]) for random in randoms])
    return mixture.loc + np.einsum("ikde,ike->ikd", mixture.root, far)


@in_turn(MANY)
def _log_joint(model: Any, guide: Any, batch: Batch, draws: int) -> dict[str, Any]:
    """The question of ``log p(x_S, z)`` at the vectors that stand beside an item; zeros where it is not asked."""
    item, vectors = unconstrained(model, guide, batch), batch.arrays[AT + "vectors"][0]
    shape = jax.eval_shape(jax.vmap(item.joint), vectors)
    asked = batch.arrays[AT + "asked"][0] > 0
    found = jax.lax.cond(asked, jax.vmap(item.joint), lambda _: jnp.zeros(shape.shape, shape.dtype), vectors)
    return {"log_joint": found[:, None]}


def densities(mixture: Mixture, vectors: np.ndarray) -> np.ndarray:
    """Log densities of vectors ``(n, items, size)`` in each part, its weight included: ``(n, items, parts)``."""
    size, (items, parts) = vectors.shape[-1], mixture.share.shape
    inverse = np.linalg.inv(mixture.root)
    center = (inverse @ mixture.loc[..., None]).reshape(items, parts * size)
    each = zip(np.moveaxis(vectors, 1, 0), inverse.reshape(items, parts * size, size), center, strict=True)
    white = (drawn @ factor.T - middle for drawn, factor, middle in each)  # an item at a time, which a cache holds
    far = np.stack([np.square(part).reshape(-1, parts, size).sum(-1) for part in white], 1)
    volume = np.log(np.diagonal(mixture.root, axis1=-2, axis2=-1)).sum(-1) + size / 2 * np.log(np.pi * FREEDOM)
    level = gammaln((FREEDOM + size) / 2) - gammaln(FREEDOM / 2) - volume
    with np.errstate(divide="ignore"):  # of a part that has no weight
        return np.log(mixture.share) + level - (FREEDOM + size) / 2 * np.log1p(far / FREEDOM)


def adapted(mixture: Mixture, particles: Particles, smooth: np.ndarray, log_parts: np.ndarray) -> Mixture:
    """The mixture by weighted particles: each part takes its share of every particle, and the moments of its shares.

    One step of population Monte Carlo (Cappé et al. 2008, "Adaptive importance sampling in general mixture classes").
    Whatever few particles speak for stays near what it was: a part with no more than as many effective particles as
    there are latents goes half the way.

    Args:
        mixture: that was drawn from.
        particles: its draws.
        smooth: their smoothed log weights, ``(particles, items)``, whose exponentials sum to one.
        log_parts: see :func:`drawn`.
    """
    weights = np.nan_to_num(np.exp(smooth))
    own = weights[..., None] * np.exp(log_parts - np.logaddexp.reduce(log_parts, -1, keepdims=True))
    share, trust = own.sum(0), _trust(own, mixture.loc.shape[-1])
    own = own / np.where(share > 0, share, 1.0)
    vectors = particles.vectors.astype(np.float64)
    loc = np.einsum("nik,nid->ikd", own, vectors)
    parts = [_moved(mixture, k, own[..., k], vectors, loc[:, k], trust[:, k]) for k in range(loc.shape[1])]
    whole = _trust(weights[..., None], loc.shape[1])
    moments = (np.stack(part, 1) for part in zip(*parts, strict=True))
    return Mixture(whole * share + (1 - whole) * mixture.share, *moments)


def _trust(weights: np.ndarray, size: int) -> np.ndarray:
    """How far what weights ``(particles, ...)`` say of so many numbers is believed: 1/2 for as many particles."""
    total, squares = weights.sum(0), (weights**2).sum(0)
    amount = np.where(squares > 0, total**2 / np.where(squares > 0, squares, 1.0), 0.0)
    return amount / (amount + size)


def _moved(
    mixture: Mixture, part: int, weights: np.ndarray, vectors: np.ndarray, loc: np.ndarray, trust: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Location and factor of a part, ``(items, ...)``, from weights ``(particles, items)`` that sum to one."""
    before, root = mixture.loc[:, part], mixture.root[:, part]
    trust, centred = trust[:, None], vectors - loc
    covariance = np.einsum("ni,nid,nie->ide", weights, centred, centred, optimize=True)
    shrunk = trust[..., None] * covariance + (1 - trust[..., None]) * root @ np.swapaxes(root, 1, 2)
    return trust * loc + (1 - trust) * before, _factors(shrunk, root)


def _factors(covariances: np.ndarray, before: np.ndarray) -> np.ndarray:
    """Factors of ``(items, size, size)``; an item whose matrix is singular as far as it was computed keeps its own."""
    try:
        return np.linalg.cholesky(covariances)
    except np.linalg.LinAlgError:
        if len(covariances) == 1:
            return before
    alone = zip(covariances[:, None], before[:, None], strict=True)
    return np.concatenate([_factors(*item) for item in alone])
