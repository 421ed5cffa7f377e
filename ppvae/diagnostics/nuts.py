"""NUTS: long chains of each item's own latents under the trained model, the referee of its guide."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpyro.infer.hmc import hmc

from ppvae.data.dataset import Dataset
from ppvae.diagnostics import arviz
from ppvae.diagnostics.target import Item, Target
from ppvae.posterior import Fitted

PROPOSED = 256  # draws from the guide that chains are whitened by
CONVERGED = 1.01  # the largest R-hat (Vehtari et al. 2021, "Rank-normalization, folding, and localization")


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
        return np.concatenate([rhat.reshape(len(rhat), -1) for rhat in self.rhat.values()], 1).max(1) < CONVERGED

    @property
    def share(self) -> float:
        """The share of latents, over all items, whose R-hat is below 1.01."""
        return float(np.mean(np.concatenate([rhat.ravel() for rhat in self.rhat.values()]) < CONVERGED))


def nuts(fitted: Fitted, data: Dataset, given: Sequence[str] | None = None, *, seed: int = 0, **options: int) -> Chains:
    """Sample p(z | x_given) of every item, whichever backend trained the pair; options are those of :func:`sample`.

    Raises:
        ValueError: a latent is discrete and not enumerated.
    """
    target = Target(fitted, data, given)
    vectors, diverging, steps = sample(target, target.data, jax.random.key(seed), **options)
    values = target.values(np.moveaxis(vectors, 0, 2))
    return Chains(
        values,
        {name: arviz.rhat(value) for name, value in values.items()},
        {name: arviz.ess(value) for name, value in values.items()},
        diverging.sum((1, 2)),
        steps.mean((1, 2)),
    )


def sample(
    target: Target, data: Item, key: jax.Array, *, chains: int = 4, draws: int = 450, warmup: int = 200, depth: int = 4
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """NumPyro's NUTS (Hoffman & Gelman 2014, "The No-U-Turn Sampler") on the vectors of every item.

    All chains of all items are one compiled program: each transition takes as long as the largest tree among them, so
    ``depth`` bounds the trees at ``2^depth − 1`` leapfrog steps. Chains start at draws from the guide, in units of its
    standard deviations; step sizes and dense mass matrices adapt to each chain during ``warmup``. An item's chains
    depend on the item and the key alone.

    Returns:
        Vectors ``(items, chains, draws, size)``, and of each transition whether it diverged and its leapfrog steps,
        ``(items, chains, draws)``.
    """
    one = partial(_chains, target, chains, draws, warmup, depth, key)
    return target.each(one, 1, data)


def _chains(
    target: Target, chains: int, draws: int, warmup: int, depth: int, key: jax.Array, weights: Any, item: Item
) -> tuple[jax.Array, ...]:
    """Vectors ``(chains, draws, size)``, divergences and leapfrog steps ``(chains, draws)`` of one item."""
    first, second = jax.random.split(jax.random.fold_in(key, item.key))
    proposal = target.propose(first, max(chains, PROPOSED), weights, item)
    loc, scale = proposal.mean(0), jnp.maximum(proposal.std(0), 1e-6)

    def chain(key: jax.Array, start: jax.Array) -> Any:
        init, step = hmc(lambda u: -target.log_density(loc + scale * u, weights, item), algo="NUTS")
        state = init(start, warmup, dense_mass=True, max_tree_depth=depth, rng_key=key)
        state = jax.lax.fori_loop(0, warmup, lambda i, state: step(state), state)

        def collect(state: Any, _: Any) -> Any:
            state = step(state)
            return state, (state.z, state.diverging, state.num_steps)

        return jax.lax.scan(collect, state, length=draws)[1]

    vectors, diverging, steps = jax.vmap(chain)(jax.random.split(second, chains), (proposal[:chains] - loc) / scale)
    return loc + scale * vectors, diverging, steps
