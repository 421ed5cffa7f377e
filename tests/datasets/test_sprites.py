"""Sprites: what a sentence says the picture shows, both are read rightly, and what shows nothing is read as nothing."""

from __future__ import annotations

import numpy as np
import pytest

import ppvae
from ppvae.data.preprocessing import preprocessing
from ppvae.datasets import sprite_scores, sprites

LEVELS = range(1, 6)
every = pytest.mark.parametrize("level", LEVELS)


@every
def test_pictures_and_sentences_are_read_as_they_were_drawn(level: int) -> None:
    data = ppvae.datasets.load("sprites", level=level, items=400, seed=level)
    assert list(data.labels) == ["shape", "size", "colour", "position", "background"][:level]
    for found in (
        sprite_scores.seen(data.arrays["image"], level),
        sprite_scores.said(data.arrays["sentence"], level),
    ):
        assert sprite_scores.right(found, data.labels)["strict"].mean() >= 0.995


def test_a_level_names_one_attribute_more_and_fixes_what_it_does_not_name() -> None:
    texts = []
    for level in LEVELS:
        data = ppvae.datasets.load("sprites", level=level, items=300)
        sentence = data.modalities[1]
        texts.append(preprocessing("sentence", sentence.preprocessing).decode(data.arrays["sentence"]))
        assert sentence.shape == (max(len(text.split()) for text in texts[-1]) + 1,)
    counts = [len(set(each)) for each in texts]
    assert counts[:3] == [3, 6, 30]
    assert counts[3] > 80
    assert set(texts[0]) == {"square", "ellipse", "heart"}
    assert {len(text.split()) for text in texts[4]} == {8}
    words = texts[4][0].split()
    assert (words[3], words[6]) == ("at", "on")


def test_pictures_come_back_by_their_preprocessing_and_a_seed_gives_the_same() -> None:
    data, again = (ppvae.datasets.load("sprites", level=5, items=20, seed=3) for _ in range(2))
    images = preprocessing("image", data.modalities[0].preprocessing)
    back, _ = images.encode(images.decode(data.arrays["image"]))
    np.testing.assert_allclose(back, data.arrays["image"], atol=0.5 / 255 + 1e-6)
    for name, array in data.arrays.items():
        np.testing.assert_array_equal(array, again.arrays[name])
    other = ppvae.datasets.load("sprites", level=5, items=20, seed=4)
    assert (other.arrays["image"] != data.arrays["image"]).any()


@pytest.mark.parametrize("level", [1, 4])
def test_nothing_and_no_shape_are_not_read_as_one(level: int) -> None:
    rng = np.random.default_rng(0)
    blank, noise = np.zeros((1, 3, 32, 32)), rng.random((1, 3, 32, 32))
    x = np.arange(32) - 15.5
    cross = np.zeros((1, 3, 32, 32)) + np.array([1.0, 0, 0] if level > 2 else [1.0] * 3)[:, None, None]
    cross *= (abs(x) < 2.5) & (abs(x[:, None]) < 12) | (abs(x) < 12) & (abs(x[:, None]) < 2.5)
    for picture in (blank, noise, cross):
        assert sprite_scores.seen(picture, level)["shape"] == [""]
    assert all(found == [""] for found in sprite_scores.seen(blank, level).values())


def ids(text: str) -> list[int]:
    return [sprites.NUMBERS[word] for word in text.split()]


def test_a_sentence_that_says_two_values_or_none_says_nothing() -> None:
    rows = [ids("small red heart heart"), ids("small big square red"), [*ids("ellipse"), 3, *ids("red blue")]]
    found = sprite_scores.said(np.array(rows), 3)
    assert found["shape"].tolist() == ["heart", "square", "ellipse"]
    assert found["size"].tolist() == ["small", "", ""]
    assert found["colour"].tolist() == ["red", "red", ""]


def test_what_covers_a_pixel_half_weighs_half() -> None:
    centre = np.array([[16.0, 16.0], [16.5, 16.0]])
    for shape in sprites.ATTRIBUTES["shape"]:
        cover = sprites.covers(np.array([shape] * 2), np.array([6.0, 6.0]), np.array([0.5, 0.3]), centre)
        np.testing.assert_allclose(cover.sum((1, 2)), np.pi * 36, rtol=0.01)
        pixels = np.arange(32) + 0.5
        found = [(cover.sum(axis) * pixels).sum(1) / cover.sum((1, 2)) for axis in (1, 2)]
        np.testing.assert_allclose(np.array(found).T, centre, atol=0.03)


@pytest.mark.parametrize("level", [0, 6])
def test_there_are_five_levels(level: int) -> None:
    with pytest.raises(ValueError, match=f"sprites have the levels 1 to 5, not {level}"):
        ppvae.datasets.load("sprites", level=level)


def test_what_is_stored_takes_no_options() -> None:
    with pytest.raises(ValueError, match="the data set 'mfeat' is as it is stored and takes no options, not level"):
        ppvae.datasets.load("mfeat", level=2)
