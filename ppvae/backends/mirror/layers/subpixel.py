"""Sub-pixel products: convolutions, transposed ones and their gradients as matrix products; XLA's are slow on a CPU.

A convolution with stride ``s`` sees blocks of ``s * s`` pixels, whose numbers are channels of one image with stride 1;
one matrix product over its patches gives the answer. A transposed one writes ``s * s`` interleaved images. Each is an
ordinary convolution of the input with every ``s``-th row and column of the kernel, so one matrix product over patches
of the input gives all of them. Gradients are products over patches as well. Measured by ``benchmarks/convolution.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

Pair = tuple[int, int]
Array = jax.Array


def convolve(x: Array, weight: Array, stride: Pair, pads: Sequence[Pair]) -> Array:
    """``(items, height, width, in)`` with a kernel ``(out, in, *kernel)`` to ``(items, rows, columns, out)``.

    Reverse-mode derivatives alone, of any order.
    """
    return _convolved(x, weight, stride, tuple(pads))


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _convolved(x: Array, weight: Array, stride: Pair, pads: tuple[Pair, ...]) -> Array:
    return _product(x, weight, stride, pads)


def _product(x: Array, weight: Array, stride: Pair, pads: tuple[Pair, ...]) -> Array:
    kernel = weight.shape[2:]
    places = [(n + sum(pad) - k) // s + 1 for n, pad, k, s in zip(x.shape[1:3], pads, kernel, stride, strict=True)]
    return _below(x, kernel, stride, [pad[0] for pad in pads], places) @ _flat(weight, stride)


def _without_patches(x: Array, weight: Array, stride: Pair, pads: tuple[Pair, ...]) -> tuple[Array, Any]:
    return _convolved(x, weight, stride, pads), (x, weight)


def _again(stride: Pair, pads: tuple[Pair, ...], kept: tuple[Array, Array], dy: Array) -> Any:
    """Derivatives by patches of their own: those of the forward pass, many times the picture, need not be kept.

    XLA takes them for the same ones and keeps them, unless they depend on what the forward pass does not have.
    """
    x, weight = kept
    late = dy[:1, :1, :1, :1]
    x = jnp.where(late == late, x, late)  # x, unless that is not a number
    return jax.vjp(partial(_product, stride=stride, pads=pads), x, weight)[1](dy)


_convolved.defvjp(_without_patches, _again)


@partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def transpose_convolve(x: Array, weight: Array, stride: Pair, padding: Pair, size: Pair) -> Array:
    """``(items, height, width, in)`` with a kernel ``(in, out, *kernel)`` to ``(items, *size, out)``.

    Reverse-mode derivatives alone, of any order.
    """
    kernel = weight.shape[2:]
    taps = _taps(kernel, stride)
    patches = _patches(_framed(x, [(t - 1, t - 1) for t in taps]), taps)
    phases = patches @ _phase_weights(weight, taps, stride)
    cropped = [(-p, p + n - s * m) for p, n, s, m in zip(padding, size, stride, phases.shape[1:3], strict=True)]
    return _framed(_interleaved(phases, stride), cropped)


def _kept(x: Array, weight: Array, stride: Pair, padding: Pair, size: Pair) -> tuple[Array, tuple[Array, Array]]:
    return transpose_convolve(x, weight, stride, padding, size), (x, weight)


def _pulled(stride: Pair, padding: Pair, size: Pair, kept: tuple[Array, Array], dy: Array) -> tuple[Array, Array]:
    """The convolution that this one is the adjoint of, and the product of its patches with the input."""
    x, weight = kept
    inputs, outputs, *kernel = weight.shape
    patches, taps = _below(dy, kernel, stride, padding, x.shape[1:3]), _taps(kernel, stride)
    dw = (x.reshape(-1, inputs).T @ patches.reshape(-1, patches.shape[-1])).reshape(inputs, *taps, *stride, outputs)
    whole = dw.transpose(0, 5, 1, 3, 2, 4).reshape(inputs, outputs, taps[0] * stride[0], taps[1] * stride[1])
    return patches @ _flat(weight, stride), whole[..., : kernel[0], : kernel[1]]


transpose_convolve.defvjp(_kept, _pulled)


def _framed(x: Array, pads: Sequence[Pair]) -> Array:
    """Zeros around the image, or less of it where a width is negative."""
    return jax.lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *((*pad, 0) for pad in pads), (0, 0, 0)])


def _taps(kernel: Sequence[int], stride: Pair) -> list[int]:
    """How many blocks of a stride's pixels a kernel reaches over."""
    return [-(-k // s) for k, s in zip(kernel, stride, strict=True)]


def _below(x: Array, kernel: Sequence[int], stride: Pair, before: Sequence[int], places: Sequence[int]) -> Array:
    """``(items, *places, taps * stride * channels)``: what lies below the kernel, by blocks, ``before`` zeros ahead."""
    taps = _taps(kernel, stride)
    size = [place + tap - 1 for place, tap in zip(places, taps, strict=True)]  # in blocks
    frame = [(b, m * s - n - b) for n, m, s, b in zip(x.shape[1:3], size, stride, before, strict=True)]
    blocks = _framed(x, frame).reshape(-1, size[0], stride[0], size[1], stride[1], x.shape[-1])
    channels = blocks.transpose(0, 1, 3, 2, 4, 5).reshape(-1, *size, stride[0] * stride[1] * x.shape[-1])
    return _patches(channels, taps)


def _patches(x: Array, kernel: Sequence[int]) -> Array:
    """``(items, rows, columns, kernel * channels)``: what lies below the kernel at each of its places, one apart."""
    rows, columns = (n - k + 1 for n, k in zip(x.shape[1:3], kernel, strict=True))
    parts = [x[:, i : i + rows, j : j + columns] for i in range(kernel[0]) for j in range(kernel[1])]
    return jnp.concatenate(parts, -1)


def _flat(weight: Array, stride: Pair) -> Array:
    """``(taps * stride * in, out)``: a kernel ``(out, in, *kernel)`` as ``_below`` orders what it meets."""
    dealt = _dealt(weight, _taps(weight.shape[2:], stride), stride)
    return dealt.transpose(2, 4, 3, 5, 1, 0).reshape(-1, len(weight))


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
