"""The ladder: an item's posterior by the guide where that passes k-hat, else by a proposal of the item's own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
import numpyro

from ppvae.inference.arviz import psis
from ppvae.inference.chunks import ROWS
from ppvae.inference.conditioned_items import ConditionedItems
from ppvae.inference.correction import proposals
from ppvae.inference.correction.proposals import Mixture, Particles
from ppvae.inference.correction.served import Served
from ppvae.inference.questions import MANY, Question, in_turn
from ppvae.inference.unconstrained import unconstrained
from ppvae.language.batch import Batch

PARTICLES = 1000  # that draws are resampled from
ROUNDS = 3  # of adaptation, at most
ENOUGH = 0.25  # of its particles effective: the proposal of such an item is adapted for the last time


@dataclass(frozen=True, eq=False)
class Weighed:
    """Weighted particles of some items.

    Attributes:
        about: the items.
        vectors: ``(particles, items, size)``, unconstrained.
        log_weights: ``log p(x_S, z) − log proposal``, ``(particles, items)``, in nats.
        smooth: the same, Pareto smoothed and normalised.
        served: how the items were served.
    """

    about: ConditionedItems
    vectors: np.ndarray
    log_weights: np.ndarray
    smooth: np.ndarray
    served: Served

    def resampled(self, draws: int) -> np.ndarray:
        """Equally weighted vectors ``(items, draws, size)``, by systematic resampling, in random order.

        Where weights are no numbers, the particles count alike. A particle may stand there several times.
        """
        found = []
        for key, smooth, vectors in zip(self.about.keys, self.smooth.T, np.moveaxis(self.vectors, 1, 0), strict=True):
            random = np.random.default_rng([key, self.about.seed])
            weights = np.exp(smooth) if np.isfinite(smooth).any() else np.ones(len(smooth))
            places = (random.random() + np.arange(draws)) / draws * weights.sum()
            picked = np.searchsorted(np.cumsum(weights)[:-1], places, side="right")
            found.append(vectors[random.permutation(picked)])
        return np.stack(found)

    def take(self, rows: np.ndarray) -> Weighed:
        """The same of some of the items."""
        served = Served(self.served.stage[rows], self.served.khat[rows])
        vectors, log_weights, smooth = (a[:, rows] for a in (self.vectors, self.log_weights, self.smooth))
        return Weighed(self.about.take(rows), vectors, log_weights, smooth, served)

    def put(self, rows: np.ndarray, other: Weighed, theirs: np.ndarray) -> None:
        """Take for the items ``rows`` what another has of ``theirs``."""
        for name in ("vectors", "log_weights", "smooth"):
            getattr(self, name)[:, rows] = getattr(other, name)[:, theirs]
        self.served.stage[rows], self.served.khat[rows] = other.served.stage[theirs], other.served.khat[theirs]


def weighed(about: ConditionedItems, posterior: str, particles: int, draws: int = 1) -> Iterator[Weighed]:
    """The particles of some items at a time; see :func:`blocks`.

    Raises:
        ValueError: there are fewer than 25 particles, or a latent is discrete and not enumerated.
    """
    for some in blocks(about, max(particles, draws)):
        yield served(some, posterior, particles)


def blocks(about: ConditionedItems, draws: int) -> Iterator[ConditionedItems]:
    """Some items at a time, so few that so many draws of each can be held.

    All have one number of items, so that a program is compiled once; the last repeats some of its own.
    """
    most = max(1, ROWS // max(draws, PARTICLES))
    size = 1 << (min(most, _power(len(about))).bit_length() - 1)
    for start in range(0, len(about), size):
        rows = np.arange(start, min(start + size, len(about)))
        yield about.take(np.resize(rows, size))


def _power(count: int) -> int:
    """The lowest power of two that is not less."""
    return 1 << (count - 1).bit_length()


def served(about: ConditionedItems, posterior: str, particles: int) -> Weighed:
    """The particles of some items: corrected, or by the guide where ``posterior`` is not ``"corrected"``.

    With ``"auto"`` those whose k-hat is above 0.7 are corrected if that makes it less.
    """
    if posterior == "corrected":
        return corrected(about, particles)
    found = from_guide(about, particles)
    rows = np.flatnonzero(~found.served.passes)
    if len(rows):
        other = corrected(about.take(rows), particles)
        better = np.flatnonzero(other.served.khat < found.served.khat[rows])
        found.put(rows[better], other, better)
    return found


def from_guide(about: ConditionedItems, particles: int) -> Weighed:
    """Particles of the guide."""
    found = about.ask(Question(_proposed, particles))
    return _judged(about, Particles(found["vectors"], found["log_weights"].astype(np.float64)), "guide")


@in_turn(MANY)
def _proposed(model: Any, guide: Any, batch: Batch, draws: int) -> dict[str, Any]:
    """The question of an item's draws from the guide, with their log weights."""
    item = unconstrained(model, guide, batch)
    vectors = item.draws(numpyro.prng_key(), draws)
    log_weights = jax.vmap(lambda vector: item.joint(vector) - item.proposal(vector))(vectors)
    return {"vectors": vectors[:, None], "log_weights": log_weights[:, None]}


def corrected(about: ConditionedItems, particles: int) -> Weighed:
    """Particles of a mixture of t distributions: around the item's modes, then with moments by their weights.

    The number of items is padded to a power of two, so that few programs are compiled.
    """
    padded = about.take(np.resize(np.arange(len(about)), _power(len(about))))
    mixture = adapted(padded, proposals.around_modes(padded), particles)
    found, _ = proposals.drawn(padded, mixture, particles, ROUNDS, np.arange(len(padded)))
    return _judged(padded, found, "corrected").take(np.arange(len(about)))


def adapted(about: ConditionedItems, mixture: Mixture, particles: int) -> Mixture:
    """The proposals by their own draws, of each item until enough of those are effective, whatever others need."""
    rows, mixture = np.arange(len(about)), Mixture(*(part.copy() for part in mixture))
    for number in range(ROUNDS):
        some = Mixture(*(part[rows] for part in mixture))
        found, log_parts = proposals.drawn(about, some, particles, number, rows)
        smooth, _ = psis(found.log_weights)
        for part, new in zip(mixture, proposals.adapted(some, found, smooth, log_parts), strict=True):
            part[rows] = new
        rows = rows[1 / np.square(np.exp(smooth)).sum(0) < ENOUGH * particles]
        if not len(rows):
            break
    return mixture


def _judged(about: ConditionedItems, found: Particles, stage: str) -> Weighed:
    smooth, khat = psis(found.log_weights)
    return Weighed(about, *found, smooth, Served(np.full(len(about), stage, object), khat))
