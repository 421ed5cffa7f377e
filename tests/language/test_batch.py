"""Batch: holes, masks, what is present, and the items plate."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import pyro as pyro_itself
import pytest
import torch

from ppvae import Batch, Program, dist, handlers, pyro
from ppvae.backends.mirror import Parameters, aliases, arrays
from ppvae.backends.mirror.running.program import Mirror
from ppvae.language import ppl
from ppvae.language.intake import fill

BACKENDS = ("pyro", "numpyro")
NAN = np.nan

both = pytest.mark.parametrize("backend", BACKENDS)


def as_numpy(x: Any) -> np.ndarray:
    return np.asarray(x.detach() if isinstance(x, torch.Tensor) else x)


def test_nan_is_a_hole_of_single_elements() -> None:
    batch = Batch({"x": np.array([[1.0, NAN], [3.0, 4.0]])})
    assert np.array_equal(batch.get("x"), [[1, 0], [3, 4]])
    assert np.array_equal(batch.mask("x"), [[True, False], [True, True]])
    assert np.array_equal(batch.present("x"), [True, True])


def test_items_that_are_missing_as_a_whole_have_one_boolean_each() -> None:
    batch = Batch({"x": np.array([[1.0, 2.0], [NAN, NAN]])})
    assert np.array_equal(batch.mask("x"), [True, False])
    assert np.array_equal(batch.present("x"), [True, False])


def test_an_explicit_mask_and_nan_add_up() -> None:
    batch = Batch({"x": np.array([[1.0, 2.0], [NAN, 4.0]])}, {"x": np.array([[True, False], [True, True]])})
    assert np.array_equal(batch.mask("x"), [[True, False], [False, True]])
    assert np.array_equal(batch.get("x"), [[1, 0], [0, 4]])


def test_a_list_is_searched_for_nan_too() -> None:
    assert np.array_equal(Batch({"x": [[1.0], [NAN]]}).present("x"), [True, False])


def test_a_complete_modality_has_no_mask_and_a_missing_one_no_values() -> None:
    batch = Batch({"x": np.zeros((2, 3))})
    assert batch.mask("x") is None
    assert batch.masks() == {}
    assert batch.get("y") is None
    assert np.array_equal(batch.present("x"), [True, True])
    assert np.array_equal(batch.present("y"), [False, False])


def test_a_mask_that_hides_nothing_is_no_mask_at_all() -> None:
    array = np.ones((2, 3))
    filled, mask = fill(array, np.ones((2, 3), bool))
    assert mask is None
    assert filled is array


@pytest.mark.parametrize("shape", [(3,), (2, 2), (2, 3, 1), (2, 1)])
def test_a_mask_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="fits neither"):
        Batch({"x": np.zeros((2, 3))}, {"x": np.ones(shape, bool)})


def test_modalities_of_different_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="x 2, y 3"):
        Batch({"x": np.zeros((2, 1)), "y": np.zeros((3, 1))})


def test_a_batch_of_nothing_needs_its_size() -> None:
    with pytest.raises(ValueError, match="needs size"):
        Batch({})
    assert Batch(size=3).size == 3


def test_a_batch_given_fewer_modalities_keeps_its_items_and_total() -> None:
    batch = Batch({"x": np.array([[1.0], [NAN]]), "y": np.zeros((2, 2))}, total=10)
    only = batch.given(["y"])
    assert list(only.arrays) == ["y"]
    assert (only.size, only.total) == (2, 10)
    assert only.masks() == {}
    assert np.array_equal(only.present("x"), [False, False])
    assert batch.given([]).size == 2
    assert batch.given(None) is batch


def test_whole_numbers_reach_programs_as_floats() -> None:
    assert Batch({"x": np.array([[1], [2]])}).get("x").dtype == torch.get_default_dtype()
    with ppl.running("numpyro"), jax.enable_x64(True):
        assert Batch({"x": np.array([[1], [2]])}).get("x").dtype == jnp.float64


@both
def test_a_mask_over_tensors_hides_nan_in_them(backend: str) -> None:
    array = torch.as_tensor if backend == "pyro" else jnp.asarray
    batch = Batch({"x": array([[1.0, NAN]])}, {"x": array([[True, False]])})
    with ppl.running(backend):
        assert np.array_equal(as_numpy(batch.get("x")), [[1, 0]])


class Shared(Program):
    """A global latent outside the items plate, and an observation within: x_i ~ N(mu, 1)."""

    def forward(self, batch: Batch) -> None:
        mu = pyro.sample("mu", dist.Normal(0.0, 2.0))
        with batch.plate():
            pyro.sample("x", dist.Normal(mu, 1.0).expand([1]).to_event(1), obs=batch.get("x"))


class Plain(Program):
    """The same with a plain plate."""

    def forward(self, batch: Batch) -> None:
        mu = pyro.sample("mu", dist.Normal(0.0, 2.0))
        with pyro.plate("items", batch.size):
            pyro.sample("x", dist.Normal(mu, 1.0).expand([1]).to_event(1), obs=batch.get("x"))


def joint_density(backend: str, program: Program, batch: Batch, mu: float) -> float:
    """log p(x, mu), scaled as the library scales its sites, by the library's own sum."""
    if backend == "pyro":
        return float(
            pyro_itself.poutine.trace(handlers.condition(program, {"mu": torch.tensor(mu)}))
            .get_trace(batch)
            .log_prob_sum()
        )
    with ppl.running(backend):
        mirror = Mirror(program, Parameters(arrays(program), aliases(program)))
        return float(numpyro.infer.util.log_density(mirror, (batch,), {}, {"mu": jnp.asarray(mu)})[0])


@both
@pytest.mark.parametrize("program", [Shared(), Plain()])
def test_local_sites_weigh_total_over_size_and_global_ones_once(backend: str, program: Program) -> None:
    x = np.random.default_rng(0).normal(size=(12, 1))
    whole = joint_density(backend, program, Batch({"x": x}), 0.7)
    prior = -0.5 * (0.7 / 2) ** 2 - np.log(2) - 0.5 * np.log(2 * np.pi)
    factor = 3 if isinstance(program, Shared) else 1
    parts = [joint_density(backend, program, Batch({"x": x[i : i + 4]}, total=12), 0.7) for i in (0, 4, 8)]
    local = (-0.5 * (x - 0.7) ** 2 - 0.5 * np.log(2 * np.pi)).sum()
    assert whole == pytest.approx(prior + local, rel=1e-5)
    assert np.mean(parts) == pytest.approx(prior + factor * local / 3, rel=1e-5)


@both
def test_a_plate_with_total_draws_no_permutation(backend: str) -> None:
    batch = Batch({"x": np.zeros((4, 1))}, total=12)
    torch.manual_seed(0)
    before = torch.get_rng_state()
    joint_density(backend, Shared(), batch, 0.0)
    assert torch.equal(before, torch.get_rng_state())


def test_square_brackets_say_how_a_batch_is_read() -> None:
    with pytest.raises(TypeError, match=r"a batch is read by batch\.get\('x'\), which is None"):
        Batch({"x": np.zeros((2, 1))})["x"]
