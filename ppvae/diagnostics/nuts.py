"""NUTS: long chains of each item's own latents under the trained model, and a posterior beside them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro

from ppvae.data.dataset import Dataset
from ppvae.diagnostics.samples.c2st import c2st
from ppvae.inference import arviz, subset_questions
from ppvae.inference.conditioned_items import ConditionedItems, conditioned
from ppvae.inference.correction.chains import Phase, walk
from ppvae.inference.fitted import Fitted
from ppvae.inference.questions import Question
from ppvae.inference.unconstrained import located, unconstrained
from ppvae.language.batch import Batch

PROPOSED = 256  # draws from the guide that chains are whitened by


@dataclass(frozen=True, eq=False)
class Chains:
    """Draws of each item's own latents from p(z | x_S), by site.

    Attributes:
        draws: site to ``(chains, draws, items, *event)``.
        rhat: site to rank-normalised split R-hat ``(items, *event)``.
        ess: site to bulk effective sample size ``(items, *event)``.
        divergences: how many transitions diverged, ``(items,)``.
        steps: leapfrog steps per transition after warm-up, the mean for each item, ``(items,)``.
    """

    draws: dict[str, np.ndarray]
    rhat: dict[str, np.ndarray]
    ess: dict[str, np.ndarray]
    divergences: np.ndarray
    steps: np.ndarray

    @property
    def converged(self) -> np.ndarray:
        """Is the R-hat of all of an item's latents below 1.01? Booleans ``(items,)``."""
        return np.concatenate([rhat.reshape(len(rhat), -1) for rhat in self.rhat.values()], 1).max(1) < arviz.CONVERGED

    @property
    def share(self) -> float:
        """The share of latents, over all items, whose R-hat is below 1.01."""
        return float(np.mean(np.concatenate([rhat.ravel() for rhat in self.rhat.values()]) < arviz.CONVERGED))


def nuts(
    fitted: Fitted,
    data: Dataset,
    given: Sequence[str] | None = None,
    *,
    chains: int = 4,
    draws: int = 450,
    warmup: int = 150,
    depth: int = 4,
    seed: int = 0,
) -> Chains:
    """Sample p(z | x_given) of every item with NumPyro's NUTS, whichever backend trained the pair.

    Hoffman & Gelman 2014, "The No-U-Turn Sampler", on each item's continuous latents as an unconstrained vector;
    discrete ones are summed out, and what all items share is held at a draw from the guide. All chains of all items are
    one compiled program: each transition takes as long as the largest tree among them, which ``depth`` bounds at
    ``2^depth − 1`` leapfrog steps. An item's chains depend on the item and the seed alone.

    Args:
        fitted: the pair.
        data: the items.
        given: the modalities that count; all by default.
        chains: of each item; they start at draws from the guide, in units of its standard deviations.
        draws: of each chain.
        warmup: transitions before these. The first two thirds adapt each chain's step size and dense mass matrix; the
            second half of these, all chains of the item together, gives the covariance by which the item's vectors are
            whitened; the last third adapts the step sizes to that.
        depth: of the trees, at most.
        seed: of the chains.

    Raises:
        ValueError: a latent is discrete and not enumerated, or ``warmup`` is below 3.
    """
    about = conditioned(fitted, data, given, seed)
    found = walks(about, chains, draws, warmup, depth)
    values = located(about, np.concatenate(found["vectors"], 1))
    values = {name: value.reshape(chains, draws, *value.shape[1:]) for name, value in values.items()}
    return Chains(
        values,
        {name: arviz.rhat(value) for name, value in values.items()},
        {name: arviz.ess(value) for name, value in values.items()},
        found["diverging"].sum((0, 2)),
        found["steps"].mean((0, 2)),
    )


def walks(
    about: ConditionedItems, chains: int = 4, draws: int = 450, warmup: int = 150, depth: int = 4
) -> dict[str, np.ndarray]:
    """What :func:`nuts` draws: ``vectors (chains, items, draws, size)``; without size ``diverging`` and ``steps``."""
    if warmup < 3:
        raise ValueError(f"warmup is {warmup}; each of its three phases takes a transition at the least")
    return about.ask(Question(_sampler(draws, warmup, depth), chains))


