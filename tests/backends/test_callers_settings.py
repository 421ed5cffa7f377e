"""A caller's settings of torch and JAX: what forbids or changes usual programs does not reach a run, and stays."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import jax
import numpy as np
import pytest
import torch

import ppvae
from ppvae import Dataset
from ppvae.backends import numpyro, pyro
from ppvae.runs.settings import Settings

ENGINES = {"pyro": pyro, "numpyro": numpyro}
STRICT = {
    "jax_numpy_dtype_promotion": "strict",
    "jax_numpy_rank_promotion": "raise",
    "jax_transfer_guard": "disallow",
    "jax_disable_jit": True,
}


@contextmanager
def default_device(name: str) -> Iterator[None]:
    torch.set_default_device(name)
    try:
        yield
    finally:
        torch.set_default_device(None)


@contextmanager
def strict_jax() -> Iterator[None]:
    before = {name: getattr(jax.config, name) for name in STRICT}
    try:
        for name, value in STRICT.items():
            jax.config.update(name, value)
        yield
    finally:
        for name, value in before.items():
            jax.config.update(name, value)


def data() -> Dataset:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(12, 3)), rng.poisson(4.0, size=(12, 2))
    a[0], b = np.nan, b.astype(float)
    return Dataset({"a": a, "b": b}, likelihood={"b": "poisson"})


def trained(backend: str, callers: Any) -> tuple[float, float]:
    items = data()
    vae = ppvae.method("mvtcae", items.modalities, latent=2, hidden=(4,))
    with callers:
        fitted = ppvae.fit(vae, items, backend=backend, epochs=1, batch_size=6, progress=False)
        return fitted.history[-1]["loss"], float(fitted.log_evidence(items, particles=5).mean())


CALLERS = {
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "default_device": lambda: default_device("meta"),
}


@pytest.mark.parametrize("callers", CALLERS.values(), ids=CALLERS)
def test_a_run_on_pyro_has_the_same_bits(callers):
    assert trained("pyro", callers()) == trained("pyro", ExitStack())


def test_a_run_on_numpyro_has_the_same_bits():
    with torch.inference_mode(), strict_jax():
        strict = trained("numpyro", default_device("meta"))
    assert strict == trained("numpyro", ExitStack())


@pytest.mark.parametrize("callers", CALLERS.values(), ids=CALLERS)
@pytest.mark.parametrize("backend", ENGINES)
def test_callers_find_their_settings_again(backend, callers):
    def told() -> tuple[Any, ...]:
        linear = torch.nn.Linear(2, 2, device="cpu")
        answer = linear(torch.ones(1, 2, device="cpu"))
        return torch.get_default_dtype(), torch.empty(1).device, answer.dtype, answer.requires_grad

    with callers():
        before = told()
        with ENGINES[backend].environment(Settings(dtype="float64", device="cpu")):
            assert told() == (torch.float64, torch.device("cpu"), torch.float64, True)
        assert told() == before


def test_parity_without_gradients():
    items = data()
    vae = ppvae.method("mvtcae", items.modalities, latent=2, hidden=(4,))
    with torch.inference_mode():
        assert ppvae.parity(vae, items.batch(range(4)))["ok"]
