"""Holes: what stands in one moves no loss and no gradient, to the last bit, on both backends."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import jax
import numpy as np
import pairs
import pytest
import torch
from torch import nn

import ppvae
from ppvae import VAE, Batch, Dataset, Modality, Program, dist, ops
from ppvae import pyro as pyro_words
from ppvae.backends import mirror, numpyro, pyro
from ppvae.inference import subset_questions
from ppvae.inference.questions import MANY, Question
from ppvae.language.modality import ELEMENTWISE, REALS
from ppvae.language.tokens import END, PADDING
from ppvae.training import fit as fitting

ITEMS, WIDTH = 6, 2
BACKENDS = ("pyro", "numpyro")
FEW = ("normal", "bernoulli", "categorical", "poisson", "negative_binomial")

both = pytest.mark.parametrize("backend", BACKENDS)


def families(method: str) -> tuple[str, ...]:
    """The likelihoods that a method is tried with: few where each pair of them is in the program."""
    return ELEMENTWISE if method == "mvae" else FEW


def modalities(chosen: Sequence[str] = ELEMENTWISE) -> list[Modality]:
    """One modality of each likelihood."""
    return [Modality(family, (WIDTH,), family, levels=3, center=0.5, spread=1.5) for family in chosen]


@cache
def complete() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    size = (ITEMS, WIDTH)
    drawn = {m.name: rng.normal(size=size) if m.top == np.inf else rng.random(size) for m in modalities()}
    whole = {m.name: min(m.top + 1, 6) for m in modalities() if m.name not in (*REALS, "continuous_bernoulli")}
    drawn |= {name: rng.integers(0, above, size) for name, above in whole.items()}
    return {name: values.astype(np.float32) for name, values in drawn.items()}


@cache
def seen(first: int) -> dict[str, np.ndarray]:
    """Masks per item for every other modality from ``first`` on, and per element for the rest.

    One item has everything, one nothing, and one modality is missing throughout.
    """
    rng = np.random.default_rng(1)
    by_item = ELEMENTWISE[first::2]
    masks = {name: rng.random(ITEMS if name in by_item else (ITEMS, WIDTH)) < 0.6 for name in ELEMENTWISE}
    for mask in masks.values():
        mask[0], mask[1] = True, False
    masks["poisson"][:] = False
    return masks


def over(mask: np.ndarray) -> np.ndarray:
    return mask.reshape(ITEMS, -1)


@cache
def state(backend: str, method: str) -> Any:
    chosen = families(method)
    vae = ppvae.method(method, modalities(chosen), latent=2, hidden=(3,))
    data = Dataset({name: complete()[name] for name in chosen}, modalities=modalities(chosen))
    return fitting.init(vae, data, backend=backend, device="cpu")


def loss_and_gradient(backend: str, method: str, arrays: Any, observed: Any) -> dict[str, np.ndarray]:
    """The loss, each site's share and the gradient, with arrays and masks handed to the programs as they are."""
    here = state(backend, method)
    engine = _engine(backend)
    with engine.environment(here.plan.settings):
        inputs = engine.put(arrays), engine.put(observed)
        found = _on_pyro(here, *inputs) if backend == "pyro" else _on_numpyro(here, *inputs)
    return {name: np.asarray(value) for name, value in found.items()}


def _on_pyro(here: Any, arrays: Any, observed: Any) -> dict[str, Any]:
    pyro.seed(0)
    here.pair.zero_grad(set_to_none=True)
    loss, shares = pyro.loss_by_site(here, Batch(arrays, observed), 1.0)
    loss.backward()
    gradients = {f"gradient {name}": p.grad for name, p in here.pair.named_parameters() if p.grad is not None}
    return {"loss": loss.detach(), **{name: share.detach() for name, share in shares.items()}, **gradients}


@cache
def _compiled(here: Any) -> Any:
    def both_parts(arrays: Any, observed: Any) -> dict[str, Any]:
        gradient = jax.value_and_grad(numpyro.loss_by_site, has_aux=True)
        batch = Batch(arrays, observed)
        (loss, shares), grads = gradient(here.params, here, batch, 1.0, jax.random.key(0), training=True)
        return {"loss": loss, **shares, **{f"gradient {name}": grad for name, grad in grads.items()}}

    return jax.jit(both_parts)


def _on_numpyro(here: Any, arrays: Any, observed: Any) -> dict[str, Any]:
    return _compiled(here)(arrays, observed)


CASES = [("mvae", 0), ("mvae", 1), ("mmvae", 0), ("mopoe", 0)]
DEAR = [("mvae", 1), ("mmvae", 0)]  # to compile


