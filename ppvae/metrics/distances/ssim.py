"""SSIM, the structural similarity: how alike two images look."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter

RADIUS = 5  # of the window, eleven pixels wide
SMALLEST = 3  # pixels
SIGMA = 1.5


def ssim(real: np.ndarray, made: np.ndarray, span: float = 1.0) -> np.ndarray:
    """The mean structural similarity of each image to the real one, ``(items,)``: at most 1, which equal images have.

    Wang, Bovik, Sheikh and Simoncelli (2004), with their Gaussian window and constants, over the windows that lie
    inside the image; channels are averaged. In an image smaller than that window, 11 by 11, it is the largest square
    of odd size that fits. Windows that touch a hole are left out; an image that has no other is NaN.

    Args:
        real: images ``(items, *channels, height, width)``; NaN is a hole.
        made: the images to be compared with them, of the same shape.
        span: the largest possible difference of two pixels.

    Raises:
        ValueError: the shapes differ, or an image is smaller than 3 by 3.
    """
    if real.shape != made.shape or real.ndim < 3 or min(real.shape[-2:]) < SMALLEST:
        wanted = f"two arrays (items, *channels, height, width) of at least {SMALLEST} by {SMALLEST} pixels"
        raise ValueError(f"images have shapes {real.shape} and {made.shape}; give {wanted}")
    x, y = (images.astype(np.float64) / span for images in (real, made))
    mean_x, mean_y = _windows(x), _windows(y)
    power = mean_x**2 + mean_y**2
    light = (2 * mean_x * mean_y + 0.01**2) / (power + 0.01**2)
    contrast = (2 * (_windows(x * y) - mean_x * mean_y) + 0.03**2) / (_windows(x * x + y * y) - power + 0.03**2)
    alike = np.ma.masked_invalid((light * contrast).reshape(len(x), -1))
    return alike.mean(1).filled(np.nan)


def _windows(images: np.ndarray) -> np.ndarray:
    """The mean over the window around each pixel that has a whole one; a NaN reaches as far as its windows."""
    radius = min(RADIUS, (min(images.shape[-2:]) - 1) // 2)
    return gaussian_filter(images, SIGMA, radius=radius, axes=(-2, -1))[..., radius:-radius, radius:-radius]
