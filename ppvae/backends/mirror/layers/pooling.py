"""Pooling: maxima and means over windows, and over a given number of bins."""

# ruff: noqa: D103 - what a rule computes is said by the torch function that it stands for

from __future__ import annotations

import functools
import itertools
import math
import operator
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ppvae.backends.mirror.functions.arguments import mirrors, namesakes, refuse
from ppvae.backends.mirror.layers.convolution import Sizes, sizes

Window = tuple[int, int, int, int]  # size, stride, padding, dilation


def _windows(dims: int, kernel: Sizes, stride: Sizes | None, padding: Sizes, dilation: Sizes = 1) -> list[Window]:
    stride = stride if isinstance(stride, int) or stride else kernel
    return list(zip(*(sizes(v, dims) for v in (kernel, stride, padding, dilation)), strict=True))


def _count(size: int, window: Window, ceil: bool) -> int:
    """How many windows there are; the last may hang over the end, but starts inside or in the padding before."""
    kernel, stride, padding, dilation = window
    room = size + 2 * padding - dilation * (kernel - 1) - 1
    if not ceil:
        return room // stride + 1
    count = -(-room // stride) + 1
    return count - 1 if (count - 1) * stride >= size + padding else count


def _padded(x: jax.Array, windows: list[Window], counts: list[int], value: float) -> jax.Array:
    """As far as the windows reach; negative where they leave some of ``x`` out."""
    config = [(0, 0, 0)] * (x.ndim - len(windows))
    for size, count, (kernel, stride, padding, dilation) in zip(x.shape[-len(windows) :], counts, windows, strict=True):
        reach = (count - 1) * stride + dilation * (kernel - 1) + 1
        config.append((padding, reach - size - padding, 0))
    return jax.lax.pad(x, jnp.asarray(value, x.dtype), config)


def _elements(x: jax.Array, windows: list[Window], counts: list[int]) -> list[jax.Array]:
    """For every place in the window, in order, what lies there."""
    offsets = itertools.product(*(range(0, kernel * dilation, dilation) for kernel, _, _, dilation in windows))
    strides = [stride for _, stride, _, _ in windows]
    places = [list(zip(offset, strides, counts, strict=True)) for offset in offsets]
    return [x[(..., *(slice(o, o + (n - 1) * s + 1, s) for o, s, n in place))] for place in places]


def _total(x: jax.Array, windows: list[Window], counts: list[int]) -> jax.Array:
    return functools.reduce(operator.add, _elements(x, windows, counts))


def first_max(x: jax.Array, axis: int) -> jax.Array:
    """The maximum along an axis; like torch, and unlike JAX, all of its gradient goes to the first of equals."""
    at = jnp.expand_dims(jax.lax.stop_gradient(jnp.argmax(x, axis)), axis)
    return jnp.squeeze(jnp.take_along_axis(x, at, axis), axis)


def _max_pool(dims: int) -> Callable[..., jax.Array]:
    def rule(
        input: jax.Array,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        padding: Sizes = 0,
        dilation: Sizes = 1,
        ceil_mode: bool = False,
        return_indices: bool = False,
    ) -> jax.Array:
        refuse(return_indices, "max pooling with return_indices=True has no mirror; pool without it")
        windows = _windows(dims, kernel_size, stride, padding, dilation)
        counts = [_count(n, w, ceil_mode) for n, w in zip(input.shape[-dims:], windows, strict=True)]
        x = _padded(input, windows, counts, -math.inf)
        return first_max(jnp.stack(_elements(x, windows, counts)), 0)

    return rule


def _avg_pool(dims: int) -> Callable[..., jax.Array]:
    def rule(
        input: jax.Array,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        padding: Sizes = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> jax.Array:
        windows = _windows(dims, kernel_size, stride, padding)
        shape = input.shape[-dims:]
        counts = [_count(n, w, ceil_mode) for n, w in zip(shape, windows, strict=True)]
        total = _total(_padded(input, windows, counts, 0.0), windows, counts)
        if divisor_override is not None:
            return total / divisor_override
        ones = jnp.ones(shape, input.dtype)
        if count_include_pad:
            ones = jnp.pad(ones, [(padding, padding) for _, _, padding, _ in windows], constant_values=1)
            windows_of_ones = [(kernel, stride, 0, dilation) for kernel, stride, _, dilation in windows]
        else:
            windows_of_ones = windows
        return total / _total(_padded(ones, windows_of_ones, counts, 0.0), windows_of_ones, counts)

    return rule


def _bins(size: int, bins: int) -> list[slice]:
    """Torch's bins: as even as whole numbers allow, and overlapping where they are not."""
    return [slice(i * size // bins, -(-(i + 1) * size // bins)) for i in range(bins)]


def _adaptive(dims: int, pool: Callable[[jax.Array, int, int], jax.Array]) -> Callable[..., jax.Array]:
    def rule(input: jax.Array, output_size: Any, return_indices: bool = False) -> jax.Array:
        refuse(return_indices, "max pooling with return_indices=True has no mirror; pool without it")
        given = (output_size,) * dims if isinstance(output_size, int) else tuple(output_size)
        for axis, bins in enumerate(given[::-1], 1):
            input = input if bins is None else pool(input, -axis, bins)
        return input

    return rule


def along(x: jax.Array, axis: int, matrix: np.ndarray) -> jax.Array:
    """A fixed linear map ``(out, in)`` along one axis."""
    return jnp.moveaxis(jnp.moveaxis(x, axis, -1) @ jnp.asarray(matrix, x.dtype).T, -1, axis)


def mean_bins(x: jax.Array, axis: int, bins: int) -> jax.Array:
    matrix = np.zeros((bins, x.shape[axis]))
    for row, part in zip(matrix, _bins(x.shape[axis], bins), strict=True):
        row[part] = 1 / (part.stop - part.start)
    return along(x, axis, matrix)


def _max_bins(x: jax.Array, axis: int, bins: int) -> jax.Array:
    parts = [jax.lax.slice_in_dim(x, b.start, b.stop, axis=axis) for b in _bins(x.shape[axis], bins)]
    return jnp.stack([first_max(part, axis) for part in parts], axis)


for _dims in (1, 2, 3):
    mirrors(*namesakes(f"max_pool{_dims}d", f"max_pool{_dims}d_with_indices"))(_max_pool(_dims))
    mirrors(*namesakes(f"avg_pool{_dims}d"))(_avg_pool(_dims))
    mirrors(*namesakes(f"adaptive_avg_pool{_dims}d"))(_adaptive(_dims, mean_bins))
    mirrors(*namesakes(f"adaptive_max_pool{_dims}d"))(_adaptive(_dims, _max_bins))
