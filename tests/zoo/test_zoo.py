"""Every row of the zoo keeps the same contract, on both backends."""

from __future__ import annotations

import importlib
import itertools
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch

import ppvae
from ppvae import Batch, Dataset, Modality, objectives
from ppvae.backends import pyro
from ppvae.backends.devices.in_torch import Resident
from ppvae.datasets.lagged import lagged
from ppvae.language.modality import REALS
from ppvae.runs.plan import Pace
from ppvae.training import fit as fitting
from ppvae.zoo.table import METHODS

BACKENDS = ["pyro", "numpyro"]
GPU = pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU here"))
SMALL = {"latent": 3, "hidden": (16,)}
CHEAP = {"channels": (8,), "draws": 2, "private": 2, "clusters": 3, "levels": 2}
EPOCHS, ROWS, VIEWS = 12, 100, ("kar", "pix", "mor")

every_method = pytest.mark.parametrize("method", list(METHODS))


@cache
def corner(labelled: bool = False) -> Dataset:
    """A ragged corner of mfeat: some rows lack a view, one lacks a few of its elements; digits as a view if asked."""
    whole = ppvae.datasets.load("mfeat").take(slice(0, 2000, 2000 // ROWS))
    arrays = {name: whole.arrays[name] for name in VIEWS}
    observed = {"kar": np.ones((ROWS, 64), bool), "mor": np.arange(ROWS) % 4 > 0}
    observed["kar"][:10] = False
    observed["kar"][10, 5:] = False
    modalities = [m for m in whole.modalities if m.name in arrays]
    if labelled:
        arrays["digit"] = whole.labels["digit"][:, None].astype(float)
        observed["digit"] = np.arange(ROWS) % 3 > 0
        modalities.append(Modality("digit", (1,), "categorical", levels=10))
    return Dataset(arrays, observed, modalities=modalities).refitted()


@cache
def late() -> Dataset:
    """Two short series, one of them after a lag that is known of some rows."""
    return lagged(ROWS, times=8, lags=3, seed=0).only(["a", "b", "b_lag"])


def data_for(method: str, backend: str = "pyro") -> Dataset:
    """What a method is tried on; one view less where NumPyro trains on it, which compiles every subset of the views."""
    if method == "delayed":
        return late()
    data = corner(labelled=method == "m2")
    return data if backend == "pyro" else data.only([name for name in data.arrays if name != "pix"])


def fresh(method: str, backend: str = "pyro", **options: Any) -> ppvae.VAE:
    """The method, small: the options among ``CHEAP`` that it takes, and few units."""
    known = ppvae.zoo.build.options_of(method)
    cheap = {key: value for key, value in {**SMALL, **CHEAP}.items() if key in known}
    return ppvae.method(method, data_for(method, backend).modalities, **{**cheap, **options})


@cache
def trained(method: str, backend: str) -> ppvae.inference.fitted.Fitted:
    vae, data = fresh(method, backend), data_for(method, backend)
    return ppvae.fit(vae, data, backend=backend, epochs=EPOCHS, batch_size=25, lr=0.01)


@pytest.fixture(scope="module", params=list(METHODS))
def method(request):
    return request.param


@pytest.fixture(scope="module", params=BACKENDS)
def fitted(request, method):
    return trained(method, request.param)


@cache
def every_subset(method: str, backend: str) -> Dataset:
    """One item once for every subset of its views, the empty one too, and a few ragged rows."""
    data = data_for(method, backend)
    one, names = data.take([40]), list(data.arrays)
    chosen = [subset for size in range(len(names) + 1) for subset in itertools.combinations(names, size)]
    arrays = {name: np.repeat(one.arrays[name], len(chosen), 0) for name in names}
    observed = {name: np.array([name in subset for subset in chosen]) for name in names}
    ragged = data.take(slice(6, 14))
    seen = {name: ragged.observed.get(name, np.ones(8, bool)) for name in names}
    arrays = {name: np.concatenate([arrays[name], ragged.arrays[name]]) for name in names}
    observed = {name: np.concatenate([shaped(observed[name], seen[name]), seen[name]]) for name in names}
    return Dataset(arrays, observed, modalities=data.modalities)


def shaped(rows: np.ndarray, like: np.ndarray) -> np.ndarray:
    return np.broadcast_to(rows.reshape(-1, *(1,) * (like.ndim - 1)), (len(rows), *like.shape[1:]))


@every_method
@pytest.mark.parametrize("dtype", [pytest.param("float32", marks=pytest.mark.slow), "float64"])
def test_both_backends_give_the_same_densities_and_gradients(method, dtype):
    vae = fresh(method)
    report = ppvae.parity(vae, data_for(method).batch(slice(0, 30)), dtype=dtype)
    limits = {"float32": (1e-5, 1e-4), "float64": (1e-10, 1e-9)}[dtype]
    assert set(report["sites"]) >= set(data_for(method).arrays) - set(vae.model.conditions)
    assert set(report["parameters"]) == {n for n, p in vae.pair.named_parameters() if p.requires_grad}
    assert report["max_logprob_difference"] <= limits[0]
    assert report["max_gradient_difference"] <= limits[1]
    assert report["ok"]


@pytest.mark.parametrize("likelihood", ppvae.language.modality.ELEMENTWISE)
def test_both_backends_agree_on_every_likelihood_with_holes(likelihood):
    generator = np.random.default_rng(0)
    x = generator.integers(0, 2, size=(12, 2, 3)).astype(float)
    modality = Modality("x", (2, 3), likelihood, levels=2 if likelihood == "categorical" else None)
    data = ppvae.Dataset({"x": x}, {"x": generator.random((12, 2, 3)) < 0.7}, modalities=[modality]).refitted()
    for scale in (None, 0.7) if likelihood in (*REALS, "logistic") else (None,):
        modalities = [Modality(**{**data.modalities[0].__dict__, "scale": scale})]
        assert ppvae.parity(ppvae.method("mvae", modalities, **SMALL), data.batch(), dtype="float64")["ok"]


def test_training_lowers_the_loss_of_every_stage_and_moves_every_parameter(fitted, method):
    losses = np.array([entry["loss"] for entry in fitted.history])
    stages = objectives.stages(fitted.vae.objective)
    turns = np.array([objectives.stage_at(stages, epoch, EPOCHS) for epoch in range(EPOCHS)])
    assert np.isfinite(losses).all()
    for stage in range(len(stages)):
        assert losses[turns == stage][-1] < losses[turns == stage][0]
    trained = dict(fitted.vae.pair.named_parameters())
    assert all(np.isfinite(p.detach().numpy()).all() for p in trained.values())
    before = fresh(method, fitted.settings.backend).pair.named_parameters()
    still = [name for name, p in before if p.requires_grad and p.equal(trained[name])]
    assert still == []


def test_a_saved_run_gives_the_same_answers_when_loaded(fitted, method, tmp_path):
    fitted.save(tmp_path / "run")
    loaded, rows = ppvae.load(tmp_path / "run"), every_subset(method, fitted.settings.backend)
    if fitted.settings.backend == "pyro":  # on NumPyro compiling the model as well takes twice as long
        np.testing.assert_array_equal(loaded.log_weights(rows, particles=3), fitted.log_weights(rows, particles=3))
    for name, drawn in loaded.encode(rows, draws=3).items():
        np.testing.assert_array_equal(drawn, fitted.encode(rows, draws=3)[name])
    assert loaded.history == list(fitted.history)
    assert all(p.equal(loaded.vae.pair.state_dict()[name]) for name, p in fitted.vae.pair.state_dict().items())


def test_every_subset_and_every_ragged_row_is_answered(fitted, method):
    rows = every_subset(method, fitted.settings.backend)
    drawn, weights = fitted.encode(rows, draws=3), fitted.log_weights(rows, particles=3)
    assert all(value.shape[:2] == (3, len(rows)) and np.isfinite(value).all() for value in drawn.values())
    assert np.isfinite(weights).all()
    ask = [name for name in rows.arrays if name not in fitted.vae.model.conditions]
    asked = fitted.query(rows, ask=ask, draws=2)
    assert {name: values.shape for name, values in asked.items()} == {
        name: (2, *rows.arrays[name].shape) for name in ask
    }
    assert all(np.isfinite(values).all() for values in asked.values())


def test_answers_depend_on_the_item_alone(fitted, method):
    rows, close = every_subset(method, fitted.settings.backend), {"rtol": 1e-4, "atol": 1e-4}
    order, some = np.random.default_rng(0).permutation(len(rows)), [3, 9]
    for name, value in fitted.encode(rows, draws=3).items():
        np.testing.assert_allclose(fitted.encode(rows.take(order), draws=3)[name], value[:, order], **close)
    weights = fitted.log_weights(rows, particles=3)
    np.testing.assert_allclose(fitted.log_weights(rows.take(order), particles=3), weights[:, order], **close)
    np.testing.assert_allclose(fitted.log_weights(rows.take(some), particles=3), weights[:, some], **close)


def test_new_items_are_drawn_of_everything_that_the_model_explains(fitted, method):
    data = data_for(method, fitted.settings.backend)
    drawn = fitted.generate(5, seed=1)
    assert {name: x.shape[1:] for name, x in drawn.items()} == {
        m.name: m.shape for m in data.modalities if m.name not in fitted.vae.model.conditions
    }
    assert all(len(x) == 5 and np.isfinite(x).all() for x in drawn.values())


@every_method
@pytest.mark.parametrize("backend", ["pyro", pytest.param("numpyro", marks=pytest.mark.slow)])
def test_what_stands_in_a_hole_moves_no_step(method, backend):
    data, engine = data_for(method), importlib.import_module(f"ppvae.backends.{backend}")
    rows, found = np.arange(4, 16), []
    vae = fresh(method)
    state = fitting.init(vae, data, backend=backend, device="cpu")
    for nonsense in (0.0, 1e9, np.nan):
        arrays, observed = {}, {}
        for name, array in data.arrays.items():
            seen = data.observed.get(name, np.ones(ROWS, bool))[rows]
            wide = seen.reshape(seen.shape + (1,) * (array.ndim - seen.ndim))
            arrays[name], observed[name] = np.where(wide, array[rows], nonsense), seen
        # Pyro trains in place; on NumPyro the same state again spares a compilation.
        start = state if backend == "numpyro" else fitting.init(vae, data, backend=backend, device="cpu")
        after, info = ppvae.step(start, Batch(arrays, observed))
        found.append((info, engine.export(after).weights))
    for info, weights in found[1:]:
        assert info == found[0][0]
        assert all(np.array_equal(weights[name], found[0][1][name]) for name in weights)


@every_method
def test_no_step_on_pyro_reads_a_number_from_the_device(method):
    """On torch's device without memory reading raises; on a GPU the host would wait there for all that runs."""
    data = data_for(method)
    state = fitting.init(fresh(method), data, backend="pyro", device="cpu")
    with pyro.environment(state.plan.settings), pyro.pyro.validation_enabled(False), Resident("meta"):
        state.pair.to("meta")
        arrays, observed = (
            {k: torch.as_tensor(x, device="meta") for k, x in g.items()} for g in (data.arrays, data.observed)
        )
        batch = Batch({k: x.to(torch.float32) for k, x in arrays.items()}, observed, len(data))
        for stage in range(state.plan.stages):
            loss, shares = pyro.loss_by_site(replace(state, stage=stage), batch, 1.0)
            loss.backward()
            assert shares


@every_method
@pytest.mark.parametrize("device", ["cpu", GPU])
def test_steps_on_pyro_that_are_recorded_have_the_bits_of_those_that_are_not(method, device, monkeypatch):
    """Losses, shares, gradients' norms, and so weights, in every stage."""
    data, rows = data_for(method), np.arange(60).reshape(3, 20)
    monkeypatch.setattr(pyro.recorded, "AFTER", 0)
    state = fitting.init(fresh(method), data, backend="pyro", device=device, batch_size=20)
    with pyro.environment(state.plan.settings):
        arrays, observed = pyro.put(data.arrays), pyro.put(data.observed)
    pace = Pace(np.ones(3, np.float32), np.ones(3, np.float32))
    start = pyro.export(state)
    for stage in range(state.plan.stages):
        told = []
        for recordings in (None, {}):
            state = replace(pyro.enter(pyro.restore(state, start), stage), recordings=recordings)
            told.append(pyro.epoch(state, arrays, observed, rows, rows, pace)[1])
        assert [type(held) for held in recordings.values()] == [pyro.recorded.Recording]
        np.testing.assert_array_equal(told[0].gradient_norm, told[1].gradient_norm)
        for name, share in told[0].shares.items():
            np.testing.assert_array_equal(share, told[1].shares[name])


def test_an_unknown_method_or_option_is_one_sentence():
    with pytest.raises(ValueError, match="unknown method 'mvea'; choose one of vae, mvae"):
        ppvae.method("mvea", corner().modalities)
    with pytest.raises(ValueError, match="no option 'lattent'"):
        ppvae.method("mvae", corner().modalities, lattent=3)


def test_initial_weights_follow_the_seed():
    weights = [fresh("mvae", seed=seed).pair.state_dict() for seed in (1, 1, 2)]
    name = "model.likelihoods.kar.decoder.0.weight"
    assert weights[0][name].equal(weights[1][name])
    assert not weights[0][name].equal(weights[2][name])


def test_imputing_keeps_what_was_measured_and_fills_the_rest():
    rows = data_for("mopoe", "numpyro").take(slice(0, 14))
    for name, values in trained("mopoe", "numpyro").impute(rows, draws=5).items():
        assert np.isfinite(values).all()
        seen = rows.batch().mask(name)
        kept = np.ones(14, bool) if seen is None else seen.numpy()
        np.testing.assert_array_equal(values[kept], rows.arrays[name][kept])
