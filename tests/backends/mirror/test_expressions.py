"""Expressions of torch under the mirror, values and gradients: the same as torch's, or refused by name."""

from __future__ import annotations

import jax
from torch_comparison import compared, counted
from torch_expressions import EXPRESSIONS, inputs


def test_most_expressions_of_torch_are_the_same_under_the_mirror() -> None:
    with jax.enable_x64(True):
        verdicts = compared(EXPRESSIONS, inputs())
    counts = counted(verdicts)
    print(dict(counts))
    assert counts["same"] >= 400
