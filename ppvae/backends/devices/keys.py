"""Keys: JAX's own random keys, bit for bit, whose draws are computed in one operation and once.

On a CPU JAX runs the rounds of Threefry (Salmon, Moraes, Dror and Shaw, 2011) as a loop, of which XLA takes five turns
for each key split and each draw, in a small step as long as all the rest. Written out they are one operation, which XLA
would repeat wherever a draw is read.
"""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.random import define_prng_impl

from ppvae.backends.devices.materialised import materialised

OWN = "threefry2x32"  # what JAX calls its own
PARITY = np.uint32(0x1BD11BDA)
ROTATIONS = (13, 15, 26, 6), (17, 29, 16, 24)

Halves = tuple[jax.Array, jax.Array]  # of numbers of 64 bits


def key(seed: Any) -> jax.Array:
    """The key of a seed, an integer that may be traced; one of JAX's own where that is set to draw otherwise."""
    usual = jax.config.jax_threefry_partitionable and jax.config.jax_default_prng_impl == OWN  # type: ignore[attr-defined]
    return jax.random.key(seed, impl=WRITTEN_OUT if usual else None)


def plain(key: jax.Array) -> jax.Array:
    """A key of JAX's own Threefry, which its samplers by rejection ask for: of another kind, RBG's, its first half."""
    if not jax.dtypes.issubdtype(key.dtype, jax.dtypes.prng_key) or jax.random.key_impl(key) == OWN:
        return key
    return jax.random.wrap_key_data(jax.random.key_data(key)[..., :2], impl=OWN)


def _seeded(seed: jax.Array) -> jax.Array:
    return jax.random.key_data(jax.random.key(seed, impl=OWN))


def _split(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    return jnp.stack(_hashed(key, *_counts(shape)), -1)


def _folded(key: jax.Array, data: Any) -> jax.Array:
    return jnp.stack(_hashed(key, *_seeded(data.astype(jnp.uint32))))


def _bits(key: jax.Array, width: int, shape: tuple[int, ...]) -> jax.Array:
    kind = jnp.dtype(f"uint{width}")
    high, low = _hashed(key, *_counts(shape))
    whole = (high.astype(kind) << np.array(32, kind)) | low.astype(kind) if width == 64 else (high ^ low).astype(kind)
    return materialised(whole)


def _counts(shape: tuple[int, ...]) -> Halves:
    """0, 1, 2, ... in this shape; fewer than 2**32."""
    return jnp.zeros(shape, jnp.uint32), jnp.arange(math.prod(shape), dtype=jnp.uint32).reshape(shape)


def _hashed(key: jax.Array, high: jax.Array, low: jax.Array) -> Halves:
    """Threefry-2x32 of the numbers, 20 rounds."""
    keys = key[0], key[1], key[0] ^ key[1] ^ PARITY
    high, low = high + keys[0], low + keys[1]
    for turn in range(5):
        for by in ROTATIONS[turn % 2]:
            high = high + low
            low = high ^ ((low << np.uint32(by)) | (low >> np.uint32(32 - by)))
        high, low = high + keys[(turn + 1) % 3], low + keys[(turn + 2) % 3] + np.uint32(turn + 1)
    return high, low


WRITTEN_OUT = define_prng_impl(
    key_shape=(2,), seed=_seeded, split=_split, random_bits=_bits, fold_in=_folded, name="written_out", tag="out"
)
