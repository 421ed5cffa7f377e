"""Remembering: networks that read each modality once a step give the losses of networks that read it for each bound."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import ppvae
from ppvae import Batch, Dataset
from ppvae.backends import pyro as engine
from ppvae.training.fit import init

METHODS = ("mvae", "mvtcae", "crmvae", "mmjsd", "set_encoder", "jmvae", "mmvae", "mmvae_plus", "cmvae", "dmvae")
OPTIONS = {"epochs": 2, "batch_size": 16, "dtype": "float64", "progress": False, "clip": 1.0}


def data() -> Dataset:
    """Three modalities of 48 items, one with rows that are not there and one with elements that are not."""
    random = np.random.default_rng(0)
    a, b, c = (random.normal(size=(48, size)) for size in (3, 4, 2))
    b[random.random(b.shape) < 0.3] = np.nan
    return Dataset({"a": a, "b": b, "c": c}, {"a": random.random(48) < 0.7})


def trained(method: str, backend: str) -> list[list[float]]:
    """Losses and norms of gradients."""
    rows = data()
    vae = ppvae.method(method, rows.modalities or (), latent=2, hidden=(8,))
    history = ppvae.fit(vae, rows, backend=backend, **OPTIONS).history
    return [[entry["loss"], entry["gradient_norm"]] for entry in history]


@pytest.mark.parametrize(
    ("method", "backend"),
    [
        *((method, "pyro") for method in METHODS),
        ("crmvae", "numpyro"),
        pytest.param("mmvae_plus", "numpyro", marks=pytest.mark.slow),
    ],
)
def test_networks_that_read_once_train_as_those_that_read_again(
    method: str, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    once = trained(method, backend)
    monkeypatch.setattr(Batch, "remembering", lambda batch: batch)
    np.testing.assert_allclose(once, trained(method, backend), rtol=1e-9)


def test_a_step_reads_each_modality_once() -> None:
    rows = data().only(["b", "c"])
    vae = ppvae.method("mvae", rows.modalities or (), latent=2, hidden=(8,))
    state, calls = init(vae, rows, backend="pyro", dtype="float64"), []
    for name, network in state.pair["guide"].encoders.networks.items():
        network.register_forward_hook(lambda *_, name=name: calls.append(name))
    with engine.environment(state.plan.settings):
        batch = Batch(engine.put(rows.arrays), engine.put(rows.observed or {}), len(rows))
        engine.loss_by_site(state, batch, 1.0)
        assert sorted(calls) == ["b", "c"]
        engine.loss_by_site(state, batch, 1.0)
    assert sorted(calls) == ["b", "b", "c", "c"]


def test_what_is_no_part_is_read_for_itself() -> None:
    batch = Batch({"a": np.ones((2, 1))}).remembering()
    part = batch.given(["a"]).without({"a": np.array([True, False])})
    assert [each.once("sum", lambda whole: whole.get("a").sum()) for each in (batch, part)] == [2.0, 2.0]
    assert replace(part, origin=None).once("sum", lambda whole: whole.get("a").sum()) == 1.0
