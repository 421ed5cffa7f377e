"""Posterior: an item's answers depend on the item alone, and answers come in the shapes that were asked for."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import logsumexp

import ppvae
from ppvae import Dataset, Modality
from ppvae.inference import chunks
from ppvae.inference.fitted import Fitted

BACKENDS = ("pyro", "numpyro")
ITEMS, LATENT, DRAWS = 8, 2, 3
COMPLETE = [0, 3]

both = pytest.mark.parametrize("backend", BACKENDS)


@cache
def data() -> Dataset:
    """Rows with every pattern of holes in one batch; the last is a copy of the one before."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(ITEMS, 3)), rng.integers(0, 2, size=(ITEMS, 2)).astype(float)
    x[1, 2], x[2], y[4, 0], y[5] = np.nan, np.nan, np.nan, np.nan
    x[6, 1], y[6] = np.nan, np.nan
    x[7], y[7] = x[6], y[6]
    return Dataset({"x": x, "y": y}, modalities=[Modality("x", (3,)), Modality("y", (2,), "bernoulli")])


@cache
def fitted(backend: str) -> Fitted:
    vae = ppvae.method("mopoe", data().modalities, latent=LATENT, hidden=(4,))
    return ppvae.fit(vae, data(), backend=backend, epochs=2, batch_size=4, lr=0.01, progress=False, device="cpu")


Ask = Callable[[Fitted, Dataset], dict[str, np.ndarray]]
QUESTIONS: dict[str, Ask] = {
    "encode": lambda pair, rows: pair.encode(rows, draws=DRAWS),
    "query": lambda pair, rows: pair.query(rows, draws=DRAWS),
    "log_weights": lambda pair, rows: {"log_weights": pair.log_weights(rows, particles=DRAWS)},
}

every_question = pytest.mark.parametrize("question", QUESTIONS)


@cache
def answer(backend: str, question: str) -> dict[str, np.ndarray]:
    return QUESTIONS[question](fitted(backend), data())


def same(found: dict[str, np.ndarray], expected: dict[str, np.ndarray], rows: Any) -> None:
    assert set(found) == set(expected)
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values[:, rows], rtol=1e-5, atol=1e-5)


@both
@every_question
def test_permuting_rows_permutes_answers(backend: str, question: str) -> None:
    order = np.array([4, 2, 0, 6, 1, 7, 3, 5])
    same(QUESTIONS[question](fitted(backend), data().take(order)), answer(backend, question), order)


@both
@pytest.mark.parametrize("question", ["query", "log_weights"])
def test_answers_do_not_depend_on_how_rows_are_chunked(
    backend: str, question: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunks, "ROWS", 3 * DRAWS)
    same(QUESTIONS[question](fitted(backend), data()), answer(backend, question), slice(None))


@both
@pytest.mark.parametrize("question", ["query", "log_weights"])
def test_rows_answer_alone_as_they_do_among_rows_with_other_holes(backend: str, question: str) -> None:
    same(QUESTIONS[question](fitted(backend), data().take(COMPLETE)), answer(backend, question), COMPLETE)


@both
@every_question
def test_answers_have_a_draw_an_item_and_an_event(backend: str, question: str) -> None:
    shapes = {name: values.shape for name, values in answer(backend, question).items()}
    expected = {
        "encode": {"z": (DRAWS, ITEMS, LATENT)},
        "query": {"x": (DRAWS, ITEMS, 3), "y": (DRAWS, ITEMS, 2)},
        "log_weights": {"log_weights": (DRAWS, ITEMS)},
    }
    assert shapes == expected[question]


@both
def test_copies_of_a_row_get_draws_of_their_own(backend: str) -> None:
    z = answer(backend, "encode")["z"]
    assert not np.isclose(z[:, 6], z[:, 7]).any()


@both
def test_every_item_and_draw_differs(backend: str) -> None:
    z = answer(backend, "encode")["z"].reshape(-1, LATENT)
    assert len(np.unique(z[:, 0])) == DRAWS * ITEMS


@both
def test_a_seed_reproduces_draws_and_another_changes_them(backend: str) -> None:
    pair = fitted(backend)
    first = answer(backend, "encode")["z"]
    assert np.array_equal(pair.encode(data(), draws=DRAWS, seed=0)["z"], first)
    assert not np.isclose(pair.encode(data(), draws=DRAWS, seed=1)["z"], first).any()


