"""What the tests of experts and pools share: cases, and how a function of them runs on both backends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import hypothesis.extra.numpy as hnp
import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import pytest
import torch
from hypothesis import settings
from hypothesis import strategies as st

from ppvae.language import ppl

MODALITIES, ITEMS, LATENT = 3, 4, 2
SHAPE = (MODALITIES, ITEMS, LATENT)
BACKENDS = ("pyro", "numpyro")

both = pytest.mark.parametrize("backend", BACKENDS)
locs = hnp.arrays(np.float64, SHAPE, elements=st.floats(-50, 50))
scales = hnp.arrays(np.float64, SHAPE, elements=st.floats(0.01, 100))
extreme = hnp.arrays(np.float64, SHAPE, elements=st.sampled_from([1e-6, 1e-3, 1.0, 1e3, 1e6]))
presents = hnp.arrays(bool, (MODALITIES, ITEMS))
light = settings(max_examples=30, deadline=None)


@contextmanager
def running(backend: str, dtype: str = "float64") -> Iterator[Callable[[Any], Any]]:
    """The words on a backend and in a dtype; gives what turns numpy's arrays into the backend's."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(getattr(torch, dtype))
    try:
        with ppl.running(backend), jax.enable_x64(dtype == "float64"):
            yield lambda x: put(backend, np.asarray(x), dtype)
    finally:
        torch.set_default_dtype(before)


def put(backend: str, x: np.ndarray, dtype: str) -> Any:
    x = x.astype(dtype) if x.dtype.kind == "f" else x
    return torch.as_tensor(x) if backend == "pyro" else jnp.asarray(x)


def call(backend: str, function: Callable[..., Any], *arrays: Any, dtype: str = "float64") -> Any:
    """What a function of arrays returns, as numpy arrays; compiled once for all examples where a backend compiles."""
    with running(backend, dtype) as array:
        inputs = [array(x) for x in arrays]
        found = _compiled(function, dtype)(*inputs) if backend == "numpyro" else function(*inputs)
    return tuple(np.asarray(part) for part in found) if isinstance(found, tuple) else np.asarray(found)


@cache
def _compiled(function: Callable[..., Any], dtype: str) -> Callable[..., Any]:
    return jax.jit(function)


def call_with_gradient(backend: str, function: Callable[..., Any], *arrays: Any, dtype: str = "float64") -> Any:
    """The two arrays that a function returns, and the gradient of a weighted sum of both by its first two arguments."""
    with running(backend, dtype) as array:
        inputs = [array(x) for x in arrays]
        if backend == "numpyro":
            return [np.asarray(part) for part in _jax_gradient(function, dtype)(*inputs)]
        leaves = [part.requires_grad_() for part in inputs[:2]]
        found = function(*leaves, *inputs[2:])
        gradient = torch.autograd.grad(weighed(*found), leaves)
        return [part.detach().numpy() for part in (*found, *gradient)]


def weighed(loc: Any, scale: Any) -> Any:
    return (loc * 1.5).sum() + (scale * 0.5).sum()


@cache
def _jax_gradient(function: Callable[..., Any], dtype: str) -> Callable[..., Any]:
    def value(*arrays: Any) -> Any:
        found = function(*arrays)
        return weighed(*found), found

    def both_parts(*arrays: Any) -> Any:
        gradient, found = jax.grad(value, argnums=(0, 1), has_aux=True)(*arrays)
        return (*found, *gradient)

    return jax.jit(both_parts)


def drawn(backend: str, make: Callable[..., Any], *arrays: Any, count: int, seed: int = 0) -> np.ndarray:
    """Draws ``(count, items, latent)`` of the distribution that ``make`` makes of arrays, in the engines' plates."""
    with running(backend) as array, ppl.pyro.plate("draws", count, dim=-2), ppl.pyro.plate("items", ITEMS, dim=-1):
        if backend == "pyro":
            torch.manual_seed(seed)
        with numpyro.handlers.seed(rng_seed=seed):
            return np.asarray(ppl.pyro.sample("z", make(*(array(x) for x in arrays))))


def draw_gradient(
    backend: str, make: Callable[..., Any], of: Callable[[Any], Any], *arrays: Any, count: int, seed: int = 0
) -> list[np.ndarray]:
    """The gradient of the mean over ``count`` draws of ``of(z)``, summed over items, by the first two arguments."""
    with running(backend) as array:
        inputs = [array(x) for x in arrays]
        if backend == "numpyro":
            return [np.asarray(part) for part in _jax_draw_gradient(make, of, count)(jax.random.key(seed), *inputs)]
        torch.manual_seed(seed)
        leaves = [part.requires_grad_() for part in inputs[:2]]
        z = make(*leaves, *inputs[2:]).rsample(torch.Size([count]))
        return [part.numpy() for part in torch.autograd.grad(of(z).mean(0).sum(), leaves)]


@cache
def _jax_draw_gradient(make: Callable[..., Any], of: Callable[[Any], Any], count: int) -> Callable[..., Any]:
    def total(key: Any, *arrays: Any) -> Any:
        return of(make(*arrays).sample(key, (count,))).mean(0).sum()

    return jax.jit(jax.grad(total, argnums=(1, 2)))
