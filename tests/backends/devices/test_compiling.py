"""Compiling: with less memory or time, a program gives the same numbers, whether JAX has such a way or not."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ppvae
from ppvae import Modality
from ppvae.backends.devices import compiling
from ppvae.runs.plan import Plan, Sites
from ppvae.runs.settings import Settings

PICTURE, VECTOR = Modality("x", (1, 8, 8), kind="image"), Modality("x", (8,))


class Card(NamedTuple):
    """What is asked of a device."""

    platform: str = "gpu"


def plan(modality: Modality, stored: bool, epochs: int = 50) -> Plan:
    vae = ppvae.method("vae", [modality], latent=2, hidden=(4,))
    return Plan(vae, Settings(epochs=epochs, device="cpu"), Sites(frozenset({"z"})), items=5, steps=1, stored=stored)


@pytest.mark.parametrize("options", [compiling.OLDER, compiling.UNTIMED, {"xla_cpu_of_another_version": True}])
def test_a_sparing_program_gives_the_same_numbers(options: dict[str, object], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiling, "OLDER", options)
    x = jnp.linspace(-1.0, 1.0, 30).reshape(5, 6)
    lowered = jax.jit(lambda x: jnp.tanh(x @ x.T).sum(0)).lower(x)
    plain, less = (compiling.compiled(lowered, plan(PICTURE, stored))(x) for stored in (False, True))
    np.testing.assert_allclose(less, plain, rtol=1e-6)


def test_only_what_convolves_data_on_disk_is_compiled_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        compiling, "OLDER", {"xla_cpu_use_fusion_emitters": "neither"}
    )  # which is an error where it is asked
    lowered = jax.jit(jnp.tanh).lower(1.0)
    for modality, stored in ((PICTURE, False), (VECTOR, False), (VECTOR, True)):
        assert compiling.compiled(lowered, plan(modality, stored))(0.0) == 0
    with pytest.raises(Exception, match="neither"):
        compiling.compiled(lowered, plan(PICTURE, True))


def test_on_a_gpu_short_runs_time_no_products(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiling, "device", lambda name: Card())
    monkeypatch.setattr(compiling, "UNTIMED", {"xla_gpu_enable_triton_gemm": "neither"})
    lowered = jax.jit(jnp.tanh).lower(1.0)
    assert compiling.compiled(lowered, plan(PICTURE, True, epochs=compiling.LONG))(0.0) == 0
    with pytest.raises(Exception, match="neither"):
        compiling.compiled(lowered, plan(PICTURE, True, epochs=compiling.LONG - 1))
