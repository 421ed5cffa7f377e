"""Sprite scores: what pictures and sentences of sprites show and say, read without any model."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from functools import cache

import numpy as np

from ppvae.datasets.sprites import (
    ATTRIBUTES,
    COLOURS,
    NUMBERS,
    PLACES,
    RADII,
    SIDE,
    attributes,
    covers,
    within,
)
from ppvae.language.tokens import END

WORDS = list(NUMBERS)
NOTHING = ""  # what is read where an attribute cannot be told
ANGLES = 36  # at which shapes are tried
REACH = np.linspace(-1.8, 1.8, 17)  # where shapes are compared, in radii from their centroid
NOISE = 0.1  # cover that does not count
FAINT = 20.0  # pixels that a shape covers at least
ALIKE = 0.1  # of the energy of a shape: what may differ from the shape that is most like it


def seen(images: np.ndarray, level: int) -> dict[str, np.ndarray]:
    """The attributes that pictures ``(items, 3, 32, 32)`` show, each ``(items,)``; ``""`` where there is none.

    Colours have full saturation and backgrounds none, so that the saturation of a pixel, or its brightness where shapes
    are white, is how much of it the shape covers. Area, centroid and hue follow. The shape is that of those drawn with
    this area and centroid, at all angles, that differs least; what differs by more than a tenth of its energy is none.
    """
    images = np.clip(np.asarray(images, np.float64), 0, 1)
    coloured = "colour" in attributes(level)
    cover = images.max(1) - images.min(1) if coloured else images.mean(1)
    cover = np.where(cover > NOISE, cover, 0.0)
    area, centre = _moments(cover)
    there = area > FAINT
    found = {
        "shape": _shapes(cover),
        "size": np.where(area > np.pi * RADII["small"] * RADII["big"], "big", "small"),
        "colour": _nearest(_hues(images, cover), {name: COLOURS[name] for name in ATTRIBUTES["colour"]}),
        "position": _nearest(centre, {name: PLACES[name] for name in ATTRIBUTES["position"]}),
        "background": np.where(_average(images, cover == 0)[:, 0] > 0.5, "light", "dark"),
    }
    return {name: np.where(there, found[name], NOTHING) for name in attributes(level)}


def said(ids: np.ndarray, level: int) -> dict[str, np.ndarray]:
    """The attributes that rows of token ids say, each ``(items,)``; ``""`` where a sentence says none or two.

    A sentence says the one value of an attribute whose words stand in it; its grammar is not judged.
    """
    texts = [_text([WORDS[number] for number in row]) for row in np.asarray(ids, int).tolist()]
    return {name: np.array([_told(f" {text} ", ATTRIBUTES[name]) for text in texts]) for name in attributes(level)}


def right(found: Mapping[str, np.ndarray], truth: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Which items have each attribute right, and all of them, ``"strict"``: booleans ``(items,)``."""
    each = {name: values == truth[name] for name, values in found.items()}
    return each | {"strict": np.logical_and.reduce(list(each.values()))}


def _moments(cover: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Area ``(items,)`` in pixels and centroid ``(items, 2)``, x and y; of an empty picture 0 and the corner."""
    area = cover.sum((1, 2))
    pixels = np.arange(SIDE) + 0.5
    sums = np.stack([(cover.sum(axis) * pixels).sum(1) for axis in (1, 2)], 1)
    return area, sums / np.maximum(area, 1e-9)[:, None]


def _average(images: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """The mean colour ``(items, 3)`` of pictures where they have weight ``(items, 32, 32)``."""
    return np.einsum("ncxy,nxy->nc", images, weight) / np.maximum(weight.sum((1, 2)), 1e-9)[:, None]


def _hues(images: np.ndarray, cover: np.ndarray) -> np.ndarray:
    """Mean colours ``(items, 3)`` of what is covered, without the grey that is mixed in, the strongest channel 1."""
    hue = _average(images - images.min(1, keepdims=True), cover)
    return hue / np.maximum(hue.max(1, keepdims=True), 1e-9)


def _nearest(values: np.ndarray, known: Mapping[str, tuple[float, ...]]) -> np.ndarray:
    """The name of what is nearest to each row."""
    distance = ((values[:, None] - np.array(list(known.values()))) ** 2).sum(-1)
    return np.array(list(known))[distance.argmin(1)]


def _centred(cover: np.ndarray) -> np.ndarray:
    """Covers at the same places relative to centroid and radius, ``(items, places)``."""
    area, centre = _moments(cover)
    radius = np.sqrt(np.maximum(area, FAINT) / np.pi)
    x, y = (within(middle[:, None] - 0.5 + radius[:, None] * REACH, SIDE) for middle in centre.T)
    return np.einsum("nyi,nij,nxj->nyx", y, cover, x).reshape(len(cover), -1)


@cache
def _drawn() -> tuple[np.ndarray, np.ndarray]:
    """The names of shapes as they can be drawn, and their centred covers."""
    angles = np.arange(ANGLES) * 2 * np.pi / ANGLES
    names, radii, turns = zip(*itertools.product(ATTRIBUTES["shape"], RADII.values(), angles), strict=True)
    middle = np.full((len(names), 2), SIDE / 2)
    return np.array(names), _centred(covers(np.array(names), np.array(radii), np.array(turns), middle))


def _shapes(cover: np.ndarray) -> np.ndarray:
    names, drawn = _drawn()
    shown = _centred(cover)
    rest = (shown**2).sum(1)[:, None] - 2 * shown @ drawn.T + (drawn**2).sum(1)
    best = rest.argmin(1)
    unlike = rest[np.arange(len(rest)), best] > ALIKE * (drawn**2).sum(1)[best]
    return np.where(unlike, NOTHING, names[best])


def _text(words: list[str]) -> str:
    """The words up to the end."""
    return " ".join(itertools.takewhile(lambda word: word != WORDS[END], words))


def _told(text: str, values: tuple[str, ...]) -> str:
    """The one value whose words stand in a text."""
    told = [value for value in values if f" {value} " in text]
    return told[0] if len(told) == 1 else NOTHING
