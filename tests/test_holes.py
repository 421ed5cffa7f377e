"""Holes: what stands in one moves no loss and no gradient, to the last bit, on both backends."""

from __future__ import annotations

from functools import cache
from typing import Any

import jax
import numpy as np
import pytest

import ppvae
from ppvae import Batch, Dataset, Modality, fitting
from ppvae.backends import numpyro, pyro
from ppvae.modality import LIKELIHOODS

ITEMS, WIDTH = 6, 2
BACKENDS = ("pyro", "numpyro")
GUIDES = {"product": "mvae", "mixture": "mmvae", "mixture_of_products": "mopoe"}

both = pytest.mark.parametrize("backend", BACKENDS)
every_guide = pytest.mark.parametrize("method", GUIDES.values(), ids=GUIDES)


def modalities() -> list[Modality]:
    """One modality of each likelihood."""
    return [Modality(family, (WIDTH,), family, levels=3, center=0.5, spread=1.5) for family in LIKELIHOODS]


@cache
def complete() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    whole = {"bernoulli": 2, "categorical": 3, "poisson": 6, "negative_binomial": 6}
    size = (ITEMS, WIDTH)
    return {
        name: (rng.integers(0, whole[name], size) if name in whole else rng.normal(size=size)).astype(np.float32)
        for name in LIKELIHOODS
    }


@cache
def seen(kind: str) -> dict[str, np.ndarray]:
    """Masks per item or per element; one item has everything, one nothing, and one modality is missing throughout."""
    rng = np.random.default_rng(1)
    masks = {name: rng.random((ITEMS, WIDTH) if kind == "element" else ITEMS) < 0.6 for name in LIKELIHOODS}
    for mask in masks.values():
        mask[0], mask[1] = True, False
    masks["poisson"][:] = False
    return masks


def over(mask: np.ndarray) -> np.ndarray:
    return mask.reshape(ITEMS, -1)


@cache
def state(backend: str, method: str) -> Any:
    vae = ppvae.method(method, modalities(), latent=2, hidden=(3,))
    data = Dataset(complete(), modalities=modalities())
    return fitting.init(vae, data, backend=backend, device="cpu")


def loss_and_gradient(backend: str, method: str, arrays: Any, observed: Any) -> dict[str, np.ndarray]:
    """The loss, each site's share and the gradient, with arrays and masks handed to the programs as they are."""
    here = state(backend, method)
    engine = {"pyro": pyro, "numpyro": numpyro}[backend]
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


@both
@every_guide
@pytest.mark.parametrize("kind", ["item", "element"])
def test_what_fills_a_hole_moves_no_loss_and_no_gradient(backend: str, method: str, kind: str) -> None:
    masks = seen(kind)

    def filled(value: float) -> dict[str, np.ndarray]:
        arrays = {name: np.where(over(masks[name]), array, np.float32(value)) for name, array in complete().items()}
        return loss_and_gradient(backend, method, arrays, masks)

    quiet = filled(0.0)
    assert np.isfinite(quiet["loss"])
    assert set(LIKELIHOODS) < set(quiet)
    for nonsense in (1e9, np.nan, -np.inf):
        loud = filled(nonsense)
        for name, value in quiet.items():
            assert np.array_equal(value, loud[name]), name


@both
@every_guide
def test_a_modality_that_nobody_has_counts_nothing_and_trains_nothing(backend: str, method: str) -> None:
    found = loss_and_gradient(backend, method, complete(), seen("item"))
    assert found["poisson"] == 0
    gradients = {name: value for name, value in found.items() if name.startswith("gradient")}
    absent = [name for name in gradients if ".poisson." in name]
    assert all(not gradients[name].any() for name in absent)
    for family in set(LIKELIHOODS) - {"poisson"}:
        assert any(gradients[name].any() for name in gradients if f"guide.encoders.networks.{family}." in name)
        assert any(gradients[name].any() for name in gradients if f"model.likelihoods.{family}." in name)


@both
def test_an_all_zero_row_is_data(backend: str) -> None:
    masks, arrays = seen("item"), {name: array.copy() for name, array in complete().items()}
    for array in arrays.values():
        array[0] = 0
    zero = loss_and_gradient(backend, "mvae", arrays, masks)
    hidden = {name: np.where(np.arange(ITEMS) == 0, False, mask) for name, mask in masks.items()}
    missing = loss_and_gradient(backend, "mvae", arrays, hidden)
    for family in set(LIKELIHOODS) - {"poisson"}:
        assert zero[family] < missing[family]


@pytest.mark.parametrize("kind", ["item", "element"])
@pytest.mark.parametrize("nonsense", [1e9, np.nan])
def test_a_data_set_forgets_what_stood_in_its_holes(kind: str, nonsense: float) -> None:
    masks = seen(kind)

    def filled(value: float) -> Dataset:
        arrays = {name: np.where(over(masks[name]), array, np.float32(value)) for name, array in complete().items()}
        return Dataset(arrays, observed=masks, modalities=modalities())

    quiet, loud = filled(0.0), filled(nonsense)
    for name in LIKELIHOODS:
        assert np.array_equal(quiet.arrays[name], loud.arrays[name])
        assert np.array_equal(quiet.observed[name], loud.observed[name])
        assert np.array_equal(quiet.refitted().modalities[0].center, loud.refitted().modalities[0].center)
    assert np.array_equal(quiet.keys, loud.keys)


@both
def test_a_step_on_rows_with_nonsense_in_their_holes_is_the_same_step(backend: str) -> None:
    masks = seen("element")
    infos = []
    for value in (0.0, 1e9, np.nan):
        arrays = {name: np.where(masks[name], array, np.float32(value)) for name, array in complete().items()}
        vae = ppvae.method("mvae", modalities(), latent=2, hidden=(3,))
        begin = fitting.init(vae, Dataset(complete(), modalities=modalities()), backend=backend, device="cpu")
        after, info = ppvae.step(begin, Batch(arrays, masks))
        infos.append((info, _weights(backend, after)))
    for info, weights in infos[1:]:
        assert info == infos[0][0]
        assert all(np.array_equal(weights[name], infos[0][1][name]) for name in weights)


def _weights(backend: str, here: Any) -> Any:
    return {"pyro": pyro, "numpyro": numpyro}[backend].export(here).weights
