"""Resampling: interpolation, and shuffles between channels and pixels."""

# ruff: noqa: D103 - what a rule computes is said by the torch function that it stands for

from __future__ import annotations

import math
from collections.abc import Sequence
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
    refuse(antialias, "interpolate(antialias=True) has no mirror; use F.avg_pool2d or interpolate(mode='area')")
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
    if mode == "bicubic":
        return along(x, axis, _cubic(x.shape[axis], _seen(x.shape[axis], new, ratio, corners)))
    if mode in _LINEAR:
        return along(x, axis, _linear(x.shape[axis], _seen(x.shape[axis], new, ratio, corners)))
    shift = 0.5 if mode == "nearest-exact" else 0.0
    # torch finds the nearest index in single precision
    at = np.floor((np.arange(new, dtype=np.float32) + np.float32(shift)) * np.float32(ratio)).astype(int)
    return jnp.take(x, np.minimum(at, x.shape[axis] - 1), axis)


def _seen(old: int, new: int, ratio: float, corners: bool) -> np.ndarray:
    """Where among the old elements each new one looks; ``(new,)``."""
    steps = np.arange(new)
    return steps * ((old - 1) / (new - 1) if new > 1 else 0.0) if corners else (steps + 0.5) * ratio - 0.5


def _linear(old: int, at: np.ndarray) -> np.ndarray:
    """``(new, old)``: each row holds the weights of two neighbours."""
    at = np.clip(at, 0, old - 1)
    low = np.floor(at).astype(int)
    return _weighed(old, low, [1 - (at - low), at - low])


def _cubic(old: int, at: np.ndarray) -> np.ndarray:
    """``(new, old)``: each row holds the weights of four neighbours, by the cubic convolution of Keys (1981)."""
    low = np.floor(at).astype(int)
    slope = -0.75  # torch's, where others take -0.5

    def weight(far: np.ndarray) -> np.ndarray:
        near = (slope + 2) * far**3 - (slope + 3) * far**2 + 1
        return np.where(far <= 1, near, slope * (far**3 - 5 * far**2 + 8 * far - 4))

    return _weighed(old, low - 1, [weight(np.abs(at - low - k)) for k in (-1, 0, 1, 2)])


def _weighed(old: int, first: np.ndarray, weights: list[np.ndarray]) -> np.ndarray:
    """``(new, old)``: the weights of an element and those after it; what lies outside is the one at the edge."""
    matrix = np.zeros((len(first), old))
    for k, weight in enumerate(weights):
        np.add.at(matrix, (np.arange(len(first)), np.clip(first + k, 0, old - 1)), weight)
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


@mirrors(F.affine_grid)
def affine_grid(theta: jax.Array, size: Sequence[int], align_corners: bool | None = None) -> jax.Array:
    """Where each place of an image of this size looks, as (x, y) between -1 and 1; theta is ``(items, 2, 3)``."""
    refuse(len(size) != 4, "it is mirrored for images, of size (items, channels, height, width)")

    def line(n: int) -> jax.Array:
        reach = 1.0 if align_corners or n == 1 else (n - 1) / n
        return jnp.linspace(-reach, reach, n, dtype=theta.dtype) if n > 1 else jnp.zeros(1, theta.dtype)

    y, x = jnp.meshgrid(line(size[2]), line(size[3]), indexing="ij")
    return jnp.einsum("hwk,njk->nhwj", jnp.stack([x, y, jnp.ones_like(x)], -1), theta)


@mirrors(F.grid_sample)
def grid_sample(
    input: jax.Array,
    grid: jax.Array,
    mode: str = "bilinear",
    padding_mode: str = "zeros",
    align_corners: bool | None = None,
) -> jax.Array:
    """The image at the places of a grid, by the nearest pixel or between its four neighbours."""
    refuse(input.ndim != 4 or mode == "bicubic", "it is mirrored for images, bilinear or nearest")
    refuse(padding_mode == "reflection", "it is mirrored for padding by zeros or the border")
    height, width = input.shape[2:]
    x, y = (_pixels(grid[..., k], n, bool(align_corners)) for k, n in enumerate((width, height)))
    if padding_mode == "border":
        x, y = _clipped(x, width), _clipped(y, height)
    if mode == "nearest":
        return _pixel(input, jnp.round(x), jnp.round(y))
    left, top = jnp.floor(x), jnp.floor(y)
    corners = [(left + i, top + j) for i in (0, 1) for j in (0, 1)]
    parts = [_pixel(input, i, j) * ((1 - jnp.abs(x - i)) * (1 - jnp.abs(y - j)))[:, None] for i, j in corners]
    return jnp.sum(jnp.stack(parts), 0)


def _pixels(place: jax.Array, size: int, align_corners: bool) -> jax.Array:
    """From -1 .. 1 to the numbers of pixels."""
    return (place + 1) / 2 * (size - 1) if align_corners else ((place + 1) * size - 1) / 2


def _clipped(place: jax.Array, size: int) -> jax.Array:
    """Within the image; at its border, too, a place no longer moves, as in torch."""
    return jnp.where(place <= 0, 0, jnp.where(place >= size - 1, size - 1, place))


def _pixel(input: jax.Array, x: jax.Array, y: jax.Array) -> jax.Array:
    """``(items, channels, height, width)`` of what is at whole pixels, zero outside."""
    height, width = input.shape[2:]
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    i, j = (jnp.where(inside, place, 0).astype(int) for place in (x, y))
    found = jax.vmap(lambda image, i, j: image[:, j, i])(input, i, j)
    return jnp.where(inside[:, None], found, 0)