@cache
def _sampler(draws: int, warmup: int, depth: int) -> Callable[..., dict[str, Any]]:
    """The question of an item's chains."""
    explored, last = warmup // 3, warmup - 2 * (warmup // 3)
    exploring = Phase(2 * explored, explored, explored, {"dense_mass": True, "max_tree_depth": depth})
    drawing = Phase(last, last, draws, {"adapt_mass_matrix": False, "max_tree_depth": depth})

    def sampled(model: Any, guide: Any, batch: Batch, chains: int) -> dict[str, Any]:
        item = unconstrained(model, guide, batch)
        keys = jax.random.split(numpyro.prng_key(), 3)
        starts = item.draws(keys[0], max(chains, PROPOSED))
        loc, root = starts.mean(0), jnp.diag(jnp.maximum(starts.std(0), 1e-6))
        vectors, _, _ = walk(item.joint, exploring, loc, root, starts[:chains], keys[1])
        loc, root = _moments(vectors.reshape(-1, vectors.shape[-1]), root)
        found = walk(item.joint, drawing, loc, root, vectors[:, -1], keys[2])
        return {n: array[:, None] for n, array in zip(("vectors", "diverging", "steps"), found, strict=True)}

    return sampled


def _moments(vectors: jax.Array, root: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Mean and Cholesky factor of the covariance of vectors ``(n, size)``, shrunk a little as Stan does.

    Five draws' weight goes to a thousandth of the covariance whose factor is ``root`` (Stan reference manual, "HMC
    algorithm parameters").
    """
    n = len(vectors)
    covariance = jnp.cov(vectors.T).reshape(root.shape)
    return vectors.mean(0), jnp.linalg.cholesky((n * covariance + 5e-3 * root @ root.T) / (n + 5))


@dataclass(frozen=True, eq=False)
class NutsComparison:
    """A posterior against NUTS.

    Attributes:
        latents: names of the columns: ``"z[0]"``, ``"z[1]"``, ...
        guide_mean, guide_sd, nuts_mean, nuts_sd: moments ``(items, latents)``.
        wasserstein: the distance W1 between the two marginals, in the latent's own units ``(items, latents)``.
        c2st: how often a classifier tells the two apart, ``(items,)``: 0.5 where it cannot, 1 where it always does.
    """

    latents: tuple[str, ...]
    guide_mean: np.ndarray
    guide_sd: np.ndarray
    nuts_mean: np.ndarray
    nuts_sd: np.ndarray
    wasserstein: np.ndarray
    c2st: np.ndarray

    def rows(self) -> Iterator[dict[str, Any]]:
        """A table: one row for each item and latent."""
        columns = ("guide_mean", "guide_sd", "nuts_mean", "nuts_sd", "wasserstein")
        for item, score in enumerate(self.c2st):
            for k, latent in enumerate(self.latents):
                values = {name: float(getattr(self, name)[item, k]) for name in columns}
                yield {"item": item, "latent": latent, **values, "c2st": float(score)}


def compare_with_nuts(
    fitted: Fitted,
    data: Dataset,
    chains: Chains,
    given: Sequence[str] | None = None,
    seed: int = 0,
    posterior: str = "guide",
) -> NutsComparison:
    """Compare a posterior with the chains of the same items and modalities, on as many draws of each.

    ``guide_mean`` and ``guide_sd`` are those of q(z | x_given), or of the corrected posterior if that is asked for.
    """
    referee = {name: values.reshape(-1, *values.shape[2:]) for name, values in chains.draws.items()}
    count = len(next(iter(referee.values())))
    drawn = fitted.encode(data, given, count, seed, posterior)
    names, p = subset_questions.columns(referee)
    _, q = subset_questions.columns({name: drawn[name] for name in referee})
    distance = np.abs(np.sort(p, 0) - np.sort(q, 0)).mean(0)
    scores = np.array([c2st(p[:, item], q[:, item], seed) for item in range(p.shape[1])])
    return NutsComparison(names, q.mean(0), q.std(0), p.mean(0), p.std(0), distance, scores)
