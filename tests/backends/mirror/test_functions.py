"""Torch's functions and tensor methods on JAX: equal values, dtypes and gradients in float64."""

from __future__ import annotations

import math
import operator
from typing import Any

import jax
import jax.numpy as jnp
import mirror_cases_arrays
import mirror_cases_elementwise
import mirror_cases_networks
import numpy as np
import pytest
import torch
import torch.nn.functional as F
import torch_expressions
from hypothesis import Phase, given, settings
from mirror_harness import Case, check, double, rule_of, signature
from torch import nn

from ppvae.backends import mirror
from ppvae.backends.mirror import functions, layers
from ppvae.backends.mirror.running.tables import MirrorError

CASES = [
    (case, function)
    for module in (mirror_cases_elementwise, mirror_cases_arrays, mirror_cases_networks)
    for case in module.CASES
    for function in case.functions
]
OURS = {rules.__name__ for rules in (*functions.RULES, layers.functional)} | {"_operator", "math", "builtins"}
UNCALLED = {
    *(f for f in vars(math).values() if callable(f)),
    getattr,
    torch._assert,
    torch.from_numpy,
}  # tested by themselves below


EXAMPLES = 3  # compiling is slow: each function has many cases, each example an array of special values


def name(function: Any) -> str:
    return function if isinstance(function, str) else f"{function.__module__}.{function.__name__}"


@pytest.mark.parametrize(("case", "function"), CASES, ids=[name(function) for _, function in CASES])
def test_function_equals_torch(case: Case, function: Any) -> None:
    @settings(derandomize=True, deadline=None, max_examples=EXAMPLES, phases=[Phase.generate])
    @given(case.calls)
    def equal(call: Any) -> None:
        check(case, function, call)

    equal()


def test_every_entry_has_a_case() -> None:
    tested = {function for _, function in CASES}
    entries = mirror.FUNCTIONS | mirror.METHODS
    ours = {key for key, rule in entries.items() if rule.__module__ in OURS}
    untested = {name(key) for key in ours - tested - UNCALLED if not name(key).endswith("_is_none")}
    expressed = torch_expressions.names()
    assert not {key for key in untested if key.rpartition(".")[2].removeprefix("fft_") not in expressed}


def test_rules_take_the_arguments_of_torch() -> None:
    for function, rule in mirror.FUNCTIONS.items():
        theirs = signature(function) if getattr(function, "__module__", "").startswith("torch") else None
        if theirs is not None and rule.__module__ in OURS and function is not torch.einsum:
            assert signature(rule) == theirs, function


def test_randomness_is_in_no_table() -> None:
    for random in (torch.rand, torch.randn, torch.normal, torch.bernoulli, F.dropout, F.gumbel_softmax):
        assert random not in mirror.FUNCTIONS


@pytest.mark.parametrize(
    ("function", "args", "keywords"),
    [
        (torch.where, (np.array([True]),), {}),
        (F.relu, (np.zeros(2),), {"inplace": True}),
        (F.one_hot, (np.array([0, 1]),), {}),
        (F.softmax, (np.zeros(2),), {}),
        (F.mse_loss, (np.zeros(2), np.zeros(2)), {"reduce": True}),
        (F.embedding, (np.array([0]), np.zeros((2, 2))), {"max_norm": 1.0}),
        (F.scaled_dot_product_attention, (np.zeros((2, 2)),) * 3, {"dropout_p": 0.1}),
        (torch.mm, (np.zeros((2, 2, 2)), np.zeros((2, 2))), {}),
        (torch.split, (np.zeros(4), [1, 2]), {}),
        (getattr, (np.zeros(2), "grad"), {}),
        ("view", (np.zeros(2), torch.int64), {}),
        ("repeat", (np.zeros((2, 2)), 2), {}),
    ],
)
def test_what_has_no_counterpart_is_refused(function: Any, args: Any, keywords: Any) -> None:
    arrays = [jnp.asarray(arg) if isinstance(arg, np.ndarray) else arg for arg in args]
    with pytest.raises(MirrorError):
        rule_of(function)(*arrays, **keywords)


@pytest.mark.parametrize("index", [3, -4, (0, 4), (..., 4), (None, 3)])
def test_an_index_out_of_bounds_raises(index: Any) -> None:
    with pytest.raises(IndexError, match="out of bounds"):
        mirror.FUNCTIONS[operator.getitem](jnp.zeros((3, 4)), index)


def test_attributes_of_arrays_and_of_pairs() -> None:
    get = mirror.FUNCTIONS[getattr]
    x = jnp.arange(6.0).reshape(2, 3)
    assert get(x, "shape") == (2, 3)
    assert get(x, "ndim") == 2
    assert get(x, "T").shape == (3, 2)
    assert get(mirror.FUNCTIONS[torch.max](x, 1), "indices").tolist() == [2, 2]


def test_arithmetic_of_sizes_stays_in_python() -> None:
    assert type(mirror.FUNCTIONS[operator.floordiv](7, 2)) is int
    assert type(mirror.FUNCTIONS[operator.pow](7, 2)) is int
    assert mirror.FUNCTIONS[math.sqrt](4) == 2.0
    assert mirror.FUNCTIONS[torch._assert](True, "fine") is None


def test_new_arrays_take_the_default_dtype_of_torch() -> None:
    new = [rule_of(f) for f in (torch.zeros, torch.ones, torch.eye)]
    assert {rule(2).dtype.name for rule in new} == {"float32"}
    assert rule_of(torch.tensor)([1.0]).dtype == jnp.float32
    assert rule_of(torch.zeros)(2, dtype=torch.float64).dtype == jnp.float32
    with double():
        assert {rule(2).dtype.name for rule in new} == {"float64"}


def test_tensor_cuts_gradients_and_as_tensor_does_not() -> None:
    x = jnp.ones(2)
    assert jax.grad(lambda x: rule_of(torch.tensor)(x).sum())(x).tolist() == [0, 0]
    assert jax.grad(lambda x: rule_of(torch.as_tensor)(x).sum())(x).tolist() == [1, 1]
    assert jax.grad(lambda x: rule_of(torch.detach)(x).sum())(x).tolist() == [0, 0]


def test_from_numpy_keeps_the_values() -> None:
    assert rule_of(torch.from_numpy)(np.array([1, 2])).tolist() == [1, 2]


class Mixed(nn.Module):
    """Functions, methods and operators as networks write them."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch = x.shape[0]
        a, b = x.view(batch, -1).chunk(2, dim=1)
        h = torch.cat([a.unsqueeze(1), b[:, None]], dim=1).permute(0, 2, 1)
        h = h / math.sqrt(h.size(-1)) + h.mean(dim=-1, keepdim=True).expand_as(h)
        values = h.max(dim=-1).values
        weights = F.softmax(h.masked_fill(h > 0.5, float("-inf")), dim=1)
        return torch.where(values > 0, values, values.abs() ** 2) + weights.sum(-1).to(x.dtype).clamp(min=0.1)


def test_a_network_of_functions_equals_torch() -> None:
    x = np.random.default_rng(0).normal(size=(3, 2, 4)).astype(np.float32)
    module = Mixed()
    ours = mirror.forward(module, mirror.Parameters({}, {}), jnp.asarray(x))
    np.testing.assert_allclose(ours, module(torch.from_numpy(x)).numpy(), rtol=1e-5)