@both
def test_blocks_of_draws_do_not_repeat_each_other(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "DRAWS", DRAWS)
    z = fitted(backend).encode(data(), draws=2 * DRAWS)["z"]
    assert z.shape == (2 * DRAWS, ITEMS, LATENT)
    np.testing.assert_allclose(z[:DRAWS], answer(backend, "encode")["z"], rtol=1e-6)
    assert len(np.unique(z[..., 0])) == z[..., 0].size


@both
def test_log_evidence_does_not_depend_on_rows_or_chunks(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = fitted(backend).log_evidence(data(), particles=DRAWS)
    monkeypatch.setattr(chunks, "ROWS", 3 * DRAWS)
    order = [5, 1, 7, 0]
    np.testing.assert_allclose(fitted(backend).log_evidence(data(), particles=DRAWS), whole, rtol=1e-5, atol=1e-5)
    patterns = data().take([6, *order, 7, 2, 3])
    rows = [6, 5, 1, 7, 0, 2, 3]
    found = fitted(backend).log_evidence(patterns, particles=DRAWS)
    np.testing.assert_allclose(np.delete(found, 5), whole[rows], rtol=1e-5, atol=1e-5)


@both
def test_elbo_and_evidence_are_the_means_of_the_weights(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "DRAWS", DRAWS)
    monkeypatch.setattr(chunks, "ROWS", 3 * DRAWS)
    weights = fitted(backend).log_weights(data(), particles=3 * DRAWS)
    elbo, evidence = fitted(backend).elbo_and_evidence(data(), particles=3 * DRAWS)
    np.testing.assert_allclose(elbo, weights.mean(0), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(evidence, logsumexp(weights, axis=0) - np.log(3 * DRAWS), rtol=1e-5, atol=1e-5)


def test_memory_of_elbo_and_evidence_does_not_grow_with_particles_times_items() -> None:
    rng = np.random.default_rng(2)
    many = Dataset({"x": rng.normal(size=(3000, 3)), "y": np.zeros((3000, 2))}, modalities=data().modalities)

    def found() -> Any:
        return fitted("numpyro").elbo_and_evidence(many, particles=500)

    found()  # compiles, which takes memory too
    tracemalloc.start()
    found()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 500 * 3000 * 4 / 2, "half of what the weights take"


def test_it_shows_itself_in_a_line() -> None:
    run = fitted("pyro")
    last = f"{len(run.history)} epochs, loss {run.history[-1]['loss']:.6g}"
    assert repr(run) == f"Fitted(mopoe on pyro, {last}: x, y)"
    own = ppvae.VAE(run.vae.model, run.vae.guide)
    assert repr(replace(run, vae=own, history=[])) == "Fitted(Joint with MixtureOfProducts on pyro, 0 epochs: x, y)"


@both
def test_generate_is_reproducible_and_items_do_not_depend_on_how_many(backend: str) -> None:
    pair = fitted(backend)
    drawn = pair.generate(6, seed=1)
    assert {name: values.shape for name, values in drawn.items()} == {"x": (6, 3), "y": (6, 2)}
    assert np.array_equal(pair.generate(6, seed=1)["x"], drawn["x"])
    assert not np.isclose(pair.generate(6, seed=2)["x"], drawn["x"]).any()
    np.testing.assert_allclose(pair.generate(4, seed=1)["x"], drawn["x"][:4], rtol=1e-5)
    assert len(np.unique(drawn["x"])) == 18


@both
def test_a_generated_item_may_be_measured_several_times(backend: str) -> None:
    drawn = fitted(backend).generate(3, draws=5)
    assert drawn["x"].shape == (5, 3, 3)
    assert len(np.unique(drawn["x"])) == 45


@both
def test_what_is_given_narrows_and_what_is_asked_selects(backend: str) -> None:
    found = fitted(backend).query(data(), given=["y"], ask=["x"], draws=DRAWS)
    assert set(found) == {"x"}
    np.testing.assert_allclose(found["x"][:, 2], answer(backend, "query")["x"][:, 2], rtol=1e-5)  # it has y alone
    assert not np.allclose(found["x"][:, 0], answer(backend, "query")["x"][:, 0])


@both
def test_answers_stand_in_the_order_of_the_modalities(backend: str) -> None:
    turned = Dataset({name: data().holed(name) for name in ("y", "x")}, modalities=data().modalities[::-1])
    vae = ppvae.method("mopoe", turned.modalities, latent=LATENT, hidden=(4,))
    run = ppvae.fit(vae, turned, backend=backend, epochs=0, progress=False, device="cpu")
    assert list(run.query(turned)) == list(run.generate(2)) == list(run.impute(turned)) == ["y", "x"]


def test_data_without_a_modality_answer_about_it() -> None:
    without = Dataset({"y": data().arrays["y"]}, {"y": data().observed["y"]}, modalities=[data().modalities[1]])
    assert fitted("pyro").query(without, ask=["x"], draws=DRAWS)["x"].shape == (DRAWS, ITEMS, 3)


@both
def test_imputing_fills_holes_with_the_mean_of_draws_and_leaves_data_alone(backend: str) -> None:
    pair = fitted(backend)
    filled, drawn = pair.impute(data(), draws=DRAWS), answer(backend, "query")
    for name, array in data().arrays.items():
        mask = data().observed[name].reshape(ITEMS, -1)
        expected = np.where(mask, array, drawn[name].mean(0))
        np.testing.assert_allclose(filled[name], expected, rtol=1e-5, atol=1e-6)


def test_a_fitted_pair_answers_alike_on_the_other_backend() -> None:
    here = fitted("numpyro")
    there = here.to("pyro")
    assert (here.settings.backend, there.settings.backend) == ("numpyro", "pyro")
    assert there.to("numpyro").settings == here.settings
    weights = [pair.log_weights(data(), particles=1000) for pair in (here, there)]
    ratios = [np.exp(w - weights[0].max(0)) for w in weights]
    error = np.sqrt(sum(r.var(0) / r.shape[0] for r in ratios))
    assert (np.abs(ratios[0].mean(0) - ratios[1].mean(0)) < 4.5 * error).all()
    assert (error < 0.5 * ratios[0].mean(0)).all()


@pytest.mark.parametrize("posterior", ["guide", "corrected"])
def test_what_is_no_data_set_is_told(posterior: str) -> None:
    pair = fitted("pyro")
    for ask in (pair.encode, pair.query, pair.log_evidence, pair.impute):
        with pytest.raises(TypeError, match=r"a data set, not a dict: give ppvae\.Dataset\(arrays"):
            ask({"x": np.zeros((4, 3))}, posterior=posterior)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"given": ["z"]}, "unknown modality 'z'; this run knows x, y"),
        ({"ask": ["x", "w"]}, "unknown modality 'w'; this run knows x, y"),
    ],
)
def test_an_unknown_modality_is_refused(options: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        fitted("pyro").query(data(), **options)


def test_data_that_lack_what_is_given_or_have_another_shape_are_refused() -> None:
    only = Dataset({"x": data().arrays["x"]})
    with pytest.raises(ValueError, match="the data has no modality 'y'; it has x"):
        fitted("pyro").encode(only, given=["y"])
    with pytest.raises(ValueError, match=r"modality 'x' has items of shape \(2,\)"):
        fitted("pyro").encode(Dataset({"x": np.zeros((4, 2))}))


@pytest.mark.parametrize(("options", "said"), [({"draws": 0}, "0 draws of 8 items"), ({"seed": -1}, "seed is -1")])
def test_nothing_and_an_impossible_seed_are_refused(options: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        fitted("pyro").encode(data(), **options)
    with pytest.raises(ValueError, match="1 draws of 0 items"):
        fitted("pyro").generate(0)


@both
def test_asking_leaves_the_weights_and_the_random_state_alone(backend: str) -> None:
    pair = fitted(backend)
    before = {name: weight.clone() for name, weight in pair.vae.pair.state_dict().items()}
    torch.manual_seed(5)
    state = torch.get_rng_state()
    pair.encode(data(), draws=DRAWS)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(before[name], weight) for name, weight in pair.vae.pair.state_dict().items())


def test_modalities_of_a_run_without_arrays_are_told() -> None:
    with pytest.raises(ValueError, match=r"names \['y'\], .*: give \[m for m in fitted.modalities if m.name in arrays"):
        ppvae.Dataset({"x": np.ones((2, 3))}, modalities=fitted("pyro").modalities)
