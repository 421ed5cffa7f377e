"""Spoken digits: the picture of a digit, its name in letters, and its name spoken."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ppvae.data.preprocessing.images import Images
from ppvae.data.preprocessing.sounds import Sounds
from ppvae.language.modality import Modality

IMAGES = Images(channels=1, height=8, width=8)
SOUNDS = Sounds(rate=8000, bands=32, frames=32, window=512, hop=200)
SILENCE, STEPS = 80, 2  # stored sounds count half decibels above silence, which is at -80
DARKEST = 16  # of the stored pictures
FIRST, END = 4, 3  # ids of the first character, and of what ends a word


def spoken_digits(stored: Mapping[str, np.ndarray]) -> tuple[dict[str, np.ndarray], list[Modality]]:
    """The arrays of the file as measurements, and what they are."""
    words = stored["word"].tolist()
    letters = sorted(set("".join(words)))
    ids = np.zeros((len(words), max(map(len, words)) + 1), np.int32)
    for row, word in zip(ids, words, strict=True):
        row[: len(word) + 1] = [FIRST + letters.index(letter) for letter in word] + [END]
    arrays = {
        "image": (stored["image"][:, None] / DARKEST).astype(np.float32),
        "word": ids,
        "sound": (stored["sound"] / STEPS - SILENCE).astype(np.float32),
    }
    return arrays, [
        Modality("image", IMAGES.shape, kind="image", preprocessing=IMAGES.plain()),
        Modality("word", ids.shape[1:], "categorical", levels=FIRST + len(letters), kind="text"),
        Modality("sound", SOUNDS.shape, kind="sound", preprocessing=SOUNDS.plain()),
    ]
