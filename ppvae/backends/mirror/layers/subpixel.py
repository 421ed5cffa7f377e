"""Sub-pixel products: convolutions, transposed ones and their gradients as matrix products, for any dtype.

A convolution with stride ``s`` sees blocks of ``s * s`` pixels, whose numbers are channels of one image with stride 1;
one matrix product over its patches gives the answer. A transposed one is its transpose.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp

Pair = tuple[int, int]
Array = jax.Array


def convolve(x: Array, weight: Array, stride: Pair, pads: Sequence[Pair]) -> Array:
    """``(items, height, width, in)`` with a kernel ``(out, in, *kernel)`` to ``(items, rows, columns, out)``."""
    kernel = weight.shape[2:]
    places = [(n + sum(pad) - k) // s + 1 for n, pad, k, s in zip(x.shape[1:3], pads, kernel, stride, strict=True)]
    return _below(x, kernel, stride, [pad[0] for pad in pads], places) @ _flat(weight, stride)


def transpose_convolve(x: Array, weight: Array, stride: Pair, pads: Sequence[Pair], size: Pair) -> Array:
    """``(items, rows, columns, in)`` with a kernel ``(in, out, *kernel)`` to ``(items, *size, out)``."""
    image = jax.ShapeDtypeStruct((len(x), *size, weight.shape[1]), x.dtype)
    return jax.linear_transpose(lambda y: convolve(y, weight, stride, pads), image)(x)[0]


def framed(x: Array, pads: Sequence[Pair]) -> Array:
    """Zeros around the image, or less of it where a width is negative."""
    return jax.lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *((*pad, 0) for pad in pads), (0, 0, 0)])


def taps(kernel: Sequence[int], stride: Pair) -> list[int]:
    """How many blocks of a stride's pixels a kernel reaches over."""
    return [-(-k // s) for k, s in zip(kernel, stride, strict=True)]


def _below(x: Array, kernel: Sequence[int], stride: Pair, before: Sequence[int], places: Sequence[int]) -> Array:
    """``(items, *places, taps * stride * channels)``: what lies below the kernel, by blocks, ``before`` zeros ahead."""
    reach = taps(kernel, stride)
    size = [place + tap - 1 for place, tap in zip(places, reach, strict=True)]  # in blocks
    frame = [(b, m * s - n - b) for n, m, s, b in zip(x.shape[1:3], size, stride, before, strict=True)]
    blocks = framed(x, frame).reshape(-1, size[0], stride[0], size[1], stride[1], x.shape[-1])
    channels = blocks.transpose(0, 1, 3, 2, 4, 5).reshape(-1, *size, stride[0] * stride[1] * x.shape[-1])
    return _patches(channels, reach)


def _patches(x: Array, kernel: Sequence[int]) -> Array:
    """``(items, rows, columns, kernel * channels)``: what lies below the kernel at each of its places, one apart."""
    rows, columns = (n - k + 1 for n, k in zip(x.shape[1:3], kernel, strict=True))
    parts = [x[:, i : i + rows, j : j + columns] for i in range(kernel[0]) for j in range(kernel[1])]
    return jnp.concatenate(parts, -1)


def _flat(weight: Array, stride: Pair) -> Array:
    """``(taps * stride * in, out)``: a kernel ``(out, in, *kernel)`` as ``_below`` orders what it meets."""
    parts = dealt(weight, taps(weight.shape[2:], stride), stride)
    return parts.transpose(2, 4, 3, 5, 1, 0).reshape(-1, len(weight))


def dealt(weight: Array, reach: Sequence[int], stride: Pair) -> Array:
    """The kernel's rows and columns by tap and place within a stride: ``(·, ·, taps, stride, taps, stride)``."""
    missing = [(0, t * s - k) for t, s, k in zip(reach, stride, weight.shape[2:], strict=True)]
    whole = jnp.pad(weight, [(0, 0), (0, 0), *missing])
    return whole.reshape(*weight.shape[:2], reach[0], stride[0], reach[1], stride[1])