@pytest.mark.parametrize(
    ("method", "first", "backend"),
    [
        pytest.param(*case, backend, marks=[pytest.mark.slow] if backend == "numpyro" and case in DEAR else [])
        for case in CASES
        for backend in BACKENDS
    ],
)
def test_what_fills_a_hole_moves_no_loss_and_no_gradient(backend: str, method: str, first: int) -> None:
    masks = seen(first)

    def filled(value: float) -> dict[str, np.ndarray]:
        arrays = {name: np.where(over(masks[name]), array, np.float32(value)) for name, array in complete().items()}
        return loss_and_gradient(backend, method, arrays, masks)

    quiet = filled(0.0)
    assert np.isfinite(quiet["loss"])
    assert set(families(method)) < set(quiet) or "the bound" in quiet
    for nonsense in (1e9, np.nan, -np.inf):
        loud = filled(nonsense)
        for name, value in quiet.items():
            assert np.array_equal(value, loud[name]), name


@both
@pytest.mark.parametrize("method", ["mvae", "mmvae", "mopoe"])
def test_a_modality_that_nobody_has_counts_nothing_and_trains_nothing(backend: str, method: str) -> None:
    found = loss_and_gradient(backend, method, complete(), seen(0))
    assert found.get("poisson", 0) == 0, "a multi-sample bound has no share of one site"
    gradients = {name: value for name, value in found.items() if name.startswith("gradient")}
    absent = [name for name in gradients if ".poisson." in name]
    assert all(not gradients[name].any() for name in absent)
    for family in set(families(method)) - {"poisson"}:
        assert any(gradients[name].any() for name in gradients if f"guide.encoders.networks.{family}." in name)
        assert any(gradients[name].any() for name in gradients if f"model.likelihoods.{family}." in name)


@both
def test_an_all_zero_row_is_data(backend: str) -> None:
    masks, arrays = seen(0), {name: array.copy() for name, array in complete().items()}
    for array in arrays.values():
        array[0] = 0
    zero = loss_and_gradient(backend, "mvae", arrays, masks)
    hidden = {name: mask.copy() for name, mask in masks.items()}
    for mask in hidden.values():
        mask[0] = False
    missing = loss_and_gradient(backend, "mvae", arrays, hidden)
    for family in set(ELEMENTWISE) - {"poisson", "continuous_bernoulli"}:
        assert zero[family] < missing[family]
    assert zero["continuous_bernoulli"] != missing["continuous_bernoulli"]  # a density on 0..1 may be above one


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("nonsense", [1e9, np.nan])
def test_a_data_set_forgets_what_stood_in_its_holes(first: int, nonsense: float) -> None:
    masks = seen(first)

    def filled(value: float) -> Dataset:
        arrays = {name: np.where(over(masks[name]), array, np.float32(value)) for name, array in complete().items()}
        return Dataset(arrays, observed=masks, modalities=modalities())

    quiet, loud = filled(0.0), filled(nonsense)
    for name in ELEMENTWISE:
        assert np.array_equal(quiet.arrays[name], loud.arrays[name])
        assert np.array_equal(quiet.observed[name], loud.observed[name])
        assert np.array_equal(quiet.refitted().modalities[0].center, loud.refitted().modalities[0].center)
    assert np.array_equal(quiet.keys, loud.keys)


@pytest.mark.parametrize("backend", ["pyro", pytest.param("numpyro", marks=pytest.mark.slow)])
def test_a_step_on_rows_with_nonsense_in_their_holes_is_the_same_step(backend: str) -> None:
    chosen = ["normal", "categorical", "negative_binomial", "text"]
    texts = np.array([[END, PADDING], [4, END], [5, 4]] * 2, np.float32)
    whole, masks = complete() | {"text": texts}, seen(0) | {"text": np.arange(ITEMS) % 4 < 2}
    masks = {name: masks[name] for name in chosen}
    kinds = [m for m in modalities() if m.name in chosen]
    kinds.append(Modality("text", (WIDTH,), "autoregressive", levels=6, kind="text"))
    data = Dataset({name: whole[name] for name in chosen}, modalities=kinds)
    vae = ppvae.method("mvae", kinds, latent=2, hidden=(3,))
    begin, found = fitting.init(vae, data, backend=backend, device="cpu"), []
    start = _snapshot(backend, begin)
    for value in (0.0, 1e9, np.nan):
        arrays = {name: np.where(over(masks[name]), whole[name], np.float32(value)) for name in chosen}
        # Pyro trains in place; on NumPyro the same state again spares a compilation.
        fresh = begin if backend == "numpyro" else fitting.init(vae, data, backend=backend, device="cpu")
        after, info = ppvae.step(fresh, Batch(arrays, masks))
        found.append((info, _snapshot(backend, after).weights))
    for info, weights in found[1:]:
        assert info == found[0][0]
        assert all(np.array_equal(weights[name], found[0][1][name]) for name in weights)
    assert any(not np.array_equal(start.weights[name], weight) for name, weight in found[0][1].items())


