"""Sparing: a program that is compiled with less memory gives the same numbers, whether JAX has such a way or not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ppvae.backends.devices import sparing


@pytest.mark.parametrize("options", [sparing.OLDER, {"xla_cpu_of_another_version": True}])
def test_a_sparing_program_gives_the_same_numbers(options: dict[str, object], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sparing, "OLDER", options)
    x = jnp.linspace(-1.0, 1.0, 30).reshape(5, 6)
    lowered = jax.jit(lambda x: jnp.tanh(x @ x.T).sum(0)).lower(x)
    plain, less = (sparing.compiled(lowered, spare)(x) for spare in (False, True))
    np.testing.assert_allclose(less, plain, rtol=1e-6)
