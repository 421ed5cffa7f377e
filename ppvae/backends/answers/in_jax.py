"""NumPyro's answers: a question asked of every item alone, compiled for all of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import nullcontext
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro

from ppvae.backends import mirror
from ppvae.backends.mirror.running.program import Mirror
from ppvae.backends.numpyro_items import Jointly, Sparing
from ppvae.language.batch import Batch

Arrays = dict[str, jax.Array]

ALL = 2**32 - 1  # of what all items share, in the place of an item's key
QUICK = {"xla_backend_optimization_level": 1}  # compiles in a third of the time, and answers are no slower


def programs(pair: Any, arrays: Arrays, aliases: Mapping[str, str], training: bool = False) -> tuple[Mirror, Mirror]:
    """Mirrors of the model and the guide on the given arrays."""
    p = mirror.Parameters(arrays, aliases, training=training, key=numpyro.prng_key)
    return Mirror(pair["model"], p.child("model")), Mirror(pair["guide"], p.child("guide"))


def each_item(
    pair: Any, question: Any, arrays: Arrays, observed: Arrays, keys: np.ndarray, rows: np.ndarray | None = None
) -> Arrays:
    """``question(model, guide, batch)`` for every item alone, seeded by the item's key; joined on axis 1.

    A mask without dims is that of every item. What nobody shows is then not decoded, whether items are taken together
    or in turn.
    """
    numbers, seeds = None if rows is None else jax.device_put(rows), jax.device_put(keys)
    (place,) = seeds.devices()
    ask = asker(question, pair, mirror.times_changed(pair), on_cpu=place.platform == "cpu")
    common = {name: mask for name, mask in observed.items() if not mask.ndim}
    own = {name: mask for name, mask in observed.items() if mask.ndim}
    answers = ask(mirror.views(pair), common, (arrays, own, seeds, numbers))
    mirror.look_again(pair)
    return answers


def _within(whose: Any, key: jax.Array) -> jax.Array:
    """The key of what is drawn for an item, or for all, in the block of draws that an item's key says."""
    return jax.random.fold_in(jax.random.fold_in(jax.random.key(whose), key[1]), key[2])


@lru_cache(maxsize=64)
def asker(question: Any, pair: Any, changes: int, on_cpu: bool) -> Any:
    """The question, compiled; a question is a hashable callable, so that asking again compiles nothing.

    It is another program once what the texts read around them has changed so many times.
    """
    names = mirror.aliases(pair)

    def one(weights: Arrays, common: Arrays, item: tuple[Any, ...]) -> Arrays:
        arrays, own, key, row = item
        here, seen = ({name: array[None] for name, array in group.items()} for group in (arrays, {**own, **common}))
        batch = Batch(here, seen, 1, 1, index=None if row is None else row[None])
        joint = Jointly(_within(ALL, key)) if question.jointly else nullcontext()
        with numpyro.handlers.seed(rng_seed=_within(key[0], key)), Sparing(), joint:
            answer = question(*programs(pair, weights, names), batch)
        return {name: value[:, 0] for name, value in answer.items()}

    def all_of_them(weights: Arrays, common: Arrays, items: tuple[Any, ...]) -> Arrays:
        alone = partial(one, weights, common)
        if on_cpu and question.draws >= getattr(question.function, "in_turn", math.inf):
            answers = jax.lax.map(alone, items)
            return {name: jnp.moveaxis(value, 0, 1) for name, value in answers.items()}
        return jax.vmap(alone, out_axes=1)(items)

    quick = on_cpu and not jax.config.read("jax_disable_most_optimizations")  # which are quicker still
    return jax.jit(all_of_them, compiler_options=QUICK if quick else None)
