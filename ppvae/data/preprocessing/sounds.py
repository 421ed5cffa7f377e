"""Sounds: recordings as log-mel spectrograms ``(bands, frames)``, and back to what can be played, by librosa."""

from __future__ import annotations

import io
import warnings
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from pydantic import PositiveInt
from pydantic.dataclasses import dataclass

from ppvae.data.preprocessing.extra import extra
from ppvae.data.preprocessing.lengths import bounded
from ppvae.data.preprocessing.stacking import stacked

SUFFIXES = (".wav", ".flac", ".ogg", ".mp3", ".aiff", ".aif")
FASTEST = 16_000  # samples a second, where no rate is asked for
FLOOR = 1e-8  # power, -80 decibels: what is weaker counts as silence
LOUDEST = 16  # of samples in floating point, which may pass 1 a little; whole numbers written as such pass by far
ROUNDS = 32  # of Griffin-Lim


class Recording(NamedTuple):
    """A sound: ``samples`` ``(n,)`` from -1 to 1, ``rate`` of them a second."""

    samples: np.ndarray
    rate: int


@dataclass(frozen=True, config={"extra": "forbid"})
class Sounds:
    """Log-mel spectrograms: the power in each of ``bands`` mel bands, in decibels, -80 and above.

    A frame is ``hop`` samples after the one before and sees ``window`` of them, ``rate`` samples a second. What is
    shorter than ``frames`` ends in silence, and what is longer is cut.
    """

    rate: PositiveInt
    bands: PositiveInt
    frames: PositiveInt
    window: PositiveInt
    hop: PositiveInt

    @property
    def shape(self) -> tuple[int, ...]:
        """``(bands, frames)``."""
        return self.bands, self.frames

    @property
    def levels(self) -> None:
        """None: decibels are no categories."""

    @property
    def length(self) -> int:
        """How many samples a sound has that fills all frames."""
        return max((self.frames - 1) * self.hop, 1)

    def one(self, recording: Recording) -> np.ndarray:
        """A recording as ``(bands, frames)`` in float32."""
        librosa = extra("librosa")
        samples = np.asarray(recording.samples, np.float32)
        if recording.rate != self.rate:
            samples = librosa.resample(samples, orig_sr=recording.rate, target_sr=self.rate)
        samples = librosa.util.fix_length(samples, size=self.length)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "n_fft=")  # of sounds that are shorter than a window
            mel = librosa.feature.melspectrogram(y=samples, pad_mode="constant", **self._window())
        return (10 * np.log10(np.maximum(mel.astype(np.float64), FLOOR))).astype(np.float32)

    def encode(self, raw: Iterable[Recording | None]) -> tuple[np.ndarray, np.ndarray]:
        """Recordings, None for a hole, as ``(items, bands, frames)``, and which are there, ``(items,)``."""
        return stacked(self.one, raw, self.shape)

    def decode(self, array: np.ndarray) -> list[Recording]:
        """Recordings from ``(items, bands, frames)``, their phases by Griffin-Lim, NaN is silent."""
        return [
            Recording(self._heard(decibels), self.rate)
            for decibels in np.nan_to_num(np.asarray(array, np.float32), nan=-80)
        ]

    def plain(self) -> dict[str, Any]:
        """What JSON holds of it."""
        return {"kind": "sound", **asdict(self)}

    def _window(self) -> dict[str, Any]:
        return {"sr": self.rate, "n_fft": self.window, "hop_length": self.hop, "n_mels": self.bands}

    def _heard(self, decibels: np.ndarray) -> np.ndarray:
        librosa = extra("librosa")
        power = 10 ** (decibels / 10)
        mel = np.where(power > FLOOR, power, 0)
        magnitude = librosa.feature.inverse.mel_to_stft(mel, sr=self.rate, n_fft=self.window)
        samples = librosa.griffinlim(
            magnitude,
            n_iter=ROUNDS,
            hop_length=self.hop,
            n_fft=self.window,
            length=self.length,
            pad_mode="constant",
            random_state=0,
        )
        return np.clip(samples, -1, 1)


