"""Chains: many short runs of NUTS from all parts of an item's proposal, whitened by the part that holds most."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
from numpyro.infer.hmc import hmc

from ppvae.inference.conditioned_items import ConditionedItems
from ppvae.inference.correction import ladder, proposals
from ppvae.inference.questions import Question, in_turn
from ppvae.inference.subset_questions import AT
from ppvae.inference.unconstrained import unconstrained
from ppvae.language.batch import Batch

FROM_EACH = 5  # chains from each start
WARMUP, DRAWS = 100, 200  # transitions of each chain
DEPTH = 5  # of the trees, at most


class Phase(NamedTuple):
    """How many transitions adapt the kernel, how many are skipped, how many are kept; and options of NumPyro's HMC."""

    adapting: int
    skipped: int
    draws: int
    options: dict[str, Any]


SHORT = Phase(WARMUP, WARMUP, DRAWS, {"adapt_mass_matrix": False, "max_tree_depth": DEPTH})


def superchains(about: ConditionedItems) -> np.ndarray:
    """Vectors ``(items, starts, chains, draws, size)`` of chains that leave from one start together.

    A start is a draw of a part of the adapted proposal, one of each, so that a mode of which few particles speak has
    chains as well: unless they find the others, superchains disagree, and the item does not pass. Draws have the
    coordinates ``u`` of ``loc + root u``, by the part of the largest weight: its covariance is that of the posterior,
    so that the kernel's step is all there is to adapt.
    """
    parts = [_superchains(some) for some in ladder.blocks(about, FROM_EACH * DRAWS)]
    return np.concatenate(parts)[: len(about)]


def _superchains(about: ConditionedItems) -> np.ndarray:
    mixture = ladder.adapted(about, proposals.around_modes(about), ladder.PARTICLES)
    items, largest = np.arange(len(about)), mixture.share.argmax(1)
    starts = proposals.one_of_each(about, mixture, ladder.ROUNDS + 1)
    at = {"starts": starts, "loc": mixture.loc[items, largest], "root": mixture.root[items, largest]}
    vectors = about.ask(Question(_short), at)["vectors"]
    return np.moveaxis(vectors, 1, 0).reshape(len(about), -1, FROM_EACH, *vectors.shape[2:])


@in_turn(1)
def _short(model: Any, guide: Any, batch: Batch, draws: int) -> dict[str, Any]:
    """The question of an item's chains: ``(starts × chains, items, draws, size)``."""
    item = unconstrained(model, guide, batch)
    starts, loc, root = (batch.arrays[AT + name][0] for name in ("starts", "loc", "root"))
    vectors, _, _ = walk(item.joint, SHORT, loc, root, jnp.repeat(starts, FROM_EACH, 0), numpyro.prng_key())
    return {"vectors": vectors[:, None]}


def walk(
    log_density: Callable[[jax.Array], jax.Array],
    phase: Phase,
    loc: jax.Array,
    root: jax.Array,
    starts: jax.Array,
    key: jax.Array,
) -> tuple[jax.Array, ...]:
    """Chains in the coordinates ``u`` of ``loc + root u``; ``root`` is a lower triangle.

    Returns ``(chains, draws, size)``, and without size which transitions diverged and how many steps they took.
    """

    def chain(key: jax.Array, start: jax.Array) -> Any:
        init, step = hmc(lambda u: -log_density(loc + root @ u), algo="NUTS")
        state = init(start, phase.adapting, rng_key=key, **phase.options)
        state = jax.lax.fori_loop(0, phase.skipped, lambda i, state: step(state), state)

        def collect(state: Any, _: Any) -> Any:
            state = step(state)
            return state, (loc + root @ state.z, state.diverging, state.num_steps)

        return jax.lax.scan(collect, state, length=phase.draws)[1]

    whitened = jax.scipy.linalg.solve_triangular(root, (starts - loc).T, lower=True).T
    return jax.vmap(chain)(jax.random.split(key, len(starts)), whitened)
