"""Surroundings: what a text reads beside weights and data counts at every run on both backends, as it does in torch."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

import ppvae
from ppvae import VAE, Dataset, Modality, Program, dist, pyro
from ppvae.backends import mirror
from ppvae.inference.fitted import Fitted

DATA = Dataset({"x": np.array([0.5, -1.0, 2.0])}, modalities=[Modality("x", (), "normal")])
SPREAD = {"scale": 1.0}
WIDTH = 1.0
RUNS = {"all": 0}


def width() -> float:
    return WIDTH


class Model(Program):
    """x ~ Normal(z, s), with a product of numbers from everywhere for s, and z next to nothing."""

    factor = 1.0

    def __init__(self, halves: Callable[[], float] = lambda: 1.0) -> None:
        super().__init__()
        self.own, self.table, self.note, self.halves = 1.0, torch.ones(2), SimpleNamespace(by=1.0), halves

    def forward(self, batch: Any) -> None:
        scale = self.own * self.factor * width() * SPREAD["scale"] * self.table[1] * self.note.by * self.halves()
        with batch.plate():
            z = pyro.sample("z", dist.Normal(0.0, 1e-6))
            pyro.sample("x", dist.Normal(z, scale), obs=batch.get("x"))


class Prior(Program):
    """The posterior, as z does not count."""

    def forward(self, batch: Any) -> None:
        with batch.plate():
            pyro.sample("z", dist.Normal(0.0, 1e-6))


def _global(_: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "WIDTH", 3.0)


def _function(_: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "width", lambda: 3.0)


def _entry(_: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SPREAD, "scale", 3.0)


def _class(_: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Model, "factor", 3.0)


def _text(_: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def forward(self: Any, batch: Any) -> None:
        with batch.plate():
            z = pyro.sample("z", dist.Normal(0.0, 1e-6))
            pyro.sample("x", dist.Normal(z, 3.0), obs=batch.get("x"))

    monkeypatch.setattr(Model, "forward", forward)


def _attribute(model: Any, _: pytest.MonkeyPatch) -> None:
    model.own = 3.0


def _record(model: Any, _: pytest.MonkeyPatch) -> None:
    model.note.by = 3.0


def _element(model: Any, _: pytest.MonkeyPatch) -> None:
    model.table[1] = 3.0


def _lambda(model: Any, _: pytest.MonkeyPatch) -> None:
    model.halves = partial(float, 3)


CHANGES = [_global, _function, _entry, _class, _text, _attribute, _record, _element, _lambda]


@pytest.fixture(scope="module")
def run() -> Fitted:
    return ppvae.fit(VAE(Model(), Prior()), DATA, backend="numpyro", epochs=1, dtype="float64")


@pytest.mark.parametrize("change", CHANGES)
def test_answers_are_those_of_what_a_text_reads_now(
    change: Callable[..., None], run: Fitted, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted = copy.deepcopy(run)
    for scale in (1.0, 3.0):
        exact = stats.norm(0, scale).logpdf(DATA.arrays["x"])
        for backend in ("pyro", "numpyro"):
            np.testing.assert_allclose(fitted.to(backend).log_evidence(DATA, particles=2), exact, atol=1e-4)
        change(fitted.vae.model, monkeypatch)


@pytest.mark.parametrize("backend", ["pyro", "numpyro"])
def test_an_epoch_is_trained_by_what_a_text_reads_then(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def widened(entry: dict[str, Any]) -> None:
        monkeypatch.setitem(SPREAD, "scale", 3.0)

    fitted = ppvae.fit(
        VAE(Model(), Prior()), DATA, validation=DATA, backend=backend, epochs=2, dtype="float64", callbacks=[widened]
    )
    exact = [-stats.norm(0, scale).logpdf(DATA.arrays["x"]).mean() for scale in (1.0, 3.0)]
    for loss in ("loss", "validation_loss"):
        np.testing.assert_allclose([entry[loss] for entry in fitted.history], exact, atol=1e-4)


@pytest.mark.parametrize("backend", ["pyro", "numpyro"])
def test_so_is_a_step_of_ones_own_loop(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    state = ppvae.init(VAE(Model(), Prior()), DATA, backend=backend, dtype="float64")
    losses = []
    for scale in (1.0, 3.0):
        monkeypatch.setitem(SPREAD, "scale", scale)
        state, info = ppvae.step(state, DATA.batch())
        losses.append(info["loss"])
    exact = [-stats.norm(0, scale).logpdf(DATA.arrays["x"]).mean() for scale in (1.0, 3.0)]
    np.testing.assert_allclose(losses, exact, atol=1e-4)


def test_nothing_else_is_a_change(run: Fitted) -> None:
    fitted = copy.deepcopy(run)
    before = mirror.times_changed(fitted.vae.pair)
    fitted.log_evidence(DATA, particles=2)
    fitted.to("pyro").encode(DATA)
    fitted.vae.model.eval()
    assert mirror.times_changed(fitted.vae.pair) == before


class Counting(Model):
    """The same, whose text counts its own runs."""

    def forward(self, batch: Any) -> None:
        RUNS["all"] += 1
        super().forward(batch)


def test_what_a_text_changes_by_itself_compiles_nothing_anew() -> None:
    fitted = ppvae.fit(VAE(Counting(), Prior()), DATA, backend="numpyro", epochs=3, dtype="float64")
    fitted.log_evidence(DATA, particles=2)
    before = RUNS["all"]
    fitted.log_evidence(DATA, particles=2)
    assert RUNS["all"] == before
