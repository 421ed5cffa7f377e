"""Sub-pixel products: convolutions, transposed ones and their gradients as matrix products; XLA's are slow on a CPU.

A convolution with stride ``s`` sees blocks of ``s * s`` pixels, whose numbers are channels of one image with stride 1;
one matrix product over its patches gives the answer. A transposed one writes ``s * s`` interleaved images. Each is an
ordinary convolution of the input with every ``s``-th row and column of the kernel, so one matrix product over patches
of the input gives all of them. Gradients are products over patches as well. Measured by ``benchmarks/convolution.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp

Pair = tuple[int, int]
Array = jax.Array


def convolve(x: Array, weight: Array, stride: Pair, pads: Sequence[Pair]) -> Array:
    """``(items, height, width, in)`` with a kernel ``(out, in, *kernel)`` to ``(items, rows, columns, out)``."""
    kernel = weight.shape[2:]
    taps = [-(-k // s) for k, s in zip(kernel, stride, strict=True)]
    places = [(n + sum(pad) - k) // s + 1 for n, pad, k, s in zip(x.shape[1:3], pads, kernel, stride, strict=True)]
    size = [place + tap - 1 for place, tap in zip(places, taps, strict=True)]  # in blocks
    frame = [(pad[0], m * s - n - pad[0]) for n, m, s, pad in zip(x.shape[1:3], size, stride, pads, strict=True)]
    blocks = _framed(x, frame).reshape(-1, size[0], stride[0], size[1], stride[1], x.shape[-1])
    channels = blocks.transpose(0, 1, 3, 2, 4, 5).reshape(-1, *size, stride[0] * stride[1] * x.shape[-1])
    dealt = _dealt(weight, taps, stride).transpose(2, 4, 3, 5, 1, 0)
    return _patches(channels, taps, (1, 1)) @ dealt.reshape(-1, len(weight))


@partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def transpose_convolve(x: Array, weight: Array, stride: Pair, padding: Pair, size: Pair) -> Array:
    """``(items, height, width, in)`` with a kernel ``(in, out, *kernel)`` to ``(items, *size, out)``.

    Reverse-mode derivatives alone, of any order.
    """
    kernel = weight.shape[2:]
    taps = [-(-k // s) for k, s in zip(kernel, stride, strict=True)]
    patches = _patches(_framed(x, [(t - 1, t - 1) for t in taps]), taps, (1, 1))
    phases = patches @ _phase_weights(weight, taps, stride)
    cropped = [(-p, p + n - s * m) for p, n, s, m in zip(padding, size, stride, phases.shape[1:3], strict=True)]
    return _framed(_interleaved(phases, stride), cropped)


def _kept(x: Array, weight: Array, stride: Pair, padding: Pair, size: Pair) -> tuple[Array, tuple[Array, Array]]:
    return transpose_convolve(x, weight, stride, padding, size), (x, weight)


def _pulled(stride: Pair, padding: Pair, size: Pair, kept: tuple[Array, Array], dy: Array) -> tuple[Array, Array]:
    """The convolution that this one is the adjoint of, and the product of its patches with the input."""
    x, weight = kept
    inputs, outputs, *kernel = weight.shape
    reach = [(m - 1) * s + k for m, s, k in zip(x.shape[1:3], stride, kernel, strict=True)]
    frame = [(p, r - n - p) for p, r, n in zip(padding, reach, size, strict=True)]
    patches = _patches(_framed(dy, frame), kernel, stride)
    dx = patches @ weight.transpose(2, 3, 1, 0).reshape(-1, inputs)
    dw = patches.reshape(-1, patches.shape[-1]).T @ x.reshape(-1, inputs)
    return dx, dw.reshape(*kernel, outputs, inputs).transpose(3, 2, 0, 1)


transpose_convolve.defvjp(_kept, _pulled)


def _framed(x: Array, pads: Sequence[Pair]) -> Array:
    """Zeros around the image, or less of it where a width is negative."""
    return jax.lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *((*pad, 0) for pad in pads), (0, 0, 0)])


def _patches(x: Array, kernel: Sequence[int], stride: Pair) -> Array:
    """``(items, rows, columns, kernel * channels)``: what lies below the kernel at each of its places."""
    rows, columns = ((n - k) // s + 1 for n, k, s in zip(x.shape[1:3], kernel, stride, strict=True))
    (down, right), (height, width) = stride, kernel
    parts = [
        x[:, i : i + (rows - 1) * down + 1 : down, j : j + (columns - 1) * right + 1 : right]
        for i in range(height)
        for j in range(width)
    ]
    return jnp.concatenate(parts, -1)


def _phase_weights(weight: Array, taps: Sequence[int], stride: Pair) -> Array:
    """``(taps * in, phases * out)``: the kernel's rows and columns, dealt out to the interleaved images."""
    inputs, outputs = weight.shape[:2]
    turned = jnp.flip(_dealt(weight, taps, stride), (2, 4)).transpose(2, 4, 0, 3, 5, 1)
    return turned.reshape(taps[0] * taps[1] * inputs, stride[0] * stride[1] * outputs)


def _dealt(weight: Array, taps: Sequence[int], stride: Pair) -> Array:
    """The kernel's rows and columns by tap and place within a stride: ``(·, ·, taps, stride, taps, stride)``."""
    missing = [(0, t * s - k) for t, s, k in zip(taps, stride, weight.shape[2:], strict=True)]
    whole = jnp.pad(weight, [(0, 0), (0, 0), *missing])
    return whole.reshape(*weight.shape[:2], taps[0], stride[0], taps[1], stride[1])


def _interleaved(phases: Array, stride: Pair) -> Array:
    items, rows, columns, _ = phases.shape
    images = phases.reshape(items, rows, columns, *stride, -1).transpose(0, 1, 3, 2, 4, 5)
    return images.reshape(items, rows * stride[0], columns * stride[1], -1)
