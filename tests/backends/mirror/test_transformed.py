"""What torch has compiled or vectorised runs on arrays as it does on tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from mirror_oracle import assert_mirrors
from torch import nn

from ppvae.backends import mirror

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
X = torch.tensor(np.random.default_rng(0).normal(size=(4, 3)))


class Text(nn.Module):
    """A function of itself and an array."""

    def __init__(self, function: Callable[..., Any]):
        super().__init__()
        self.function, self.layer = function, nn.Linear(3, 3)

    def forward(self, x: Any) -> Any:
        return self.function(self, x)


def scripted() -> Any:
    @torch.jit.script
    def gate(x):
        return x * torch.sigmoid(x)

    return lambda self, x: gate(self.layer(x))


def traced() -> Any:
    shift = torch.jit.trace(lambda x: torch.tanh(x) + 1.0, torch.ones(2, 3))
    return lambda self, x: shift(self.layer(x))


def picked(row: Any, weight: Any) -> Any:
    return {"where": torch.where(row > 0, row, weight)}


TEXTS: dict[str, Callable[[], Any]] = {
    "script": scripted,
    "trace": traced,
    "vmap": lambda: lambda self, x: torch.vmap(lambda row: torch.tanh(self.layer(row)) * row.sum())(x),
    "dims": lambda: lambda self, x: torch.vmap(picked, in_dims=(1, None), out_dims=1)(x, self.layer.bias[:1])["where"],
    "twice": lambda: lambda self, x: torch.func.vmap(torch.vmap(lambda element: element.sin()))(self.layer(x)),
    "chunks": lambda: lambda self, x: torch.vmap(lambda row: row @ self.layer.weight, chunk_size=2)(x),
}


@pytest.mark.parametrize("name", TEXTS)
def test_values_and_gradients_are_torchs(name: str) -> None:
    assert_mirrors(Text(TEXTS[name]()), X)


def test_draws_that_differ_from_row_to_row_are_refused() -> None:
    text = Text(lambda self, x: torch.vmap(lambda row: row + torch.rand(3), randomness="different")(x))
    with pytest.raises(mirror.MirrorError, match=r"randomness='different' has no mirror .*; draw before it"):
        mirror.forward(text, mirror.Parameters({}, {}), X)


def test_a_compiled_function_without_its_python_is_refused() -> None:
    function = torch.jit.trace(lambda x: x + 1.0, torch.ones(3))
    del function._torchdynamo_inline
    text = Text(lambda self, x: function(x))
    with pytest.raises(
        mirror.MirrorError, match=r"a compiled torch.jit function has no mirror .*; use the function it"
    ):
        mirror.forward(text, mirror.Parameters({}, {}), X)
    np.testing.assert_array_equal(text(torch.zeros(3)), torch.ones(3))
