"""Sounds: log-mel spectrograms that say where the power is, and play again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ppvae.data.preprocessing import preprocessing
from ppvae.data.preprocessing.sounds import Recording, Sounds, fitted, read, write

RATE = 8000
SOUNDS = Sounds(rate=RATE, bands=24, frames=17, window=512, hop=128)


def tone(pitch: float, seconds: float = 0.256, rate: int = RATE, loud: float = 0.5) -> Recording:
    times = np.arange(round(seconds * rate)) / rate
    return Recording((loud * np.sin(2 * np.pi * pitch * times)).astype(np.float32), rate)


def pitch_of(recording: Recording) -> float:
    spectrum = np.abs(np.fft.rfft(recording.samples))
    return float(spectrum.argmax() * recording.rate / len(recording.samples))


def test_twice_as_loud_is_six_decibels_more_in_the_band_of_the_pitch() -> None:
    loud, soft = SOUNDS.one(tone(1000)), SOUNDS.one(tone(1000, loud=0.25))
    band = loud.mean(1).argmax()
    np.testing.assert_allclose((loud - soft)[band], 20 * np.log10(2), atol=1e-3)
    assert [SOUNDS.one(tone(pitch)).mean(1).argmax() for pitch in (200, 500, 1000, 2000, 3500)] == sorted(
        {SOUNDS.one(tone(pitch)).mean(1).argmax() for pitch in (200, 500, 1000, 2000, 3500)}
    )


def test_a_tone_comes_back_at_its_pitch_and_loudness() -> None:
    for pitch in (300, 1200):
        array, observed = SOUNDS.encode([tone(pitch), None])
        assert (array.shape, observed.tolist()) == ((2, 24, 17), [True, False])
        (again, silent) = SOUNDS.decode(np.stack([array[0], np.full(SOUNDS.shape, -80.0)]))
        assert abs(pitch_of(again) - pitch) < 0.08 * pitch
        middle = again.samples[400:-400]
        assert 0.25 < np.sqrt(np.mean(middle**2)) / np.sqrt(0.125) < 2
        assert not silent.samples.any()
        np.testing.assert_array_equal(again.samples, SOUNDS.decode(array[:1])[0].samples)
    assert preprocessing("a", SOUNDS.plain()) == SOUNDS


def test_short_sounds_end_in_silence_long_ones_are_cut_and_rates_are_brought_to_one() -> None:
    short, long = SOUNDS.one(tone(1000, 0.1)), SOUNDS.one(tone(1000, 1.0))
    assert (short[:, -5:] == -80).all()
    np.testing.assert_allclose(short[:, :5], long[:, :5], atol=1e-3)
    resampled = SOUNDS.one(tone(1000, rate=22_050))
    band = long.mean(1).argmax()
    np.testing.assert_allclose(resampled[band, 2:-2], long[band, 2:-2], atol=0.2)


def test_rate_and_length_are_those_of_the_training_sounds() -> None:
    found = fitted([tone(300, 0.5), None, tone(300, 1.0), tone(300, 0.1, rate=44_100)], bands=20)
    assert (found.rate, found.bands, found.frames, found.hop, found.window) == (8000, 20, 101, 80, 320)
    assert fitted([tone(300, rate=44_100)]).rate == 16_000
    assert fitted([tone(300)], seconds=0.05, rate=4000).length == 200
    with pytest.raises(ValueError, match="there is no recording"):
        fitted([None])
    with pytest.raises(ValueError, match="400 mel bands are too many for windows of 320 samples at 8000 a second"):
        fitted([tone(300)], bands=400)


def test_a_file_comes_back_as_the_mean_of_its_channels(tmp_path: Path) -> None:
    import soundfile

    sound = tone(300)
    write(tmp_path / "a.wav", sound)
    again = read(tmp_path / "a.wav")
    np.testing.assert_allclose(again.samples, sound.samples, atol=2**-15)
    soundfile.write(tmp_path / "b.wav", np.stack([sound.samples, 0 * sound.samples], 1), RATE)
    np.testing.assert_allclose(read(tmp_path / "b.wav").samples, sound.samples / 2, atol=2**-15)


def test_a_damaged_sound_is_one_sentence(tmp_path: Path) -> None:
    import soundfile

    write(tmp_path / "empty.wav", Recording(np.zeros(0, np.float32), RATE))
    (tmp_path / "text.wav").write_bytes(b"no sound")
    soundfile.write(tmp_path / "nan.wav", np.full(800, np.nan), RATE, subtype="FLOAT")
    for name in ("empty.wav", "text.wav", "nan.wav"):
        with pytest.raises(ValueError, match=rf"^cannot read '\S*{name}' as a sound: .+"):
            read(tmp_path / name)


def test_sounds_on_another_scale_are_refused_and_silent_ones_told(tmp_path: Path) -> None:
    import soundfile

    soundfile.write(tmp_path / "a.wav", np.array([0.0, 16_384.0]), 8000, subtype="FLOAT")
    with pytest.raises(ValueError, match=r"a\.wav' as a sound: it reaches 1\.638e\+04, where 1 is as loud as can be"):
        read(tmp_path / "a.wav")
    with pytest.warns(UserWarning, match="all recordings are silent"):
        fitted([Recording(np.zeros(9), 8000)], bands=8)


def test_a_sound_shorter_than_a_window_is_no_matter() -> None:
    short = Recording(np.ones(8), 8000)
    assert fitted([short], bands=8).one(short).shape == (8, 2)
