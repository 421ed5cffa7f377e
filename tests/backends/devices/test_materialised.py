"""Arrays that are computed once: the same numbers and derivatives, in memory where XLA would repeat them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from ppvae.backends import mirror
from ppvae.backends.devices.materialised import materialised

X = jnp.linspace(-1.0, 1.0, 12).reshape(3, 4)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.int32, jnp.bool_, jnp.uint32])
def test_the_same_numbers(dtype):
    x = X.astype(dtype)
    for found in (
        materialised(x),
        jax.jit(materialised)(x),
        jax.vmap(materialised)(x),
        jax.jit(jax.vmap(materialised))(x),
    ):
        assert found.dtype == dtype
        np.testing.assert_array_equal(found, x)


def cubed(x: jax.Array) -> jax.Array:
    return (materialised(x**3) * x).sum()


@pytest.mark.parametrize("of", [jax.grad, jax.jacfwd, jax.hessian, lambda f: jax.jit(jax.grad(f))])
def test_the_same_derivatives(of):
    np.testing.assert_allclose(of(cubed)(X), of(lambda x: (x**4).sum())(X), rtol=1e-6)


@pytest.mark.parametrize(("held", "times"), [(lambda x: x, 3), (materialised, 1)], ids=["repeated", "once"])
def test_what_is_read_often_is_computed_once(held, times):
    def read_often(x: jax.Array) -> list[jax.Array]:
        y = held(x * 0.1234)
        return [jnp.sort(y + i) for i in range(3)]

    assert jax.jit(read_often).lower(jnp.ones(16)).compile().as_text().count("0.1234") == times


def test_a_copy_in_torch_is_one_in_memory():
    assert " while(" in jax.jit(mirror.FUNCTIONS[torch.clone]).lower(X).compile().as_text()
