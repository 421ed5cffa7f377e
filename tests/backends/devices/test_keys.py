"""Keys: the bits of JAX's own, whatever is asked of them, and no loop."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ppvae.backends import mirror
from ppvae.backends.devices import keys

SEEDS = st.integers(0, 2**32 - 1)
SHAPES = st.lists(st.integers(0, 7), max_size=3).map(tuple) | st.just((3, 1001))


def assert_same(asked: Callable[[jax.Array], Any], seed: int) -> None:
    """Both keys answer with the same bits, traced and not."""
    for run in (lambda f: f, jax.jit):
        ours, theirs = (
            run(lambda s, made=made: asked(made(s)))(jnp.uint32(seed)) for made in (keys.key, jax.random.key)
        )
        np.testing.assert_array_equal(ours, theirs)
        assert ours.dtype == theirs.dtype


@settings(max_examples=20, deadline=None)
@given(SEEDS, SHAPES, st.sampled_from(["uint8", "uint16", "uint32"]))
def test_bits(seed, shape, kind):
    assert_same(lambda key: jax.random.bits(key, shape, kind), seed)


@settings(max_examples=20, deadline=None)
@given(SEEDS, SHAPES)
def test_bits_of_64(seed, shape):
    with jax.enable_x64(True):
        assert_same(lambda key: jax.random.bits(key, shape, "uint64"), seed)
        assert_same(lambda key: jax.random.normal(key, shape, "float64"), seed)


@settings(max_examples=20, deadline=None)
@given(SEEDS, SEEDS, st.integers(1, 9))
def test_folded_and_split(seed, number, count):
    def asked(key: jax.Array) -> jax.Array:
        folded = jax.random.fold_in(key, jnp.uint32(number))
        return jax.random.key_data(jax.random.split(jax.random.split(folded)[1], (count, 2)))

    assert_same(asked, seed)


@settings(max_examples=20, deadline=None)
@given(SEEDS, st.integers(1, 5))
def test_many_keys_at_once(seed, count):
    assert_same(lambda key: jax.vmap(jax.random.normal)(jax.random.split(key, count)), seed)


@pytest.mark.parametrize("seed", [-1, 0, 2**31 - 1, np.uint32(2**32 - 1), jnp.int32(7)])
def test_seeds(seed):
    np.testing.assert_array_equal(jax.random.key_data(keys.key(seed)), jax.random.key_data(jax.random.key(seed)))


@pytest.mark.parametrize(
    ("function", "given"),
    [
        (torch.poisson, (np.linspace(0.5, 30, 50),)),
        (torch._standard_gamma, (np.linspace(0.5, 30, 50),)),
        (torch._sample_dirichlet, (np.linspace(0.5, 30, 50).reshape(10, 5),)),
        (torch.binomial, (np.full(20, 9.0), np.linspace(0.1, 0.9, 20))),
        (torch.multinomial, (np.ones((3, 4)), 2)),
        (torch.bernoulli, (np.linspace(0.1, 0.9, 20),)),
        (torch.randperm, (9,)),
    ],
    ids=lambda part: getattr(part, "__name__", None),
)
def test_draws_of_torch(function, given):
    arrays = [jnp.asarray(x, jnp.float32) if isinstance(x, np.ndarray) else x for x in given]
    assert_same(lambda key: mirror.RANDOM_FUNCTIONS[function](lambda: key, *arrays), 3)


@pytest.mark.parametrize("key", [jax.random.key(1), jax.random.PRNGKey(1)])
def test_other_keys_are_plain(key):
    assert keys.plain(key) is key


@pytest.mark.parametrize("kind", ["rbg", "unsafe_rbg"])
def test_draws_by_rejection_take_keys_of_any_kind(kind):
    rate = jnp.full(4000, 3.0)
    one, other = (
        mirror.RANDOM_FUNCTIONS[torch.poisson](lambda k=k: jax.random.key(k, impl=kind), rate) for k in (1, 2)
    )
    assert abs(one.mean() - 3.0) < 5 * np.sqrt(3.0 / 4000)
    assert abs(np.corrcoef(one, other)[0, 1]) < 0.1


@pytest.mark.parametrize(
    "setting", [{"jax_threefry_partitionable": False}, {"jax_default_prng_impl": "rbg"}], ids=lambda s: next(iter(s))
)
def test_other_settings_of_jax_hold(setting):
    (name, value), before = next(iter(setting.items())), {name: getattr(jax.config, name) for name in setting}
    try:
        jax.config.update(name, value)
        assert keys.key(0).dtype == jax.random.key(0).dtype
    finally:
        jax.config.update(name, before[name])


def test_splits_take_no_loop():
    def split(seed: jax.Array) -> jax.Array:
        return jax.random.key_data(jax.random.split(jax.random.fold_in(keys.key(seed), 3)))

    assert "while" not in jax.jit(split).lower(jnp.uint32(0)).compile().as_text()


def test_a_draw_is_computed_once_however_often_it_is_read():
    def read_often(seed: jax.Array) -> list[jax.Array]:
        x = jax.random.normal(keys.key(seed), (32, 9))
        return [jnp.sort(x + i) for i in range(3)]

    assert jax.jit(read_often).lower(jnp.uint32(0)).compile().as_text().count(str(keys.PARITY)) == 1
