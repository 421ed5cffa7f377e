"""Asked once: torch's answers that are kept are those that nothing but shapes, strides, dtypes and numbers decide."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
import pytest
import torch
from torch import nn

from ppvae.backends import mirror
from ppvae.backends.mirror.running import twin


class Text(nn.Module):
    """A network that is one function."""

    def __init__(self, function: Callable[..., Any]):
        super().__init__()
        self.function = function

    def forward(self, *args: Any) -> Any:
        return self.function(*args)


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    twin._ANSWERS.clear()
    yield
    twin._ANSWERS.clear()


def asked(function: Callable[..., Any], *arrays: np.ndarray) -> Any:
    """What JAX makes of a text; torch agrees."""
    found = jax.jit(lambda *a: mirror.forward(Text(function), mirror.Parameters({}, {}), *a))(*arrays)
    with torch.no_grad():
        np.testing.assert_allclose(found, function(*map(torch.tensor, arrays)), rtol=1e-6)
    return found


def changed(x: Any) -> Any:
    """Two products, of which one is changed in place."""
    one, other = x * 2.0, x * 2.0
    one += 1.0
    return one - other


def seen(x: Any) -> Any:
    """A view of a sum shows its change; a view of an equal sum does not."""
    one, other = x + x, x + x
    first, second = one[0], other[0]
    one.zero_()
    return first + second


MATRIX = np.arange(6.0, dtype=np.float32).reshape(2, 3)


@pytest.mark.parametrize("function", [changed, seen, lambda x: (x.t() * 2.0).reshape(-1) + (x * 2.0).reshape(-1)])
def test_an_answer_that_is_kept_is_new_memory_each_time(function: Callable[..., Any]) -> None:
    first, again = asked(function, MATRIX), asked(function, MATRIX)
    assert twin._ANSWERS
    np.testing.assert_array_equal(first, again)


@pytest.mark.parametrize("numbers", [(1, 1.0), (True, 1), (0, False), (2, 2.5)])
def test_numbers_of_other_types_are_other_questions(numbers: tuple[Any, Any]) -> None:
    whole = np.arange(3, dtype=np.int32)
    for number in numbers:
        asked(lambda x, number=number: x * number, whole)
    kinds = [
        jax.eval_shape(lambda a, n=n: mirror.forward(Text(lambda x: x * n), mirror.Parameters({}, {}), a), whole).dtype
        for n in numbers
    ]
    assert kinds == [np.dtype("float32") if isinstance(n, float) else np.dtype("int32") for n in numbers]


def test_the_default_dtype_is_part_of_a_question() -> None:
    def ratio(x: Any) -> Any:
        return x / 2

    before = torch.get_default_dtype()
    with jax.enable_x64(True):
        kinds = []
        for kind in (torch.float32, torch.float64):
            torch.set_default_dtype(kind)
            try:
                kinds.append(asked(ratio, np.arange(3, dtype=np.int32)).dtype.name)
            finally:
                torch.set_default_dtype(before)
    assert kinds == ["float32", "float64"]


def test_views_refusals_and_elements_are_asked_again() -> None:
    asked(lambda x: x[0] + x.t()[:, 1], MATRIX)
    names = {question[0].__name__ for question in twin._ANSWERS}
    assert names == {"add"}
    for _ in range(2):
        with pytest.raises(mirror.MirrorError, match=r"torch\.mm refuses its arguments"):
            asked(lambda x: torch.mm(x, x), MATRIX)
