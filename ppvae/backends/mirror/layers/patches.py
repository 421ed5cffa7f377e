"""Patches: what a sliding window sees of a picture, one column a place, and their sum back into a picture."""

# ruff: noqa: D103 - what a rule computes is said by the torch function that it stands for

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch.nn.functional as F

from ppvae.backends.mirror.functions.arguments import mirrors


@mirrors(F.unfold)
def unfold(input: jax.Array, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> jax.Array:
    kernel, dilation, padding, stride = map(_pair, (kernel_size, dilation, padding, stride))
    padded = jnp.pad(input, [(0, 0)] * (input.ndim - 2) + [(side, side) for side in padding])
    rows, columns = map(_places, padded.shape[-2:], kernel, dilation, stride)
    seen = padded[..., rows[:, None, :, None], columns[None, :, None, :]]  # (..., channel, *kernel, *places)
    return seen.reshape(*input.shape[:-3], input.shape[-3] * kernel[0] * kernel[1], -1)


@mirrors(F.fold)
def fold(
    input: jax.Array, output_size: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1
) -> jax.Array:
    """The transpose of :func:`unfold`."""
    kernel = _pair(kernel_size)
    shape = (*input.shape[:-2], input.shape[-2] // (kernel[0] * kernel[1]), *_pair(output_size))
    picture = jax.ShapeDtypeStruct(shape, input.dtype)
    return jax.linear_transpose(lambda x: unfold(x, kernel, dilation, padding, stride), picture)(input)[0]


def _places(size: int, kernel: int, dilation: int, stride: int) -> np.ndarray:
    """Which row each element of the window sees at each place: ``(kernel, places)``."""
    starts = np.arange(0, size - dilation * (kernel - 1), stride)
    return dilation * np.arange(kernel)[:, None] + starts


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else tuple(value)
