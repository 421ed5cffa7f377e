"""Make spoken digits: draws, spells and speaks scikit-learn's digits; ``python -m ppvae.datasets.make_spoken_digits``.

Needs espeak-ng (1.51 made the file that ships) and ``ppvae[files]``. The same versions write the same bytes again.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ppvae.data.preprocessing import text
from ppvae.data.preprocessing.sounds import Recording, read
from ppvae.datasets.spoken_digits import SILENCE, SOUNDS, STEPS

NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
ACCENTS = ("en-gb", "en-us", "en-gb-scotland", "en-gb-x-rp", "en-029")
SPEAKERS = tuple(f"{sex}{number}" for sex, many in (("m", 7), ("f", 5)) for number in range(1, many + 1))
PITCHES, SPEEDS = (25, 75), (140, 200)  # of espeak-ng's 0 to 99; words a minute
SEED = 0


class Spoken(NamedTuple):
    """How one item is spelled and spoken."""

    word: str
    voice: str
    pitch: int
    speed: int


def main(path: Path) -> None:
    """Write the set to an ``.npz`` file."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    chosen = drawn(digits.target, SEED)
    with ThreadPoolExecutor(2) as pool:
        recordings = list(pool.map(spoken, digits.target, chosen))
    decibels, _ = SOUNDS.encode(recordings)
    words = [each.word for each in chosen]
    letters = text.fitted(words)
    np.savez_compressed(
        path,
        image=digits.images.astype(np.uint8),
        word=letters.encode(words)[0].astype(np.uint8),
        letters=np.array(json.dumps(letters.plain())),
        sound=np.rint((decibels + SILENCE) * STEPS).astype(np.uint8),
        digit=digits.target.astype(np.uint8),
    )


def drawn(digits: np.ndarray, seed: int) -> list[Spoken]:
    """A spelling, voice, pitch and speed for each digit; no two items of a digit are spoken alike."""
    rng = np.random.default_rng(seed)
    found: dict[tuple[int, str, int, int], Spoken] = {}
    for digit in digits:
        name = NAMES[digit]
        word = rng.choice([name, name.capitalize(), name.upper(), str(digit)])
        while True:
            voice = f"{rng.choice(ACCENTS)}+{rng.choice(SPEAKERS)}"
            how = voice, int(rng.integers(*PITCHES, endpoint=True)), int(rng.integers(*SPEEDS, endpoint=True))
            if (int(digit), *how) not in found:
                found[int(digit), *how] = Spoken(str(word), *how)
                break
    return list(found.values())


def spoken(digit: int, how: Spoken) -> Recording:
    """The name of a digit, spoken by espeak-ng."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "word.wav")
        words = ["-v", how.voice, "-p", str(how.pitch), "-s", str(how.speed), "-w", str(path), NAMES[digit]]
        subprocess.run(["espeak-ng", *words], check=True)
        return read(path)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("spoken_digits.npz"))
