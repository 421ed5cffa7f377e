"""Rescue: better draws for the items whose guide fails k-hat, by the cheapest method that passes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as nd
import optax
from jax.scipy.special import logsumexp

from ppvae.data.dataset import Dataset
from ppvae.diagnostics.khat import THRESHOLD
from ppvae.diagnostics.nuts import CONVERGED, walks
from ppvae.inference import arviz, subset_questions
from ppvae.inference.conditioned_items import ConditionedItems, conditioned
from ppvae.inference.fitted import Fitted
from ppvae.inference.questions import Question
from ppvae.inference.subset_questions import AT
from ppvae.inference.unconstrained import Unconstrained, located, unconstrained
from ppvae.language.batch import Batch

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


class Attempt(NamedTuple):
    """What one method makes of some items: vectors ``(draws, items, size)``, and of each item k-hat and verdict."""

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

    k-hat judges the tail of the weights that were drawn: it is blind to a mode that no particle has reached. Where
    posteriors may have several, compare with :func:`ppvae.diagnostics.nuts.nuts`, which may miss one too.

    Args:
        fitted: the pair, trained on either backend; the methods run in JAX.
        data: the items.
        given: the names in S, all by default.
        methods: which of these to try after the guide, which always comes first; all by default.
        draws: particles of each method, and equally weighted draws to return, 1,000 at most.
        seed: of all draws; an item's rescue depends on the item and the seed alone.

    Raises:
        ValueError: no method has a name that was given, more than 1,000 draws were asked for, or a latent is discrete
            and not enumerated.
    """
    chosen, count = _chosen(methods), subset_questions.checked_draws(draws)
    about = conditioned(fitted, data, given, seed)
    how, passes, khat = np.full(len(data), chosen[0], object), np.zeros(len(data), bool), np.full(len(data), np.inf)
    vectors: Any = None
    for name in chosen:
        rows = np.flatnonzero(~passes)
        if not len(rows):
            break
        attempt = METHODS[name](about.take(rows), count)
        vectors = np.empty((count, len(data), attempt.vectors.shape[-1])) if vectors is None else vectors
        better = attempt.passes | (attempt.khat < khat[rows]) | (name == chosen[0])
        rows, kept = rows[better], np.flatnonzero(better)
        vectors[:, rows], khat[rows], passes[rows] = attempt.vectors[:, kept], attempt.khat[kept], attempt.passes[kept]
        how[rows] = name
    return Rescue(how, passes, khat, located(about, np.moveaxis(vectors, 0, 1)))


def _chosen(methods: Sequence[str] | None) -> list[str]:
    unknown = [name for name in methods or () if name not in METHODS]
    if unknown:
        raise ValueError(f"unknown method {unknown[0]!r}; choose among {', '.join(METHODS)}")
    return [name for name in METHODS if methods is None or name in methods or name == "guide"]


def from_guide(about: ConditionedItems, draws: int, times: int = 1) -> Attempt:
    """Importance resampling of the guide's own particles."""
    return _resampled(about.ask(Question(_particles, draws * times)), about, draws)


def _particles(model: Any, guide: Any, batch: Batch, draws: int) -> dict[str, Any]:
    """The question of an item's draws from the guide, with their log weights."""
    item = unconstrained(model, guide, batch)
    return _weighed(item, item.draws(numpyro.prng_key(), draws), item.proposal)


def _weighed(item: Unconstrained, vectors: jax.Array, proposal: Callable[[jax.Array], jax.Array]) -> dict[str, Any]:
    """Vectors ``(draws, 1, size)`` of an item and their log weights ``(draws, 1)`` under a proposal's log density."""
    log_weights = jax.vmap(lambda vector: item.joint(vector) - proposal(vector))(vectors)
    return {"vectors": vectors[:, None], "log_weights": log_weights[:, None]}


