"""Sparing: a program that is compiled with less memory gives the same numbers, whether JAX has such a way or not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ppvae
from ppvae import Modality
from ppvae.backends.devices import sparing
from ppvae.runs.plan import Plan, Sites
from ppvae.runs.settings import Settings

PICTURE, VECTOR = Modality("x", (1, 8, 8), kind="image"), Modality("x", (8,))


def plan(modality: Modality, stored: bool) -> Plan:
    vae = ppvae.method("vae", [modality], latent=2, hidden=(4,))
    return Plan(vae, Settings(), Sites(frozenset({"z"})), items=5, steps=1, stored=stored)


@pytest.mark.parametrize("options", [sparing.OLDER, {"xla_cpu_of_another_version": True}])
def test_a_sparing_program_gives_the_same_numbers(options: dict[str, object], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sparing, "OLDER", options)
    x = jnp.linspace(-1.0, 1.0, 30).reshape(5, 6)
    lowered = jax.jit(lambda x: jnp.tanh(x @ x.T).sum(0)).lower(x)
    plain, less = (sparing.compiled(lowered, plan(PICTURE, stored))(x) for stored in (False, True))
    np.testing.assert_allclose(less, plain, rtol=1e-6)


def test_only_what_convolves_data_on_disk_is_compiled_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        sparing, "OLDER", {"xla_cpu_use_fusion_emitters": "neither"}
    )  # which is an error where it is asked
    lowered = jax.jit(jnp.tanh).lower(1.0)
    for modality, stored in ((PICTURE, False), (VECTOR, False), (VECTOR, True)):
        assert sparing.compiled(lowered, plan(modality, stored))(0.0) == 0
    with pytest.raises(Exception, match="neither"):
        sparing.compiled(lowered, plan(PICTURE, True))
