"""Convolutions equal torch's, on XLA's path and as products."""

from typing import Any

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from mirror_oracle import assert_mirrors
from torch import nn

from ppvae.backends.mirror.layers import convolution, subpixel

drawn = settings(max_examples=10, deadline=None, derandomize=True)
LAYERS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
TRANSPOSED = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
LENGTHS = (6, 5, 4)


def image(dims: int, channels: int, batched: bool) -> torch.Tensor:
    shape = (*(2,) * batched, channels, *LENGTHS[:dims])
    return torch.randn(shape, generator=torch.Generator().manual_seed(dims), dtype=torch.float64)


@drawn
@given(
    dims=st.sampled_from([1, 2, 2, 3]),
    kernel=st.integers(1, 3),
    stride=st.integers(1, 3),
    padding=st.integers(0, 2),
    dilation=st.integers(1, 2),
    groups=st.sampled_from([1, 2, 4]),
    bias=st.booleans(),
    batched=st.booleans(),
)
def test_a_convolution_equals_torch(
    dims: int, kernel: int, stride: int, padding: int, dilation: int, groups: int, bias: bool, batched: bool
) -> None:
    options: dict[str, Any] = {"stride": stride, "padding": padding, "dilation": dilation}
    assume(LENGTHS[dims - 1] + 2 * padding > dilation * (kernel - 1))
    layer = LAYERS[dims](4, 8, kernel, groups=groups, bias=bias, **options)
    assert_mirrors(layer, image(dims, 4, batched))


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("kernel", [1, 2, 3, 4])
def test_paddings_by_name_equal_torch(padding: str, kernel: int, recwarn: Any) -> None:
    assert_mirrors(nn.Conv2d(2, 3, (kernel, 3), padding=padding, dilation=(1, 2)), image(2, 2, True))


# torch warns that an even kernel with "same" costs it a copy
pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel:UserWarning")


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
def test_padding_modes_equal_torch(mode: str) -> None:
    assert_mirrors(nn.Conv2d(2, 3, 3, padding=(1, 2), padding_mode=mode), image(2, 2, True))


@drawn
@given(
    dims=st.sampled_from([1, 2, 2, 3]),
    kernel=st.integers(1, 3),
    stride=st.integers(1, 3),
    padding=st.integers(0, 1),
    extra=st.integers(0, 2),
    dilation=st.integers(1, 2),
    groups=st.sampled_from([1, 2]),
    bias=st.booleans(),
    batched=st.booleans(),
)
def test_a_transposed_convolution_equals_torch(
    dims: int,
    kernel: int,
    stride: int,
    padding: int,
    extra: int,
    dilation: int,
    groups: int,
    bias: bool,
    batched: bool,
) -> None:
    assume(extra < max(stride, dilation) and dilation * (kernel - 1) >= 2 * padding)
    options: dict[str, Any] = {"stride": stride, "padding": padding, "dilation": dilation}
    layer = TRANSPOSED[dims](4, 6, kernel, output_padding=extra, groups=groups, bias=bias, **options)
    assert_mirrors(layer, image(dims, 4, batched))


@pytest.mark.parametrize("on_cpu", [True, False])
@settings(drawn, max_examples=6)
@given(data=st.data())
def test_both_paths_of_a_transposed_convolution_equal_torch(on_cpu: bool, data: st.DataObject) -> None:
    pair = st.tuples(st.integers(1, 5), st.integers(1, 5))
    kernel, stride = data.draw(pair), data.draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    padding = data.draw(st.tuples(*(st.integers(0, (k - 1) // 2) for k in kernel)))
    extra = data.draw(st.tuples(*(st.integers(0, s - 1) for s in stride)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(convolution, "on_cpu", lambda: on_cpu)
        assert_mirrors(nn.ConvTranspose2d(2, 3, kernel, stride, padding, extra), image(2, 2, True))


@pytest.mark.parametrize(
    ("shape", "kernel", "stride", "pads"),
    [((9, 8), (4, 3), (2, 1), [(1, 1), (1, 1)]), ((5, 7), (2, 5), (3, 2), [(0, 2), (3, 1)])],
)
def test_a_convolution_as_a_product_is_xlas_in_value_and_derivatives(
    shape: Any, kernel: Any, stride: Any, pads: Any
) -> None:
    rng = np.random.default_rng(0)
    with jax.enable_x64(True):
        x, weight = jnp.asarray(rng.normal(size=(2, *shape, 3))), jnp.asarray(rng.normal(size=(4, 3, *kernel)))

        def product(x: jax.Array, weight: jax.Array) -> jax.Array:
            return (subpixel.convolve(x, weight, stride, pads) ** 2).sum()

        def reference(x: jax.Array, weight: jax.Array) -> jax.Array:
            layout = ("NHWC", "OIHW", "NHWC")
            return (jax.lax.conv_general_dilated(x, weight, stride, pads, dimension_numbers=layout) ** 2).sum()

        def both(f: Any) -> Any:
            curved = jax.grad(lambda w: sum((each**2).sum() for each in jax.grad(f, (0, 1))(x, w)))
            return jax.jit(lambda: (jax.value_and_grad(f, (0, 1))(x, weight), curved(weight)))()

        for found, expected in zip(*map(jax.tree.leaves, (both(product), both(reference))), strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_the_output_size_of_a_transposed_convolution_equals_torch() -> None:
    layer = nn.ConvTranspose2d(2, 3, 3, stride=2, padding=1)
    assert_mirrors(layer, image(2, 2, True), output_size=[12, 10])


def test_the_path_follows_the_default_device() -> None:
    with jax.default_device(jax.devices("cpu")[0]):
        assert convolution.on_cpu()
    assert convolution.on_cpu() == (jax.default_backend() == "cpu")


def test_sub_pixel_products_have_second_derivatives_and_batches() -> None:
    x, weight = jnp.ones((2, 3, 3, 2)), jnp.ones((2, 1, 4, 4))

    def score(weight: jax.Array) -> jax.Array:
        return (subpixel.transpose_convolve(x, weight, (2, 2), (1, 1), (6, 6)) ** 2).sum()

    def reference(weight: jax.Array) -> jax.Array:
        y = convolution._dilated(x.transpose(0, 3, 1, 2), weight, (2, 2), (1, 1), (0, 0), 1, (1, 1))
        return (y**2).sum()

    for derivative in (jax.grad, lambda f: jax.vmap(jax.grad(lambda w: jax.grad(f)(w)[0, 0, 0].sum()))):
        at = weight if derivative is jax.grad else jnp.stack([weight, 2 * weight])
        np.testing.assert_allclose(jax.jit(derivative(score))(at), jax.jit(derivative(reference))(at), rtol=1e-5)
