"""Spoken digits: the picture of a digit, its name in letters, and its name spoken."""

from __future__ import annotations

import json
from collections.abc import Mapping

import numpy as np

from ppvae.data.preprocessing.images import Images
from ppvae.data.preprocessing.sounds import Sounds
from ppvae.language.modality import Modality

IMAGES = Images(channels=1, height=8, width=8)
SOUNDS = Sounds(rate=8000, bands=32, frames=32, window=512, hop=200)
SILENCE, STEPS = 80, 2  # stored sounds count half decibels above silence, which is at -80
DARKEST = 16  # of the stored pictures


def spoken_digits(stored: Mapping[str, np.ndarray]) -> tuple[dict[str, np.ndarray], list[Modality]]:
    """The arrays of the file as measurements, and what they are."""
    word = json.loads(str(stored["letters"]))
    letters = len(word["tokenizer"]["model"]["vocab"])
    arrays = {
        "image": (stored["image"][:, None] / DARKEST).astype(np.float32),
        "word": stored["word"].astype(np.int32),
        "sound": (stored["sound"] / STEPS - SILENCE).astype(np.float32),
    }
    return arrays, [
        Modality("image", IMAGES.shape, kind="image", preprocessing=IMAGES.plain()),
        Modality("word", (word["length"],), "autoregressive", levels=letters, kind="text", preprocessing=word),
        Modality("sound", SOUNDS.shape, kind="sound", preprocessing=SOUNDS.plain()),
    ]
