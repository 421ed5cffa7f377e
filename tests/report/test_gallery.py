"""The gallery: things are made from each other, stand whole on the page, and fit phones and desks."""

from __future__ import annotations

import base64
import io
import re
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browsers import OUTSIDE, Look, needs_chromium
from PIL import Image

import ppvae
from ppvae.report.gallery import gallery

NAMES = ["Digit <0>", "Digit 1"]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    train, _ = ppvae.datasets.load("spoken_digits").take(range(40)).split(0.75, seed=0)
    fitted = ppvae.fit(ppvae.method("mvae", train.modalities, latent=2), train, backend="pyro", epochs=0)
    path = tmp_path_factory.mktemp("gallery") / "page.html"
    path.write_text(gallery(fitted, train.take([0, 1]), "Digits", NAMES, ["So it is."]), encoding="utf-8")
    return path


def test_every_thing_is_shown_with_what_is_made_from_it(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert "Digit &lt;0&gt;" in text
    assert "<0>" not in text
    assert "So it is." in text
    for kind in ("image", "word", "sound"):
        assert text.count(f"given {kind}") == 2
        assert text.count(f"made {kind}") == 4


def test_pictures_and_sounds_are_whole_files(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    pictures = [_bytes(found) for found in re.findall(r"data:image/png;base64,([^\"]+)", text)]
    sounds = [_bytes(found) for found in re.findall(r"data:audio/wav;base64,([^\"]+)", text)]
    assert len(pictures) == len(sounds) == 6
    given = ppvae.datasets.load("spoken_digits").take(range(40)).split(0.75, seed=0)[0].arrays["image"][0, 0]
    assert np.array_equal(np.asarray(Image.open(pictures[0])), np.rint(given * 255))
    assert [_rate(each) for each in sounds] == [8000] * 6


@needs_chromium
@pytest.mark.parametrize("width", [390, 1400])
def test_the_page_fits_and_plays(browser: Any, page: Path, width: int) -> None:
    look = Look(browser, page, width, "light")
    assert look.page.evaluate(OUTSIDE) == []
    assert look.said == []
    assert [each for each in look.asked if not each.startswith(("file:", "data:"))] == []
    look.page.wait_for_function("[...document.querySelectorAll('audio')].every(each => each.duration > 0.5)")
    look.page.close()


def _rate(file: io.BytesIO) -> int:
    with wave.open(file) as sound:
        return sound.getframerate()


def _bytes(found: str) -> io.BytesIO:
    return io.BytesIO(base64.b64decode(found))
