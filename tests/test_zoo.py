"""Every row of the zoo keeps the same contract, on both backends."""

from __future__ import annotations

import numpy as np
import pytest

import ppvae
from ppvae import Modality
from ppvae.zoo import METHODS

BACKENDS = ["pyro", "numpyro"]
SMALL = {"latent": 3, "hidden": (16,)}


@pytest.fixture(scope="module")
def mfeat():
    """A ragged corner of mfeat: some rows lack a view, one lacks a few of its elements."""
    whole = ppvae.datasets.load("mfeat").take(slice(0, 2000, 20))
    arrays = {name: whole.arrays[name] for name in ("kar", "pix", "mor")}
    observed = {"kar": np.ones((100, 64), bool), "mor": np.arange(100) % 4 > 0}
    observed["kar"][:10] = False
    observed["kar"][10, 5:] = False
    modalities = [m for m in whole.modalities if m.name in arrays]
    return ppvae.Dataset(arrays, observed, modalities=modalities).refitted()


@pytest.fixture(scope="module", params=list(METHODS))
def method(request):
    return request.param


@pytest.fixture(scope="module", params=BACKENDS)
def fitted(request, method, mfeat):
    vae = ppvae.method(method, mfeat.modalities, **SMALL)
    return ppvae.fit(vae, mfeat, backend=request.param, epochs=12, batch_size=25, lr=0.01)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_both_backends_give_the_same_densities_and_gradients(method, mfeat, dtype):
    vae = ppvae.method(method, mfeat.modalities, **SMALL)
    report = ppvae.parity(vae, mfeat.batch(slice(0, 30)), dtype=dtype)
    limits = {"float32": (1e-5, 1e-4), "float64": (1e-10, 1e-9)}[dtype]
    assert set(report["sites"]) == {"z", "guide z", *mfeat.arrays}
    assert set(report["parameters"]) == {n for n, p in vae.pair.named_parameters() if p.requires_grad}
    assert report["max_logprob_difference"] <= limits[0]
    assert report["max_gradient_difference"] <= limits[1]
    assert report["ok"]


@pytest.mark.parametrize("likelihood", ppvae.modality.LIKELIHOODS)
def test_both_backends_agree_on_every_likelihood_with_holes(likelihood):
    generator = np.random.default_rng(0)
    x = generator.integers(0, 2, size=(12, 2, 3)).astype(float)
    modality = Modality("x", (2, 3), likelihood, levels=2 if likelihood == "categorical" else None)
    data = ppvae.Dataset({"x": x}, {"x": generator.random((12, 2, 3)) < 0.7}, modalities=[modality]).refitted()
    for scale in (None, 0.7) if likelihood in ("normal", "laplace") else (None,):
        modalities = [Modality(**{**data.modalities[0].__dict__, "scale": scale})]
        assert ppvae.parity(ppvae.method("mvae", modalities, **SMALL), data.batch(), dtype="float64")["ok"]


def test_training_lowers_the_loss_and_moves_every_parameter(fitted, mfeat):
    losses = [entry["loss"] for entry in fitted.history]
    assert np.isfinite(losses).all()
    assert losses[-1] < losses[0]
    fresh = ppvae.method(fitted.vae.recipe["method"], mfeat.modalities, **SMALL)
    trained = dict(fitted.vae.pair.named_parameters())
    still = [name for name, p in fresh.pair.named_parameters() if p.equal(trained[name])]
    assert still == []


def test_a_saved_run_gives_the_same_answers_when_loaded(fitted, mfeat, tmp_path):
    fitted.save(tmp_path / "run")
    loaded = ppvae.load(tmp_path / "run")
    rows = mfeat.take(slice(0, 14))
    for question in (lambda run: run.encode(rows, draws=2)["z"], lambda run: run.log_weights(rows, particles=5)):
        np.testing.assert_array_equal(question(loaded), question(fitted))
    assert loaded.history == list(fitted.history)


def test_every_subset_of_views_can_be_asked_on_ragged_rows(fitted, mfeat):
    rows = mfeat.take(slice(6, 16))
    assert fitted.encode(rows, ["kar"], draws=3)["z"].shape == (3, 10, 3)
    for given in (["kar", "pix", "mor"], ["mor"], []):
        evidence = fitted.log_evidence(rows, given, particles=20)
        assert np.isfinite(evidence).all()
        seen_nothing = ~np.any([mfeat.batch(slice(6, 16)).present(name).numpy() for name in given], axis=0)
        assert (np.abs(evidence[np.broadcast_to(seen_nothing, 10)]) < 1e-3).all(), "nothing seen has probability one"
    asked = fitted.query(rows, given=["pix"], ask=["kar", "mor"], draws=2)
    assert {name: values.shape for name, values in asked.items()} == {"kar": (2, 10, 64), "mor": (2, 10, 6)}


def test_imputing_keeps_what_was_measured_and_fills_the_rest(fitted, mfeat):
    filled = fitted.impute(mfeat.take(slice(0, 14)), draws=5)
    for name, values in filled.items():
        assert np.isfinite(values).all()
        seen = mfeat.batch(slice(0, 14)).mask(name)
        kept = np.ones(14, bool) if seen is None else seen.numpy()
        np.testing.assert_array_equal(values[kept], mfeat.arrays[name][:14][kept])


def test_an_unknown_method_or_option_is_one_sentence(mfeat):
    with pytest.raises(ValueError, match="unknown method 'mvea'; choose one of vae, mvae"):
        ppvae.method("mvea", mfeat.modalities)
    with pytest.raises(ValueError, match="no option 'lattent'"):
        ppvae.method("mvae", mfeat.modalities, lattent=3)


def test_initial_weights_follow_the_seed(mfeat):
    weights = [ppvae.method("mvae", mfeat.modalities, seed=seed, **SMALL).pair.state_dict() for seed in (1, 1, 2)]
    name = "model.likelihoods.kar.decoder.0.weight"
    assert weights[0][name].equal(weights[1][name])
    assert not weights[0][name].equal(weights[2][name])
