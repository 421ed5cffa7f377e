"""Harness: one call of a torch function and of its mirror, whose values and gradients must agree."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import torch

from ppvae.backends import mirror
from ppvae.backends.mirror.running.tables import method_rule

SPECIAL = (-np.inf, -3.0, -1.0, -0.5, 0.0, 0.25, 0.5, 1.0, 2.0, 3.5, np.inf)
WITH_NAN = (*SPECIAL, np.nan)
FINITE = tuple(value for value in SPECIAL if np.isfinite(value))


@dataclass(frozen=True)
class Fixed:
    """An array that torch does not differentiate."""

    array: np.ndarray[Any, Any]


@dataclass(frozen=True)
class Case:
    """Calls, drawn by Hypothesis, of each of some torch functions (or tensor methods, by name)."""

    functions: tuple[Any, ...]
    calls: st.SearchStrategy[Any]
    gradient: bool = True
    view: Callable[[Any], Any] = lambda result: result
    rtol: float = 1e-10


def calls(*args: Any, **kwargs: Any) -> st.SearchStrategy[Any]:
    """Arguments, some of which are strategies; ``maybe_x=`` is a keyword that may be left out."""
    given = {name: _strategy(value) for name, value in kwargs.items() if not name.startswith("maybe_")}
    optional = {n.removeprefix("maybe_"): _strategy(v) for n, v in kwargs.items() if n.startswith("maybe_")}
    return st.tuples(st.tuples(*map(_strategy, args)), st.fixed_dictionaries(given, optional=optional))


def _strategy(value: Any) -> st.SearchStrategy[Any]:
    if isinstance(value, st.SearchStrategy):
        return value
    if isinstance(value, (list, tuple)) and any(isinstance(item, st.SearchStrategy) for item in value):
        return st.tuples(*map(_strategy, value)).map(type(value))
    return st.just(value)


def _seeded(make: Callable[[np.random.Generator], Any]) -> st.SearchStrategy[Any]:
    return st.integers(0, 2**16).map(lambda seed: make(np.random.default_rng(seed)))


def reals(*shape: int) -> st.SearchStrategy[Any]:
    return _seeded(lambda rng: rng.normal(size=shape))


def positives(*shape: int) -> st.SearchStrategy[Any]:
    return _seeded(lambda rng: rng.uniform(0.1, 3.0, size=shape))


def units(*shape: int) -> st.SearchStrategy[Any]:
    return _seeded(lambda rng: rng.uniform(0.05, 0.95, size=shape))


def special(*shape: int, pool: tuple[float, ...] = SPECIAL) -> st.SearchStrategy[Any]:
    """Kinks, ties, poles, infinities and NaN."""
    return _seeded(lambda rng: rng.choice(np.asarray(pool, np.float64), size=shape))


def ints(*shape: int, low: int = -3, high: int = 4) -> st.SearchStrategy[Any]:
    return _seeded(lambda rng: rng.integers(low, high, size=shape))


def bools(*shape: int) -> st.SearchStrategy[Any]:
    return _seeded(lambda rng: rng.random(size=shape) < 0.5)


def symmetric(n: int, *batch: int) -> st.SearchStrategy[Any]:
    """Positive definite matrices."""

    def make(rng: np.random.Generator) -> Any:
        a = rng.normal(size=(*batch, n, n))
        return a @ a.swapaxes(-1, -2) + n * np.eye(n)

    return _seeded(make)


def one_of(*values: Any) -> st.SearchStrategy[Any]:
    return st.one_of(*map(_strategy, values))


@contextmanager
def double() -> Iterator[None]:
    """Float64 on both sides; XLA, which compiles much and runs little here, is told not to optimise."""
    before, optimised_less = torch.get_default_dtype(), jax.config.values["jax_disable_most_optimizations"]
    torch.set_default_dtype(torch.float64)
    jax.config.update("jax_disable_most_optimizations", True)
    try:
        with jax.enable_x64(True):
            yield
    finally:
        jax.config.update("jax_disable_most_optimizations", optimised_less)
        torch.set_default_dtype(before)


def rule_of(function: Any) -> Callable[..., Any]:
    rule = method_rule(function) if isinstance(function, str) else mirror.FUNCTIONS[function]
    assert rule is not None
    return rule


def torch_function(function: Any) -> Callable[..., Any]:
    return (lambda self, *a, **k: getattr(self, function)(*a, **k)) if isinstance(function, str) else function


def _map(value: Any, leaf: Callable[[Any], Any]) -> Any:
    if isinstance(value, (list, tuple)):
        return type(value)(_map(item, leaf) for item in value)
    if isinstance(value, dict):
        return {key: _map(item, leaf) for key, item in value.items()}
    return leaf(value)


def _differentiable(leaf: Any) -> bool:
    return isinstance(leaf, np.ndarray) and leaf.dtype == np.float64


def _flat(result: Any) -> list[Any]:
    if isinstance(result, (list, tuple)) and not isinstance(result, torch.Size):
        return [leaf for item in result for leaf in _flat(item)]
    return [result]


def check(case: Case, function: Any, call: Any) -> None:
    """Equal types, shapes, dtypes, values and gradients."""
    with double():
        outs, tensors = _theirs(torch_function(function), call, case.view)
        values, gradients = _ours(rule_of(function), case, call, [_cotangent(out) for out in outs])
        assert len(values) == len(outs)
        for our, their in zip(values, outs, strict=True):
            _same(our, their, case.rtol)
        for our, their in zip(gradients, _torch_gradients(outs, tensors) if gradients else [], strict=True):
            np.testing.assert_allclose(our, their, rtol=10 * case.rtol, atol=1e-10, err_msg="gradient")


def _is_float(out: Any) -> bool:
    return isinstance(out, torch.Tensor) and out.is_floating_point()


def _cotangent(out: Any) -> np.ndarray[Any, Any] | None:
    if not _is_float(out):
        return None
    return np.cos(np.arange(out.numel(), dtype=np.float64)).reshape(out.shape)


def _theirs(function: Callable[..., Any], call: Any, view: Any) -> tuple[list[Any], list[torch.Tensor]]:
    tensors: list[torch.Tensor] = []

    def leaf(value: Any) -> Any:
        if isinstance(value, Fixed):
            return torch.from_numpy(value.array.copy())
        if not isinstance(value, np.ndarray):
            return value
        tensor = torch.from_numpy(value.copy())
        if _differentiable(value):
            tensors.append(tensor.requires_grad_())
        return tensor

    args, kwargs = _map(call, leaf)
    with warnings.catch_warnings(action="ignore", category=UserWarning):  # torch advises against some defaults
        return _flat(view(function(*args, **kwargs))), tensors


def _torch_gradients(outs: list[Any], tensors: list[torch.Tensor]) -> list[Any]:
    grown = [out for out in outs if _is_float(out) and out.requires_grad]
    if not grown:
        return [np.zeros(tensor.shape) for tensor in tensors]
    cotangents = [torch.from_numpy(_cotangent(out)).to(out.dtype) for out in grown]
    found = torch.autograd.grad(grown, tensors, cotangents, allow_unused=True)
    return [np.zeros(t.shape) if g is None else g.numpy(force=True) for g, t in zip(found, tensors, strict=True)]


def _ours(rule: Any, case: Case, call: Any, cotangents: list[Any]) -> tuple[list[Any], list[Any]]:
    """Results and gradients; arrays go through JAX's transformation, and plain results around it."""
    plain: list[Any] = []

    def run(inputs: list[jax.Array]) -> tuple[list[jax.Array], list[Any]]:
        feed = iter(inputs)
        args, kwargs = _map(call, lambda leaf: next(feed) if _differentiable(leaf) else _constant(leaf))
        plain[:] = _flat(case.view(rule(*args, **kwargs)))
        arrays = [leaf if isinstance(leaf, jax.Array) else None for leaf in plain]
        return [x for x in arrays if x is not None and jnp.issubdtype(x.dtype, jnp.floating)], arrays

    inputs = [jnp.asarray(array) for array in _inputs(call)]
    if not case.gradient or not inputs:
        run(inputs)
        return plain, []
    values, pull, arrays = jax.vjp(run, inputs, has_aux=True)
    wanted = [jnp.asarray(ct, v.dtype) for ct, v in zip(filter(_given, cotangents), values, strict=True)]
    return [leaf if x is None else x for leaf, x in zip(plain, arrays, strict=True)], pull(wanted)[0]