SITES = {
    "one_hot": (lambda y: dist.OneHotCategorical(logits=y), np.eye(3)[[2, 1, 0, 1]]),
    "log_normal": (lambda y: dist.LogNormal(y, 1.0).to_event(1), np.array([[0.5, 1.0, 2.0]] * 4)),
    "gamma": (lambda y: dist.Gamma(ops.exp(y), 1.0).to_event(1), np.array([[0.5, 1.0, 2.0]] * 4)),
    "beta": (lambda y: dist.Beta(ops.exp(y), 1.0).to_event(1), np.array([[0.2, 0.5, 0.7]] * 4)),
    "uniform": (lambda y: dist.Uniform(0.1 * ops.sigmoid(y) + 0.1, 5.0).to_event(1), np.array([[0.5, 1.0, 2.0]] * 4)),
    "dirichlet": (lambda y: dist.Dirichlet(ops.exp(y)), np.array([[0.2, 0.5, 0.3]] * 4)),
}


class Site(Program):
    """z ~ Normal(0, 1);  x ~ a distribution in whose support there is no zero."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name, self.net = name, nn.Linear(1, 3).double()

    def forward(self, batch: Any) -> Any:
        make, _ = SITES[self.name]
        with batch.plate():
            z = pyro_words.sample("z", dist.Normal(0.0, 1.0).expand([1]).to_event(1))
            return pyro_words.sample("x", make(self.net(z)), obs=batch.get("x"))


class Prior(Program):
    """z ~ Normal(0, scale)."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(1.0, dtype=torch.float64))

    def forward(self, batch: Any) -> Any:
        with batch.plate():
            return pyro_words.sample("z", dist.Normal(0.0, self.scale).expand([1]).to_event(1))


@pytest.mark.parametrize("name", SITES)
def test_a_hole_may_lie_outside_the_support(name: str) -> None:
    values = np.where(np.array([False, True, False, False])[:, None], np.nan, SITES[name][1])
    kinds = [Modality("x", (3,))]
    data, vae = Dataset({"x": values}, modalities=kinds), VAE(Site(name), Prior())
    assert ppvae.parity(vae, data.batch(), dtype="float64")["ok"]
    for backend in BACKENDS:
        weights = pairs.fitted(vae, kinds, backend).log_weights(data, particles=7)
        assert np.isfinite(weights).all()
        assert np.abs(weights[:, 1]).max() < 1e-12
        assert np.abs(weights[:, [0, 2, 3]]).max(0).min() > 1e-3  # some draw of each item that is there
    trained = ppvae.fit(vae, data, epochs=2, backend="pyro", dtype="float64", batch_size=4)
    assert all(np.isfinite(weight).all() for weight in trained.snapshot.weights.values())


def test_a_category_is_imputed_as_a_category() -> None:
    kinds = [m for m in modalities() if m.name in ("normal", "categorical")]
    holes = {"categorical": seen(0)["categorical"]}
    data = Dataset({m.name: complete()[m.name] for m in kinds}, holes, modalities=kinds)
    vae = ppvae.method("mvae", kinds, latent=2, hidden=(3,))
    made = ppvae.fit(vae, data, epochs=1, backend="pyro").impute(data, draws=9)["categorical"]
    assert set(np.unique(made)) <= {0.0, 1.0, 2.0}
    kept = np.broadcast_to(over(holes["categorical"]), made.shape)
    np.testing.assert_array_equal(made[kept], complete()["categorical"][kept])


def _engine(backend: str) -> Any:
    return {"pyro": pyro, "numpyro": numpyro}[backend]


def _snapshot(backend: str, here: Any) -> Any:
    return _engine(backend).export(here)


class Noted(nn.Linear):
    """Notes the runs of its compiled program."""


class Dithered(nn.Linear):
    """Draws."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) + 0 * torch.rand_like(x)


NOTES: list[str] = []


@mirror.layer(Noted)
def noted(module: Noted, p: Any, x: Any) -> Any:
    jax.debug.callback(lambda: NOTES.append("run"))
    return x @ p["weight"].T + p["bias"]


@pytest.mark.parametrize("given", [["a"], ["b"], ["a", "b"]])
def test_what_an_item_does_not_show_is_not_decoded_for_its_weights(given: list[str]) -> None:
    kinds = [
        Modality("a", (2,), decoder=lambda latent: Noted(latent, 2)),
        Modality("b", (2,), decoder=lambda latent: Dithered(latent, 2)),
    ]
    run = pairs.fitted(pairs.untrained(ppvae.method("mvae", kinds, latent=2, hidden=(3,))), kinds, "numpyro")
    values = np.random.default_rng(0).normal(size=(2, 3, 2))
    data = Dataset({"a": values[0], "b": values[1]}, {"b": np.array([True, True, False])})
    question = Question(subset_questions.log_weights, MANY)
    NOTES.clear()
    found = subset_questions.ask(run, question, data, given)["log_weights"]
    jax.effects_barrier()
    assert len(NOTES) == (3 if "a" in given else 0)
    np.testing.assert_allclose(found, run.log_weights(data, given, MANY), rtol=1e-10)
