"""Optimizers in optax: the direction of an update and its length, and what they remember as arrays."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from ppvae.runs.foreign import recorded
from ppvae.runs.plan import Pace, Plan
from ppvae.runs.settings import Settings
from ppvae.runs.snapshot import Snapshot

# Each optimiser as the direction of its update, and the names of what it remembers.
OPTIMIZERS: dict[str, tuple[Callable[[], optax.GradientTransformation], tuple[str, ...]]] = {
    "adam": (optax.scale_by_adam, ("mu", "nu")),
    "adamw": (lambda: optax.chain(optax.scale_by_adam(), optax.add_decayed_weights(1e-2)), ("mu", "nu")),
    "rmsprop": (partial(optax.scale_by_rms, decay=0.99, eps=1e-8, eps_in_sqrt=False), ("nu",)),
    "momentum": (partial(optax.trace, decay=0.9), ("trace",)),
    "sgd": (optax.identity, ()),
}

Arrays = dict[str, jax.Array]


def made(settings: Settings) -> optax.GradientTransformationExtraArgs:
    """The optimiser of a run."""
    optimizer = settings.optimizer if settings.foreign else OPTIMIZERS[settings.optimizer][0]()
    return optax.with_extra_args_support(optimizer)


def fresh(settings: Settings, optimizer: optax.GradientTransformation, params: Arrays) -> Any:
    """What an optimiser remembers before its first step, as arrays whose types stay; zeros, but for optax's own."""
    if settings.foreign:
        return jax.jit(lambda params: jax.tree.map(jnp.array, optimizer.init(params)))(params)
    return jax.tree.map(lambda a: jax.device_put(np.zeros(a.shape, a.dtype)), jax.eval_shape(optimizer.init, params))


def check(settings: Settings, optimizer: optax.GradientTransformation, params: Arrays) -> None:
    """Raise ValueError where a transformation of optax cannot take a step from gradients and the loss alone."""
    if not settings.foreign:
        return

    def first() -> Any:
        moments = fresh(settings, optimizer, params)
        return optimizer.update(params, moments, params, value=jnp.zeros(())), moments

    try:
        (updates, after), before = jax.eval_shape(first)
        if any(
            jax.tree.map(_kind, one) != jax.tree.map(_kind, other)
            for one, other in ((updates, params), (after, before))
        ):
            raise TypeError("its updates or its state change their shapes or types from step to step")
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(f"the optimizer {recorded(settings.optimizer)} cannot train this pair: {reason}") from error


def _kind(array: Any) -> tuple[Any, Any]:
    return array.shape, array.dtype


def clipped(settings: Settings, gradients: Arrays) -> tuple[Arrays, jax.Array]:
    """Gradients of a norm of ``clip`` at most, and the norm that they had together."""
    squares = partial(jax.lax.platform_dependent, cpu=_squares_by_array, default=_squares_at_once)
    norm = jnp.sqrt(squares(*gradients.values())) if gradients else jnp.zeros(())
    if (clip := settings.clip) is None:
        return gradients, norm
    return {name: jnp.where(norm < clip, g, g / norm * clip) for name, g in gradients.items()}, norm


def _squares_by_array(*arrays: jax.Array) -> jax.Array:
    """The sum of the squares of all: on a CPU a product with ones reads each once, by vectors.

    A sum of squares XLA writes down there, and then adds one by one.
    """
    squares = [jnp.square(jnp.atleast_1d(array)) for array in arrays]
    return jax.tree.reduce(jnp.add, [(square @ jnp.ones(square.shape[-1], square.dtype)).sum() for square in squares])


def _squares_at_once(*arrays: jax.Array) -> jax.Array:
    """The same of all as one vector: on a GPU each array would take two launches of its own."""
    return jnp.square(jnp.concatenate([array.ravel() for array in arrays])).sum()


def moved(plan: Plan, pace: Pace, params: Arrays, updates: Arrays, resting: Collection[str], norm: jax.Array) -> Arrays:
    """The parameters after an update, those that rest as they were.

    It is minus the learning rate times a direction, or what optax's own transformation gives times the schedule. All
    wait for the norm: XLA changes weights in place only where it sees that no gradient is still to be taken at them.
    """
    pace = pace._replace(rate_factor=jnp.where(norm < 0, 0, pace.rate_factor))
    if plan.settings.foreign:
        lengths = dict.fromkeys(params, -pace.rate_factor)
    else:
        lengths = {name: plan.paced(plan.settings.rate(name), pace) for name in params}
    return {name: value if name in resting else value - lengths[name] * updates[name] for name, value in params.items()}


def exported(settings: Settings, moments: Any) -> dict[str, Any]:
    """What an optimiser remembers, as the fields of a snapshot."""
    if settings.foreign:
        return {"foreign": {name: np.array(_plain(leaf)) for name, leaf in _leaves(moments)}}
    _, names = OPTIMIZERS[settings.optimizer]
    return {"moments": {name: _numpy(optax.tree_utils.tree_get(moments, name)) for name in names}}


def _leaves(moments: Any) -> list[tuple[str, Any]]:
    return [(jax.tree_util.keystr(path), leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(moments)]


def _plain(leaf: Any) -> Any:
    return jax.random.key_data(leaf) if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf


def _numpy(arrays: Mapping[str, jax.Array]) -> dict[str, np.ndarray]:
    return {name: np.array(array) for name, array in arrays.items()}


def restored(settings: Settings, moments: Any, snapshot: Snapshot, count: int) -> Any:
    """What a fresh optimiser of a stage remembered after so many steps of it, on either backend.

    Raises:
        ValueError: it is not what this transformation of optax remembers.
    """
    if settings.foreign:
        return _refilled(settings, moments, snapshot.foreign) if snapshot.step else moments
    for name, values in snapshot.moments.items():
        moments = optax.tree_utils.tree_set(
            moments, **{name: {key: jax.device_put(v.copy()) for key, v in values.items()}}
        )
    if "mu" in snapshot.moments:
        moments = optax.tree_utils.tree_set(moments, count=jax.device_put(np.int32(count)))
    return moments


def _refilled(settings: Settings, moments: Any, kept: Mapping[str, np.ndarray]) -> Any:
    own = _leaves(moments)
    wanted = {name: _kind(_plain(leaf)) for name, leaf in own}
    if wanted != {name: _kind(array) for name, array in kept.items()}:
        raise ValueError(
            f"this run's optimizer remembered other things than {recorded(settings.optimizer)} does: pass its own"
        )
    leaves = [
        jax.random.wrap_key_data(jnp.asarray(kept[name])) if _plain(leaf) is not leaf else jnp.asarray(kept[name])
        for name, leaf in own
    ]
    return jax.tree.unflatten(jax.tree.structure(moments), leaves)
