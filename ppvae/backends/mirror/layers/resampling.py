"""Resampling: interpolation, and shuffles between channels and pixels."""

# ruff: noqa: D103 - what a rule computes is said by the torch function that it stands for

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
import torch.nn.functional as F

from ppvae.backends.mirror.functions.arguments import mirrors, namesakes, refuse
from ppvae.backends.mirror.layers.convolution import Sizes
from ppvae.backends.mirror.layers.pooling import along, mean_bins

_LINEAR = {"linear": 1, "bilinear": 2, "trilinear": 3}


@mirrors(F.interpolate)
def interpolate(
    input: jax.Array,
    size: Sizes | None = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> jax.Array:
    """One dim after another; ``(items, channels, *sizes)``."""
    refuse(antialias or mode == "bicubic", "interpolate() has a mirror for nearest, linear and area alone")
    dims = input.ndim - 2
    targets = _each(size, dims)
    scales = _each(scale_factor, dims)
    for axis, (target, scale) in enumerate(zip(targets, scales, strict=True), 2):
        old = input.shape[axis]
        new = math.floor(old * scale) if target is None else target
        exact = target is not None or bool(recompute_scale_factor)
        ratio = old / new if exact else 1 / scale
        input = _resampled(input, axis, new, ratio, mode, bool(align_corners))
    return input


def _each(value: Any, dims: int) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, (tuple, list)) else (value,) * dims


def _resampled(x: jax.Array, axis: int, new: int, ratio: float, mode: str, corners: bool) -> jax.Array:
    if mode == "area":
        return mean_bins(x, axis, new)
    if mode in _LINEAR:
        return along(x, axis, _linear(x.shape[axis], new, ratio, corners))
    shift = 0.5 if mode == "nearest-exact" else 0.0
    # torch finds the nearest index in single precision
    at = np.floor((np.arange(new, dtype=np.float32) + np.float32(shift)) * np.float32(ratio)).astype(int)
    return jnp.take(x, np.minimum(at, x.shape[axis] - 1), axis)


def _linear(old: int, new: int, ratio: float, corners: bool) -> np.ndarray:
    """``(new, old)``: each row holds the weights of two neighbours."""
    steps = np.arange(new)
    at = steps * ((old - 1) / (new - 1) if new > 1 else 0.0) if corners else (steps + 0.5) * ratio - 0.5
    at = np.clip(at, 0, old - 1)
    low = np.floor(at).astype(int)
    matrix = np.zeros((new, old))
    np.add.at(matrix, (steps, low), 1 - (at - low))
    np.add.at(matrix, (steps, np.minimum(low + 1, old - 1)), at - low)
    return matrix


@mirrors(*namesakes("pixel_shuffle"))
def pixel_shuffle(input: jax.Array, upscale_factor: int) -> jax.Array:
    *lead, channels, height, width = input.shape
    r = upscale_factor
    x = input.reshape(*lead, channels // r**2, r, r, height, width)
    return jnp.moveaxis(x, (-4, -3), (-3, -1)).reshape(*lead, channels // r**2, height * r, width * r)


@mirrors(*namesakes("pixel_unshuffle"))
def pixel_unshuffle(input: jax.Array, downscale_factor: int) -> jax.Array:
    *lead, channels, height, width = input.shape
    r = downscale_factor
    x = input.reshape(*lead, channels, height // r, r, width // r, r)
    return jnp.moveaxis(x, (-3, -1), (-4, -3)).reshape(*lead, channels * r**2, height // r, width // r)


@mirrors(torch.channel_shuffle)
def channel_shuffle(input: jax.Array, groups: int) -> jax.Array:
    items, channels, *rest = input.shape
    return input.reshape(items, groups, channels // groups, *rest).swapaxes(1, 2).reshape(input.shape)
