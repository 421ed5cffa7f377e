"""Weights of items: one of weight two counts as if it stood there twice, one of weight zero as if it were not there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pairs
import pandas as pd
import pytest
import torch
from pyro.infer import TraceGraph_ELBO
from torch import nn

import ppvae
from ppvae import VAE, Dataset, Modality, Program, dist, ops, pyro
from ppvae.objectives import MAKERS
from ppvae.training.early_stopping import held_out
from ppvae.training.fit import data_key

BACKENDS = ("pyro", "numpyro")
FULL = {"batch_size": 1000, "epochs": 1, "dtype": "float64", "progress": False}
COUNTS = np.array([1.0, 0.0, 2.0, 0.5, 0.0, 1.0, 3.0, 1.0])


def data(spoilt: float = 0.0, holed: bool = True) -> Dataset:
    """Eight items; those of weight zero are spoilt, and miss something or not."""
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(8, 2)), 1 + 2 * rng.normal(size=(8, 1))
    a[COUNTS == 0] += spoilt
    a[3], b[5] = np.nan, np.nan
    a[1] = np.nan if holed else a[1]
    return Dataset({"a": a, "b": b}, modalities=pairs.views())


OWN = sorted(set(MAKERS) - {"m2", "mmvm", "mmjsd"})  # objectives of any model with any experts
CASES = [
    *(("pyro", name) for name in [*OWN, "elbo", "mean_field_elbo"]),
    ("numpyro", "elbo"),
    pytest.param("numpyro", "mmvae", marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("backend", "objective"), CASES)
def test_an_item_of_weight_zero_moves_no_gradient(backend: str, objective: str) -> None:
    made = ppvae.method("mvae", pairs.views(), latent=1, hidden=[3])
    found = []
    for rows in (data(), data(1e30, holed=False)):
        state = ppvae.init(VAE(made.model, made.guide, objective), rows, COUNTS, backend=backend, dtype="float64")
        state, info = ppvae.step(state, rows.batch())
        found.append({**info["sites"], "norm": info["gradient_norm"]})
    assert found[0]["norm"] > 0
    assert found[0] == found[1]


class Level(Program):
    """``g ~ N(0, 1)`` for all;  ``z ~ N(0, 1)``;  ``x ~ N(level, 1)``, whatever these are."""

    def __init__(self) -> None:
        super().__init__()
        self.level = nn.Parameter(torch.tensor(0.5))

    def forward(self, batch: Any) -> None:
        pyro.sample("g", dist.Normal(0.0, 1.0))
        with batch.plate():
            pyro.sample("z", dist.Normal(0.0, 1.0).expand([1]).to_event(1))
            pyro.sample("x", dist.Normal(self.level + ops.zeros((batch.size, 1)), 1.0).to_event(1), obs=batch.get("x"))


class Gain(Program):
    """``g ~ N(shift, 1)`` for all;  ``z ~ N(gain x, 1)``."""

    def __init__(self) -> None:
        super().__init__()
        self.gain, self.shift = nn.Parameter(torch.tensor(0.3)), nn.Parameter(torch.tensor(0.2))

    def forward(self, batch: Any) -> None:
        pyro.sample("g", dist.Normal(self.shift, 1.0))
        with batch.plate():
            pyro.sample("z", dist.Normal(self.gain * batch.get("x"), 1.0).to_event(1))


def line(rows: np.ndarray) -> Dataset:
    return Dataset({"x": rows[:, None]}, modalities=[Modality("x", (1,))])


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_weight_counts_an_item_so_many_times(backend: str) -> None:
    x, counts = np.array([1.0, -2.0, 0.5, 4.0]), np.array([1, 2, 0, 3])
    vae = VAE(Level(), Gain(), "mean_field_elbo")
    options = {**FULL, "backend": backend, "optimizer": "sgd", "lr": 0.1}
    weighed = ppvae.fit(vae, line(x), weights=counts, **options)
    repeated = ppvae.fit(vae, line(np.repeat(x, counts)), weights=np.ones(6), **options)
    for name, weight in repeated.snapshot.weights.items():
        np.testing.assert_allclose(weighed.snapshot.weights[name], weight, rtol=1e-12, err_msg=name)
    assert weighed.history[0]["sites"] == pytest.approx(repeated.history[0]["sites"], rel=1e-12)
    mean = np.average(x - 0.5, weights=counts)
    np.testing.assert_allclose(weighed.snapshot.weights["model.level"], 0.5 + 0.1 * mean)
    np.testing.assert_allclose(weighed.snapshot.weights["guide.gain"], 0.3 - 0.03 * np.average(x**2, weights=counts))


@pytest.mark.parametrize("backend", BACKENDS)
def test_weights_of_one_change_nothing(backend: str) -> None:
    vae, options = VAE(Level(), Gain(), "iwae"), {"backend": backend, "epochs": 3, "batch_size": 2, "progress": False}
    rows = line(np.arange(7.0))
    one, other = ppvae.fit(vae, rows, **options), ppvae.fit(vae, rows, weights=[1] * 7, **options)
    for name, weight in one.snapshot.weights.items():
        np.testing.assert_allclose(other.snapshot.weights[name], weight, rtol=1e-5)
    assert one.notes["data"] == other.notes["data"]


def test_a_resumed_run_knows_its_weights(tmp_path: Path) -> None:
    rows, counts = line(np.arange(6.0)), np.array([1.0, 2.0, 0.0, 1.0, 1.0, 1.0])
    vae, options = VAE(Level(), Gain()), {"backend": "pyro", "batch_size": 3, "progress": False}
    ppvae.fit(vae, rows, weights=counts, epochs=1, out=tmp_path / "run", **options)
    for others in (None, counts[::-1]):
        with pytest.raises(ValueError, match="resume it with the same data set, split and weights"):
            ppvae.fit(vae, rows, weights=others, epochs=2, out=tmp_path / "run", resume=True, **options)
    resumed = ppvae.fit(vae, rows, weights=counts, epochs=2, out=tmp_path / "run", resume=True, **options)
    whole = ppvae.fit(vae, rows, weights=counts, epochs=2, **options)
    for name, weight in whole.snapshot.weights.items():
        np.testing.assert_array_equal(resumed.snapshot.weights[name], weight)
    order = np.array([3, 0, 5, 1, 2, 4])
    assert data_key(rows.take(order), counts[order]) == data_key(rows, counts)


def test_what_counts_nothing_is_not_watched() -> None:
    counts = np.ones(20)
    counts[::2] = 0
    for seed in range(5):
        assert counts[held_out(counts, seed)].tolist() == [1]
    found = ppvae.fit(
        VAE(Level(), Gain()),
        line(np.arange(20.0)),
        weights=counts,
        backend="pyro",
        epochs=1,
        patience=1,
        progress=False,
    )
    assert np.isfinite(found.history[0]["validation_loss"])


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        ([1.0, 2.0], r"weights have shape \(2,\); give one for each of the 3 items"),
        ([1.0, -1.0, 1.0], "finite numbers of 0 or more"),
        ([1.0, np.nan, 1.0], "finite numbers of 0 or more"),
        ([0.0, 0.0, 0.0], "not all 0"),
        ("heavy", "weights must be 3 numbers"),
        (pd.Series([1.0, 1.0, 1.0]), "cannot be a data frame or series"),
    ],
)
def test_weights_that_do_not_fit_are_refused(weights: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        ppvae.fit(VAE(Level(), Gain()), line(np.arange(3.0)), weights=weights, progress=False)


def test_an_estimator_that_does_not_tell_items_apart_is_refused() -> None:
    vae = VAE(Level(), Gain(), TraceGraph_ELBO)
    with pytest.raises(ValueError, match="TraceGraph_ELBO does not tell items apart: drop weights"):
        ppvae.fit(vae, line(np.arange(3.0)), weights=np.ones(3), backend="pyro", progress=False)


def test_the_classifier_counts_labelled_items_as_often_as_they_say() -> None:
    rng, counts = np.random.default_rng(0), np.array([1, 2, 0, 3, 1, 1])
    a, digit = rng.normal(size=(6, 2)), np.array([0, 1, 1, 0, np.nan, 1])[:, None]
    kinds = [Modality("a", (2,)), Modality("digit", (1,), "categorical", levels=2)]
    vae, found = ppvae.method("m2", kinds, latent=1, hidden=[3]), []
    for times, weights in ((np.ones(6, int), counts), (counts, None)):
        rows = Dataset({"a": np.repeat(a, times, 0), "digit": np.repeat(digit, times, 0)}, modalities=kinds)
        state = ppvae.init(vae, rows, weights, backend="pyro", dtype="float64")
        found.append(ppvae.step(state, rows.batch())[1]["sites"]["the classifier"])
    assert found[0] == pytest.approx(found[1], rel=1e-12)
