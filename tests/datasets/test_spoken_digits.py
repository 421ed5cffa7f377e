"""Spoken digits: the shipped file is what its script makes, and says in three ways which digit it is."""

from __future__ import annotations

import shutil
import subprocess

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

import ppvae
from ppvae.data.preprocessing import preprocessing
from ppvae.datasets import make_spoken_digits as script
from ppvae.datasets.spoken_digits import SOUNDS


@pytest.fixture(scope="module")
def data() -> ppvae.Dataset:
    return ppvae.datasets.load("spoken_digits")


def test_the_pictures_are_those_of_scikit_learn(data: ppvae.Dataset) -> None:
    digits = load_digits()
    np.testing.assert_array_equal(data.arrays["image"][:, 0] * 16, digits.images)
    np.testing.assert_array_equal(data.labels["digit"], digits.target)
    assert [m.kind for m in data.modalities] == ["image", "text", "sound"]


def test_every_word_is_a_spelling_of_its_digit(data: ppvae.Dataset) -> None:
    word = data.modalities[1]
    read = preprocessing("word", word.preprocessing).decode(data.arrays["word"])
    names = {(digit, text.casefold()) for digit, text in zip(data.labels["digit"], read, strict=True)}
    assert names == {(i, told) for i, name in enumerate(script.NAMES) for told in (name, str(i))}
    assert len(set(read)) == 40
    assert (word.likelihood, word.levels) == ("autoregressive", preprocessing("word", word.preprocessing).levels)


def test_sounds_tell_the_digit(data: ppvae.Dataset) -> None:
    train, test = data.take(slice(0, 1000)), data.take(slice(1000, None))
    heard = make_pipeline(StandardScaler(), SVC())
    flat = [part.arrays["sound"].reshape(len(part), -1) for part in (train, test)]
    assert heard.fit(flat[0], train.labels["digit"]).score(flat[1], test.labels["digit"]) > 0.97


def test_answers_turn_into_pictures_and_sounds(data: ppvae.Dataset) -> None:
    image, _, sound = data.modalities
    picture = preprocessing("image", image.preprocessing).decode(data.arrays["image"][:1])[0]
    assert (picture.mode, picture.size) == ("L", (8, 8))
    decibels = data.arrays["sound"][:1]
    sounds = preprocessing("sound", sound.preprocessing)
    again, _ = sounds.encode(sounds.decode(decibels))
    loud = decibels > -40
    assert np.abs(again - decibels)[loud].mean() < 2.5


def version() -> str:
    found = shutil.which("espeak-ng")
    return "" if found is None else subprocess.run([found, "--version"], capture_output=True, text=True).stdout


@pytest.mark.skipif(" 1.51 " not in version(), reason="espeak-ng 1.51 speaks the words")
def test_the_script_speaks_what_ships(data: ppvae.Dataset) -> None:
    digits = load_digits().target
    chosen = script.drawn(digits, script.SEED)
    decibels, _ = SOUNDS.encode([script.spoken(digits[i], chosen[i]) for i in range(0, 1797, 300)])
    np.testing.assert_allclose(data.arrays["sound"][::300], decibels, atol=0.2501)
