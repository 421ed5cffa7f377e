"""Canonical convolutions: the only ones that XLA computes fast on a CPU, and all others and their gradients as these.

XLA hands a convolution to its libraries where items come first, channels last and no zeros stand between elements; any
other it adds up number by number, JAX's own gradients among them. At a kernel, the gradient is one whose items are the
channels and whose channels are the items. A transposed convolution with stride ``s`` writes ``s * s`` interleaved
images, all of them by one convolution. Libraries know float32 alone. Measured by ``benchmarks/convolution.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero

from ppvae.backends.mirror.layers.subpixel import dealt, framed, taps

Pair = tuple[int, int]
Pads = Sequence[Pair]
Array = jax.Array


@partial(jax.custom_jvp, nondiff_argnums=(2, 3))
def convolve(x: Array, weight: Array, stride: Pair, pads: Pads) -> Array:
    """``(items, height, width, in)`` with a kernel ``(out, in, *kernel)`` to ``(items, rows, columns, out)``."""
    return _canonical(x, weight.transpose(2, 3, 1, 0), stride, pads)


def _moved(stride: Pair, pads: Pads, at: tuple[Array, Array], along: tuple[Array, Array]) -> tuple[Array, Array]:
    """Each part of the derivative is written as the transpose of what its own transpose, the gradient, shall be."""
    x, weight = at
    y = convolve(x, weight, stride, pads)
    back = (
        lambda y: _adjoint(y, weight, stride, pads, x.shape[1:3]),
        lambda y: _at_weight(x, y, weight.shape[2:], stride, pads),
    )
    return y, _along(y, back, along)


@partial(jax.custom_jvp, nondiff_argnums=(2, 3, 4))
def transpose_convolve(x: Array, weight: Array, stride: Pair, pads: Pads, size: Pair) -> Array:
    """``(items, rows, columns, in)`` with a kernel ``(in, out, *kernel)`` to ``(items, *size, out)``."""
    return _adjoint(x, weight, stride, pads, size)


def _moved_adjoint(
    stride: Pair, pads: Pads, size: Pair, at: tuple[Array, Array], along: tuple[Array, Array]
) -> tuple[Array, Array]:
    x, weight = at
    y = transpose_convolve(x, weight, stride, pads, size)
    back = (
        lambda y: convolve(y, weight, stride, pads),
        lambda y: _at_weight(y, x, weight.shape[2:], stride, pads),
    )
    return y, _along(y, back, along)


convolve.defjvp(_moved, symbolic_zeros=True)
transpose_convolve.defjvp(_moved_adjoint, symbolic_zeros=True)


def _along(y: Array, back: Sequence[Callable[[Array], Array]], along: Sequence[Array]) -> Array:
    """The derivative of ``y`` along those of what it was made of, given the gradients as functions of that at ``y``."""
    like = jax.ShapeDtypeStruct(y.shape, y.dtype)
    moving = [(f, d) for f, d in zip(back, along, strict=True) if not isinstance(d, SymbolicZero)]
    return sum((jax.linear_transpose(f, like)(d)[0] for f, d in moving), jnp.zeros_like(y))


def _adjoint(x: Array, weight: Array, stride: Pair, pads: Pads, size: Sequence[int]) -> Array:
    """A convolution with every ``s``-th row and column of the kernel for each image; what they make, interleaved.

    It sees ``x`` in a frame, which XLA's libraries want to be there: behind a barrier, or XLA takes it off.
    """
    reach = taps(weight.shape[2:], stride)
    kernels = jnp.flip(dealt(weight, reach, stride), (2, 4)).transpose(2, 4, 0, 3, 5, 1)
    sides = zip(x.shape[1:3], size, (before for before, _ in pads), stride, reach, strict=True)
    within = jax.lax.optimization_barrier(framed(x, [_frame(*side) for side in sides]))
    phases = _canonical(within, kernels.reshape(*kernels.shape[:3], -1), (1, 1), [(0, 0), (0, 0)])
    items, rows, columns, _ = phases.shape
    images = phases.reshape(items, rows, columns, *stride, -1).transpose(0, 1, 3, 2, 4, 5)
    whole = images.reshape(items, rows * stride[0], columns * stride[1], -1)
    top, left = (before % s for (before, _), s in zip(pads, stride, strict=True))
    return whole[:, top : top + size[0], left : left + size[1]]


def _frame(places: int, size: int, before: int, stride: int, reach: int) -> Pair:
    """Zeros around so many places, so that each image has the rows that ``size`` asks for after ``before`` of all."""
    rows = -(-(size + before % stride) // stride)
    ahead = reach - 1 - before // stride
    return ahead, rows + reach - 1 - places - ahead


def _at_weight(x: Array, y: Array, kernel: Sequence[int], stride: Pair, pads: Pads) -> Array:
    """The gradient at a kernel ``(out, in, *kernel)``, given the input and the gradient at the answer.

    Without barriers XLA leaves both as they lie, and has a convolution of another kind.
    """
    sides = zip(x.shape[1:3], y.shape[1:3], kernel, stride, pads, strict=True)
    seen = [(before, (places - 1) * s + k - n - before) for n, places, k, s, (before, _) in sides]
    turned = jax.lax.optimization_barrier(framed(x, seen).transpose(3, 1, 2, 0))
    kernels = jax.lax.optimization_barrier(y.transpose(1, 2, 0, 3))
    return _canonical(turned, kernels, (1, 1), [(0, 0), (0, 0)], stride).transpose(3, 0, 1, 2)


def _canonical(x: Array, kernel: Array, stride: Pair, pads: Pads, dilation: Pair = (1, 1)) -> Array:
    layout = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(x, kernel, stride, pads, rhs_dilation=dilation, dimension_numbers=layout)
