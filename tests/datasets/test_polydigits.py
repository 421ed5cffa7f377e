"""Polydigits: the views of an item show its digit, no hand's digit is in both parts, and backgrounds differ."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_digits

import ppvae
from ppvae.datasets import polydigits

DIGITS, LABELS = load_digits(return_X_y=True)


def test_each_view_shows_every_digit_once_and_the_items_label() -> None:
    data = ppvae.datasets.load("polydigits", views=2, seed=1)
    assert {name: array.shape for name, array in data.arrays.items()} == dict.fromkeys(
        ["view_0", "view_1"], (1797, 3, 16, 16)
    )
    np.testing.assert_array_equal(data.labels["digit"], LABELS)
    full, rows = DIGITS == 16, np.random.default_rng(0).choice(1797, 60, replace=False)
    for array in data.arrays.values():
        white = (array[rows].min(1) > 0.999)[:, ::2, ::2].reshape(60, -1)  # no background is so bright
        for ink, label in zip(white, LABELS[rows], strict=True):
            assert label in LABELS[(full == ink).all(1)]


def test_a_permutation_stays_within_its_groups() -> None:
    group = np.random.default_rng(0).integers(0, 7, 500)
    found = polydigits.shuffled(group, np.random.default_rng(1))
    assert sorted(found) == list(range(500))
    np.testing.assert_array_equal(group[found], group)
    assert (found != np.arange(500)).mean() > 0.9


def test_parts_are_drawn_by_the_seed_and_backgrounds_are_dimmer_than_ink() -> None:
    data = ppvae.datasets.load("polydigits", views=6, seed=2)
    again = ppvae.datasets.load("polydigits", views=6, seed=2)
    np.testing.assert_array_equal(data.arrays["view_5"], again.arrays["view_5"])
    assert 0.2 < (data.labels["part"] == "test").mean() < 0.3
    means = np.array([array.mean((0, 2, 3)) for array in data.arrays.values()])
    assert len({tuple(np.round(mean, 2)) for mean in means}) == 6
    black = polydigits.on_crops(np.zeros((5, 8, 8)), np.ones((9, 9, 3)), np.random.default_rng(0))
    np.testing.assert_allclose(black, polydigits.DIM)


@pytest.mark.skipif(not polydigits.FASHION.is_dir(), reason="Debian's dataset-fashion-mnist is not installed")
def test_fashion_is_read_from_debians_package() -> None:
    images, labels = polydigits.SOURCES["fashion"]()
    assert images.shape == (10000, 28, 28)
    assert images.max() == 1
    assert np.bincount(labels).tolist() == [1000] * 10


def test_what_there_is_not_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="polydigits have 1 to 6 views, each on another picture, not 7"):
        ppvae.datasets.load("polydigits", views=7)
    with pytest.raises(ValueError, match="unknown source 'letters' of polydigits; choose one of digits, fashion"):
        ppvae.datasets.load("polydigits", source="letters")
    monkeypatch.setattr(polydigits, "FASHION", polydigits.Path("/nowhere"))
    with pytest.raises(FileNotFoundError, match="install Debian's package dataset-fashion-mnist"):
        ppvae.datasets.load("polydigits", source="fashion")
