"""Mel distance: how far two sounds are apart in loudness, band by band."""

from __future__ import annotations

import numpy as np
from scipy.signal import get_window

FLOOR = 1e-10  # power below which a band is silent: -100 dB


def mel_distance(real: np.ndarray, made: np.ndarray, rate: float, bands: int = 40, window: int = 1024) -> np.ndarray:
    """The log-spectral distance of each sound to the real one on the mel scale, in decibels, ``(items,)``: 0 is best.

    The root mean square over bands of the difference in decibels (Gray and Markel 1976), averaged over frames and
    channels. Frames that touch a hole are left out; a sound that has no other is NaN.

    Args:
        real: waveforms ``(items, *channels, samples)``; NaN is a hole.
        made: the waveforms to be compared with them, of the same shape.
        rate: samples per second.
        bands: of equal width in mel, from 0 to half the rate.
        window: samples of a frame; frames start a quarter of it apart.

    Raises:
        ValueError: the shapes differ, sounds are shorter than a frame, or bands are too narrow for its length.
    """
    if real.shape != made.shape or real.ndim < 2 or real.shape[-1] < window:
        raise ValueError(
            f"sounds have shapes {real.shape} and {made.shape}; give two arrays of {window} samples or more"
        )
    return loudness_distance(*(np.swapaxes(log_mel(each, rate, bands, window), -1, -2) for each in (real, made)))


def loudness_distance(real: np.ndarray, made: np.ndarray) -> np.ndarray:
    """The :func:`mel_distance` of sounds that are decibels by band and frame, ``(items, *channels, bands, frames)``."""
    distance = np.sqrt(np.square(real - made).mean(-2)).reshape(len(real), -1)
    return np.ma.masked_invalid(distance).mean(1).filled(np.nan)


def log_mel(waves: np.ndarray, rate: float, bands: int = 40, window: int = 1024) -> np.ndarray:
    """The power of waveforms ``(..., samples)`` in each frame and mel band, in decibels: ``(..., frames, bands)``.

    Frames are whole, under a Hann window. Bands are triangles with a peak of one, on the scale
    ``mel = 2595 log10(1 + hertz / 700)`` (O'Shaughnessy 1987).
    """
    frames = np.lib.stride_tricks.sliding_window_view(waves, window, axis=-1)[..., :: window // 4, :]
    power = np.square(np.abs(np.fft.rfft(frames * get_window("hann", window))))
    return 10 * np.log10(np.maximum(power @ _triangles(rate, bands, window).T, FLOOR))


def _triangles(rate: float, bands: int, window: int) -> np.ndarray:
    """The weight of each frequency of a frame in each band, ``(bands, window // 2 + 1)``."""
    edges = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + rate / 1400), bands + 2) / 2595) - 1)
    low, peak, high = (edges[i : bands + i, None] for i in range(3))
    hertz = np.fft.rfftfreq(window, 1 / rate)
    weights = np.maximum(0, np.minimum((hertz - low) / (peak - low), (high - hertz) / (high - peak)))
    if not weights.any(1).all():
        raise ValueError(
            f"{bands} bands are too narrow for frames of {window} samples; ask for fewer, or longer frames"
        )
    return weights
