"""Modes: the tops of an item's posterior, climbed by Newton's method from several starts, and how wide it is there."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro

from ppvae.inference.questions import in_turn
from ppvae.inference.unconstrained import unconstrained
from ppvae.language.batch import Batch

STEPS = 25  # at most
GAIN = 1e-2  # nats: a step that gains less is the last
PARTS = 0.5 ** np.arange(10.0)  # of a step, of which the best is taken
STARTED = 3  # draws of the guide that are climbed from
SPREAD = 4  # draws of the prior
MOMENTS = 64  # draws that tell the means of both, and the prior's deviations


@in_turn(1)
def modes(model: Any, guide: Any, batch: Batch, draws: int) -> dict[str, Any]:
    """The question of an item's modes ``loc (starts, 1, size)``, and factors ``root`` of the covariances there.

    Climbed from the means of the guide and of the prior, from draws of the guide, and from such draws of the prior as
    lie farthest from all these; several starts may end at one mode. The last is no mode, but the prior's own mean and
    deviations. Factors ``(starts, 1, size, size)`` are lower triangles. No direction is wider than the prior, in whose
    deviations all is measured.
    """
    item = unconstrained(model, guide, batch)
    keys = jax.random.split(numpyro.prng_key(), 2)
    proposed, known = item.draws(keys[0], MOMENTS), jax.vmap(item.from_prior)(jax.random.split(keys[1], MOMENTS))
    known = jnp.where(jnp.isfinite(known), known, jnp.nan)  # a draw at the very edge of its support
    center, unit = jnp.nanmean(known, 0), jnp.maximum(jnp.nanstd(known, 0), 1e-6)
    near = jnp.concatenate([proposed.mean(0)[None], center[None], proposed[:STARTED]])
    starts = _spread_out(_finite((near - center) / unit), _finite((known - center) / unit))
    tops, roots = jax.vmap(partial(_climbed, lambda u: item.joint(center + unit * u)))(starts)
    tops, roots = jnp.concatenate([tops, 0 * tops[:1]]), jnp.concatenate([roots, jnp.eye(len(unit))[None]])
    return {"loc": (center + unit * tops)[:, None], "root": (unit[:, None] * roots)[:, None]}


def _spread_out(starts: Any, pool: Any) -> Any:
    """The starts, and points of the pool, each the farthest from all that are there before it."""
    for _ in range(SPREAD):
        distances = jnp.linalg.norm(pool[:, None] - starts, axis=-1).min(1)
        starts = jnp.concatenate([starts, pool[distances.argmax()][None]])
    return starts


def _climbed(log_density: Callable[[Any], Any], start: Any) -> tuple[Any, Any]:
    """The mode that is reached from ``start``, and the factor of the covariance where the last step began."""

    def step(state: tuple[Any, ...]) -> tuple[Any, ...]:
        vector, _, _, count = state
        level, slope, root = _local(log_density, vector)
        tried = vector + PARTS[:, None] * (root @ (root.T @ slope))
        levels = jnp.nan_to_num(jax.vmap(log_density)(tried), nan=-jnp.inf)
        best = levels.argmax()
        gain = levels[best] - level
        return jnp.where(gain > 0, tried[best], vector), root, gain, count + 1

    state = (start, jnp.eye(len(start), dtype=start.dtype), jnp.array(jnp.inf, start.dtype), 0)
    top, root, _, _ = jax.lax.while_loop(lambda state: (state[2] > GAIN) & (state[3] < STEPS), step, state)
    triangle = jnp.linalg.qr(root.T, mode="r").T
    return top, triangle * jnp.sign(jnp.diag(triangle))


def _local(log_density: Callable[[Any], Any], vector: Any) -> tuple[Any, Any, Any]:
    """The level, the slope, and a factor of the inverse of the negative Hessian.

    The eigenvalues of that are at least 1: the prior's, in its units.
    """

    def gradient(vector: Any) -> tuple[Any, Any]:
        level, slope = jax.value_and_grad(log_density)(vector)
        return slope, (level, slope)

    hessian, (level, slope) = jax.jacrev(gradient, has_aux=True)(vector)  # some layers have no forward mode
    widths, axes = jnp.linalg.eigh(-_finite(hessian))
    return jnp.nan_to_num(level, nan=-jnp.inf), _finite(slope), axes / jnp.sqrt(jnp.maximum(widths, 1.0))


def _finite(values: Any) -> Any:
    """The values, zero where they are no numbers."""
    return jnp.nan_to_num(values, posinf=0.0, neginf=0.0)
