"""Pooling equals torch's, ties and overhanging windows included."""

from typing import Any

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import assume, given, settings
from mirror_oracle import assert_mirrors
from torch import nn

drawn = settings(max_examples=12, deadline=None, derandomize=True)
MAX = {1: nn.MaxPool1d, 2: nn.MaxPool2d, 3: nn.MaxPool3d}
AVG = {1: nn.AvgPool1d, 2: nn.AvgPool2d, 3: nn.AvgPool3d}
ADAPTIVE_AVG = {1: nn.AdaptiveAvgPool1d, 2: nn.AdaptiveAvgPool2d, 3: nn.AdaptiveAvgPool3d}
ADAPTIVE_MAX = {1: nn.AdaptiveMaxPool1d, 2: nn.AdaptiveMaxPool2d, 3: nn.AdaptiveMaxPool3d}


def image(dims: int, ties: bool = False, batched: bool = True) -> torch.Tensor:
    shape = (*(2,) * batched, 3, *(7, 5, 6)[:dims])
    x = torch.randn(shape, generator=torch.Generator().manual_seed(dims), dtype=torch.float64)
    return x.round().relu() if ties else x


geometry = {
    "dims": st.sampled_from([1, 2, 2, 3]),
    "kernel": st.integers(1, 3),
    "stride": st.sampled_from([None, 1, 2, 3]),
    "padding": st.integers(0, 1),
    "ceil": st.booleans(),
    "batched": st.booleans(),
}


@drawn
@given(dilation=st.integers(1, 2), ties=st.booleans(), **geometry)
def test_max_pooling_equals_torch(
    dims: int, kernel: int, stride: int | None, padding: int, ceil: bool, batched: bool, dilation: int, ties: bool
) -> None:
    assume(padding <= kernel // 2)
    layer = MAX[dims](kernel, stride, padding, dilation, ceil_mode=ceil)
    assert_mirrors(layer, image(dims, ties, batched))


@drawn
@given(include=st.booleans(), divisor=st.sampled_from([None, 3]), **geometry)
def test_mean_pooling_equals_torch(
    dims: int,
    kernel: int,
    stride: int | None,
    padding: int,
    ceil: bool,
    batched: bool,
    include: bool,
    divisor: int | None,
) -> None:
    assume(padding <= kernel // 2)
    options: dict[str, Any] = {"ceil_mode": ceil, "count_include_pad": include}
    options |= {} if dims == 1 else {"divisor_override": divisor}
    assert_mirrors(AVG[dims](kernel, stride, padding, **options), image(dims, False, batched))


@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize("bins", [1, 2, 3, 9])
def test_adaptive_pooling_equals_torch(dims: int, bins: int) -> None:
    assert_mirrors(ADAPTIVE_AVG[dims](bins), image(dims))
    assert_mirrors(ADAPTIVE_MAX[dims](bins), image(dims, ties=True))


def test_adaptive_pooling_keeps_a_dim_given_as_none() -> None:
    assert_mirrors(nn.AdaptiveAvgPool2d((None, 2)), image(2, batched=False))
