"""Convolutions and transposed convolutions, over one to three spatial dims."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp

from ppvae.backends.devices.in_jax import on_cpu
from ppvae.backends.mirror.functions.arguments import alike, mirrors, namesakes
from ppvae.backends.mirror.layers import canonical, subpixel
from ppvae.backends.precision.in_jax import product

Sizes = int | Sequence[int]
Numbers = tuple[int, ...]
Pairs = list[tuple[int, int]]
Array = jax.Array


def sizes(value: Sizes, dims: int) -> Numbers:
    """One number for each spatial dim; a single one serves them all."""
    given = (value,) if isinstance(value, int) else tuple(value)
    return given * dims if len(given) == 1 else given


def _pads(padding: Sizes | str, kernel: Numbers, dilation: Numbers) -> Pairs:
    """Zeros before and after; ``"same"`` puts the odd one after."""
    if padding == "valid":
        padding = 0
    if isinstance(padding, str):
        totals = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
        return [(total // 2, total - total // 2) for total in totals]
    return [(p, p) for p in sizes(padding, len(kernel))]


def convolve(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    stride: Sizes = 1,
    padding: Sizes | str = 0,
    dilation: Sizes = 1,
    groups: int = 1,
) -> Array:
    """``(items, in, *sizes)``, or one item without its dim, with a kernel ``(out, in / groups, *sizes)``."""
    alike(x, weight, bias)
    kernel = weight.shape[2:]
    dims = len(kernel)
    if x.ndim == dims + 1:
        return convolve(x[None], weight, bias, stride, padding, dilation, groups)[0]
    dilation = sizes(dilation, dims)
    pads = _pads(padding, kernel, dilation)
    return _dense(x, weight, bias, sizes(stride, dims), pads, (1,) * dims, dilation, groups)


def transpose_convolve(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    stride: Sizes = 1,
    padding: Sizes = 0,
    output_padding: Sizes = 0,
    groups: int = 1,
    dilation: Sizes = 1,
) -> Array:
    """The adjoint of a convolution, with a kernel ``(in, out / groups, *sizes)``."""
    alike(x, weight, bias)
    dims = weight.ndim - 2
    if x.ndim == dims + 1:
        return transpose_convolve(x[None], weight, bias, stride, padding, output_padding, groups, dilation)[0]
    stride, padding, extra, dilation = (sizes(v, dims) for v in (stride, padding, output_padding, dilation))
    if _rewritten(dims, groups, dilation) and max(stride) > 1:
        return _subpixel(x, weight, bias, stride, padding, extra)
    return _dilated(x, weight, bias, stride, padding, extra, groups, dilation)


def _rewritten(dims: int, groups: int, *dilations: Numbers) -> bool:
    """Whether a convolution is written anew here; as it is, XLA takes ten times as long for it in a loop on a CPU."""
    return on_cpu() and dims <= 2 and groups == 1 and max(map(max, dilations)) == 1


def _dilated(
    x: Array,
    weight: Array,
    bias: Array | None,
    stride: Numbers,
    padding: Numbers,
    extra: Numbers,
    groups: int,
    dilation: Numbers,
) -> Array:
    """XLA's own: a convolution of the input with zeros between its elements."""
    reach = [d * (k - 1) - p for k, d, p in zip(weight.shape[2:], dilation, padding, strict=True)]
    pads = [(r, r + e) for r, e in zip(reach, extra, strict=True)]
    return _dense(x, _adjoint(weight, groups), bias, (1,) * len(stride), pads, stride, dilation, groups)


def _dense(
    x: Array,
    weight: Array,
    bias: Array | None,
    stride: Any,
    pads: Pairs,
    spacing: Numbers,
    dilation: Numbers,
    groups: int,
) -> Array:
    """A convolution, of the input with zeros between its elements where the spacing is above 1."""
    dims = len(stride)
    if not _rewritten(dims, groups, spacing, dilation):
        dense = partial(jax.lax.conv_general_dilated, window_strides=stride, padding=pads, lhs_dilation=spacing)
        return _biased(product(partial(dense, rhs_dilation=dilation, feature_group_count=groups), x, weight), bias)
    if dims == 1:
        return _dense(x[:, :, None], weight[:, :, None], bias, (1, *stride), [(0, 0), *pads], (1, 1), (1, 1), 1)[
            :, :, 0
        ]
    sized = tuple(stride), tuple(map(tuple, pads))
    return _channels_last(lambda x, w: products(x).convolve(x, w, *sized), x, weight, bias)


def _subpixel(x: Array, weight: Array, bias: Array | None, stride: Any, padding: Any, extra: Numbers) -> Array:
    """The same without zeros between elements, for one dim or two."""
    if len(stride) == 1:
        flat = (1, *stride), (0, *padding), (0, *extra)
        return _subpixel(x[:, :, None], weight[:, :, None], bias, *flat)[:, :, 0]
    shape = zip(x.shape[2:], weight.shape[2:], stride, padding, extra, strict=True)
    size = tuple((n - 1) * s - 2 * p + k + e for n, k, s, p, e in shape)
    pads = tuple((p, p) for p in padding)
    sized = tuple(stride), pads, size
    return _channels_last(lambda x, w: products(x).transpose_convolve(x, w, *sized), x, weight, bias)


def products(x: Array) -> ModuleType:
    """What computes fast on a CPU: the libraries that XLA hands float32 to, or matrix products for any other."""
    return canonical if x.dtype == jnp.float32 else subpixel


def _channels_last(multiply: Callable[..., Array], x: Array, weight: Array, bias: Array | None) -> Array:
    """A product of channels last, of channels first; the gradient at the bias is a sum over what lies together."""
    y = product(multiply, x.transpose(0, 2, 3, 1), weight)
    return (y if bias is None else y + bias).transpose(0, 3, 1, 2)


def _adjoint(weight: Array, groups: int) -> Array:
    """``(in, out / groups, *sizes)`` to ``(out, in / groups, *sizes)``, mirrored in space."""
    inputs, outputs, *kernel = weight.shape
    split = weight.reshape(groups, inputs // groups, outputs, *kernel).swapaxes(1, 2)
    return jnp.flip(split.reshape(groups * outputs, inputs // groups, *kernel), range(2, weight.ndim))


def _biased(y: Array, bias: Array | None) -> Array:
    return y if bias is None else y + bias.reshape(-1, *(1,) * (y.ndim - 2))


mirrors(*namesakes("conv1d", "conv2d", "conv3d"))(convolve)
mirrors(*namesakes("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"))(transpose_convolve)