def fitted(
    raw: Iterable[Recording | None],
    rate: int | None = None,
    bands: int = 32,
    seconds: float | None = None,
    hop: float = 0.01,
    window: float = 0.04,
) -> Sounds:
    """Sounds of the rate that most recordings have, at most 16,000 a second, as long as the longest of them.

    One that is far longer than the rest is cut: :func:`~ppvae.data.preprocessing.lengths.bounded`.

    Args:
        raw: the recordings to train on.
        rate: samples a second.
        bands: mel bands.
        seconds: how long every sound is made.
        hop, window: seconds from one frame to the next, and those that a frame sees.

    Warns:
        UserWarning: some are cut, or all are silent.

    Raises:
        ValueError: there is no recording, or there are more bands than frequencies in a window.
    """
    found = [(each.rate, len(each.samples) / each.rate, _heard(each)) for each in raw if each is not None]
    if not found:
        raise ValueError("there is no recording to find a rate and a length from")
    if not any(heard for *_, heard in found):
        warnings.warn("all recordings are silent, or their channels cancel each other", UserWarning, stacklevel=2)
    rates = Counter(each for each, *_ in found)
    rate = rate or min(min(rates, key=lambda each: (-rates[each], each)), FASTEST)
    step, wide = max(round(hop * rate), 1), max(round(window * rate), 2)
    needed = [int(np.ceil(length * rate / step)) + 1 for _, length, _ in found]
    frames = bounded(needed) if seconds is None else int(np.ceil(seconds * rate / step)) + 1
    if seconds is None and (cut := sum(each > frames for each in needed)):
        longest = max(length for _, length, _ in found)
        warnings.warn(
            f"{cut} of {len(needed)} recordings are cut off after {(frames - 1) * step / rate:.3g} seconds; "
            f"seconds = {longest:.4g} keeps all, and makes every one so long",
            UserWarning,
            stacklevel=2,
        )
    made = Sounds(rate, bands, frames, wide, step)
    _check_bands(made)
    return made


def _heard(recording: Recording) -> bool:
    """Is any sample above what counts as silence?"""
    return bool(np.max(np.square(recording.samples), initial=0) > FLOOR)


def read(path: str | Path) -> Recording:
    """A recording, the mean of its channels.

    Raises:
        ValueError: it is damaged, no sound, empty, not finite, or on another scale than from -1 to 1.
    """
    soundfile = extra("soundfile")
    try:
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except soundfile.SoundFileError as error:
        raise ValueError(f"cannot read {str(path)!r} as a sound: {str(error).splitlines()[0]}") from None
    if not len(samples):
        raise ValueError(f"cannot read {str(path)!r} as a sound: it holds no sample")
    if not np.isfinite(samples).all():
        raise ValueError(f"cannot read {str(path)!r} as a sound: it holds samples that are no finite numbers")
    if (peak := np.abs(samples).max()) > LOUDEST:
        raise ValueError(f"cannot read {str(path)!r} as a sound: it reaches {peak:.4g}, where 1 is as loud as can be")
    return Recording(samples.mean(axis=1), rate)


def write(path: str | Path | IO[bytes], recording: Recording) -> None:
    """Write a recording as a WAV file of 16 bits, or into an open one."""
    if isinstance(path, str | Path):  # of what the disk refuses soundfile says no more than "System error"
        write(whole := io.BytesIO(), recording)
        Path(path).write_bytes(whole.getvalue())
    else:
        extra("soundfile").write(path, recording.samples, recording.rate, format="WAV", subtype="PCM_16")


def _check_bands(sounds: Sounds) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        filters = extra("librosa").filters.mel(sr=sounds.rate, n_fft=sounds.window, n_mels=sounds.bands)
    if not filters.any(axis=1).all():
        raise ValueError(
            f"{sounds.bands} mel bands are too many for windows of {sounds.window} samples at {sounds.rate} a second; "
            "choose fewer bands or a longer window"
        )