def _given(cotangent: Any) -> bool:
    return cotangent is not None


def _inputs(call: Any) -> list[np.ndarray[Any, Any]]:
    found: list[np.ndarray[Any, Any]] = []
    _map(call, lambda leaf: found.append(leaf) if _differentiable(leaf) else None)
    return found


def _constant(leaf: Any) -> Any:
    array = leaf.array if isinstance(leaf, Fixed) else leaf
    return jnp.asarray(array) if isinstance(array, np.ndarray) else leaf


def _same(our: Any, their: Any, rtol: float) -> None:
    if not isinstance(their, torch.Tensor):
        assert our == their or _same_dtype(our, their), (our, their)
        return
    assert isinstance(our, jax.Array), f"{type(our)} for a tensor"
    assert our.shape == tuple(their.shape)
    assert _same_dtype(our.dtype, their.dtype), f"{our.dtype} for {their.dtype}"
    np.testing.assert_allclose(np.asarray(our), their.detach().numpy(), rtol=rtol, atol=1e-12, err_msg="value")


def _same_dtype(our: Any, their: Any) -> bool:
    return isinstance(their, torch.dtype) and str(our) == str(their).removeprefix("torch.")


def signature(function: Any) -> list[tuple[str, Any]] | None:
    """Names and defaults of the arguments, where Python knows them; ``out`` is for changing arrays in place."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return None
    return [(p.name, p.default) for p in parameters if p.name != "out"]