def _resampled(found: dict[str, np.ndarray], about: ConditionedItems, draws: int) -> Attempt:
    """Draws by the smoothed weights; where these are not numbers, the particles as they come."""
    smooth, khat = arviz.psis(found["log_weights"])
    picked = []
    for each, key in zip(smooth.T, about.keys, strict=True):
        weights = np.exp(each) if np.isfinite(each).any() else np.ones(len(each))
        picked.append(np.random.default_rng(key).choice(len(each), draws, p=weights / weights.sum()))
    return Attempt(np.take_along_axis(found["vectors"], np.stack(picked, 1)[..., None], 0), khat, khat <= THRESHOLD)


def resampling(about: ConditionedItems, draws: int) -> Attempt:
    """Adaptive importance sampling: each round's proposal has the weighted moments of the round before."""
    found = about.ask(Question(_particles, draws))
    for number in range(1, ROUNDS + 1):
        smooth, _ = arviz.psis(found["log_weights"])
        moments = [_moments(*each) for each in zip(np.moveaxis(found["vectors"], 1, 0), smooth.T, strict=True)]
        loc, root = (np.stack(part) for part in zip(*moments, strict=True))
        at = {"loc": loc, "root": root, "round": np.full(len(loc), number)}
        found = about.ask(Question(_adapted, draws), at)
    return _resampled(found, about, draws)


def _adapted(model: Any, guide: Any, batch: Batch, draws: int) -> dict[str, Any]:
    """The question of an item's draws from a heavy-tailed proposal that stands beside the data."""
    loc, root, number = (batch.arrays[AT + name][0] for name in ("loc", "root", "round"))
    proposal = nd.MultivariateStudentT(FREEDOM, loc, root)
    key = jax.random.fold_in(numpyro.prng_key(), number.astype(jnp.uint32))
    return _weighed(unconstrained(model, guide, batch), proposal.sample(key, (draws,)), proposal.log_prob)


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


def optimisation(about: ConditionedItems, draws: int) -> Attempt:
    """A diagonal Gaussian for each item, optimised for it alone."""
    return _resampled(about.ask(Question(_optimised, draws)), about, draws)


def _optimised(model: Any, guide: Any, batch: Batch, draws: int) -> dict[str, Any]:
    """The question of an item's draws from its own Gaussian."""
    item = unconstrained(model, guide, batch)
    first, second, third = jax.random.split(numpyro.prng_key(), 3)
    center, unit = item.spread(first)

    def own(gaussian: tuple[jax.Array, jax.Array]) -> Any:
        return nd.Normal(center + unit * gaussian[0], unit * jnp.exp(gaussian[1])).to_event(1)

    def loss(gaussian: tuple[jax.Array, jax.Array], key: jax.Array) -> jax.Array:
        vectors = own(gaussian).sample(key, (PARTICLES,))
        return -logsumexp(_weighed(item, vectors, own(gaussian).log_prob)["log_weights"])

    def step(state: Any, key: jax.Array) -> Any:
        gaussian, moments = state
        updates, moments = adam.update(jax.grad(loss)(gaussian, key), moments)
        return (optax.apply_updates(gaussian, updates), moments), None

    adam = optax.adam(optax.cosine_decay_schedule(RATE, STEPS))
    start = jnp.zeros_like(center), jnp.zeros_like(center)
    (gaussian, _), _ = jax.lax.scan(step, (start, adam.init(start)), jax.random.split(second, STEPS))
    return _weighed(item, own(gaussian).sample(third, (draws,)), own(gaussian).log_prob)


def from_nuts(about: ConditionedItems, draws: int) -> Attempt:
    """NUTS: what its chains draw, thinned evenly or repeated to the number wanted."""
    vectors = walks(about, draws=LONG)["vectors"]
    rhat = arviz.rhat(np.moveaxis(vectors, 1, 2))
    merged = np.concatenate(vectors, 1)
    every = np.linspace(0, merged.shape[1] - 1, draws).round().astype(int)
    return Attempt(np.moveaxis(merged[:, every], 1, 0), np.full(len(merged), np.nan), rhat.max(-1) < CONVERGED)


METHODS: dict[str, Callable[..., Attempt]] = {
    "guide": from_guide,
    "particles": partial(from_guide, times=MORE),
    "resampling": resampling,
    "optimisation": optimisation,
    "nuts": from_nuts,
}
