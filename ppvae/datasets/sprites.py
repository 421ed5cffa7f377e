"""Sprites: a picture of a shape and a sentence that says what it is, at five levels of difficulty.

After CdSprites+ (Sejnova et al. 2024, "Benchmarking Multimodal Variational Autoencoders", arXiv:2209.03048): level 1
says the shape; 2 its size too; 3 its colour; 4 which quarter of the picture it is in; 5 whether on light or on dark.
What a level does not say is fixed: big, white, in the middle, on black. What no sentence says differs from picture to
picture: the angle, a shift of some pixels, a little of the size, and at level 5 the texture of the background.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ppvae.data.dataset import Dataset
from ppvae.data.preprocessing.images import Images
from ppvae.data.preprocessing.text import NAMES, Texts
from ppvae.language.modality import Modality
from ppvae.language.tokens import END

SIDE = 32  # pixels
FINER = 4  # samples of a pixel along each axis
RADII = {"small": 4.0, "big": 7.0}  # pixels; a shape has the area of a circle of this radius
COLOURS = {
    "white": (1, 1, 1),
    "red": (1, 0, 0),
    "yellow": (1, 1, 0),
    "green": (0, 1, 0),
    "blue": (0, 0, 1),
    "pink": (1, 0, 1),
}
PLACES = {
    "middle": (16.0, 16.0),
    "top left": (9.0, 9.0),
    "top right": (23.0, 9.0),
    "bottom left": (9.0, 23.0),
    "bottom right": (23.0, 23.0),
}
ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "shape": ("square", "ellipse", "heart"),
    "size": tuple(RADII),
    "colour": tuple(COLOURS)[1:],
    "position": tuple(PLACES)[1:],
    "background": ("dark", "light"),
}
WORDS = sorted({word for values in ATTRIBUTES.values() for value in values for word in value.split()} | {"at", "on"})
NUMBERS = {word: number for number, word in enumerate((*NAMES, *WORDS))}
LENGTHS = (2, 3, 4, 7, 9)  # tokens of a level's sentences, with their end
HEART = 0.9262, 0.2935  # the scale that gives it the area of the unit circle, and how high its centre lies
Values = Mapping[str, np.ndarray]


def sprites(level: int = 3, items: int = 6000, seed: int = 0) -> Dataset:
    """So many pictures ``image`` (3, 32, 32) from 0 to 1 and sentences ``sentence``; labels are the attributes said.

    Raises:
        ValueError: there is no such level.
    """
    rng = np.random.default_rng(seed)
    said = {name: rng.choice(ATTRIBUTES[name], items) for name in attributes(level)}
    images, texts = Images(3, SIDE, SIDE), Texts(tokenizer(), LENGTHS[level - 1])
    arrays = {"image": pictures(said, rng), "sentence": tokens(said)}
    options: dict[str, Any] = {"levels": len(NUMBERS), "kind": "text", "preprocessing": texts.plain()}
    modalities = [
        Modality("image", images.shape, kind="image", preprocessing=images.plain()),
        Modality("sentence", texts.shape, "autoregressive", **options),
    ]
    return Dataset(arrays, labels=said, modalities=modalities).refitted()


def attributes(level: int) -> list[str]:
    """What the sentences of a level say."""
    if level not in range(1, len(ATTRIBUTES) + 1):
        raise ValueError(f"sprites have the levels 1 to {len(ATTRIBUTES)}, not {level}")
    return list(ATTRIBUTES)[:level]


def sentence(said: Mapping[str, str]) -> str:
    """``small red heart at top left on dark``, or the part of it that is said.

    >>> sentence({"shape": "heart", "size": "small"})
    'small heart'
    """
    words = [said[name] for name in ("size", "colour", "shape") if name in said]
    words += [f"{link} {said[name]}" for name, link in (("position", "at"), ("background", "on")) if name in said]
    return " ".join(words)


def tokenizer() -> dict[str, object]:
    """What splits sentences into words and knows their numbers, as the library ``tokenizers`` writes it."""
    model = {"type": "WordLevel", "vocab": NUMBERS, "unk_token": NAMES[1]}
    absent = dict.fromkeys(("truncation", "padding", "normalizer", "post_processor", "decoder"))
    return {
        "version": "1.0",
        **absent,
        "added_tokens": [],
        "pre_tokenizer": {"type": "WhitespaceSplit"},
        "model": model,
    }


def tokens(said: Mapping[str, np.ndarray]) -> np.ndarray:
    """The sentences of items as token ids, ``(items, length)``."""
    rows = zip(*said.values(), strict=True)
    each = [sentence(dict(zip(said, row, strict=True))) for row in rows]
    return np.array([[*(NUMBERS[word] for word in text.split()), END] for text in each])


def pictures(said: Mapping[str, np.ndarray], rng: np.random.Generator) -> np.ndarray:
    """Pictures of the attributes, ``(items, 3, 32, 32)`` from 0 to 1; what is not said is drawn or fixed."""
    items = len(said["shape"])
    radius = np.array([RADII[size] for size in said.get("size", ["big"] * items)]) * rng.uniform(0.92, 1.08, items)
    place = [PLACES[position] for position in said.get("position", ["middle"] * items)]
    centre = np.array(place) + rng.uniform(-2, 2, (items, 2))
    cover = covers(said["shape"], radius, rng.uniform(0, 2 * np.pi, items), centre)[:, None]
    colour = np.array([COLOURS[name] for name in said.get("colour", ["white"] * items)])[..., None, None]
    behind = textures(said["background"] == "light", rng)[:, None] if "background" in said else 0.0
    return np.asarray(cover * colour + (1 - cover) * behind, np.float32)


def covers(shape: np.ndarray, radius: np.ndarray, angle: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """The share of each pixel that a shape covers, ``(items, 32, 32)``; ``centre`` is ``(items, 2)``, x and y."""
    grid = (np.arange(SIDE * FINER) + 0.5) / FINER
    found = np.empty((len(shape), SIDE, SIDE), np.float32)
    for i, name in enumerate(shape):
        x, y = ((grid - middle) / radius[i] for middle in centre[i])
        cos, sin = np.cos(angle[i]), np.sin(angle[i])
        inside = INSIDE[name](cos * x + sin * y[:, None], cos * y[:, None] - sin * x)
        found[i] = inside.reshape(SIDE, FINER, SIDE, FINER).mean((1, 3))
    return found


def _heart(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    scale, height = HEART
    u, v = u / scale, height - v / scale
    return (u * u + v * v - 1) ** 3 <= u * u * v**3


INSIDE = {
    "square": lambda u, v: np.maximum(abs(u), abs(v)) <= np.sqrt(np.pi) / 2,
    "ellipse": lambda u, v: u * u / 2 + v * v * 2 <= 1,
    "heart": _heart,
}  # which points of the plane are within a shape of the unit circle's area around 0


def textures(light: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Smooth greys ``(items, 32, 32)``, from 0.65 to 1 where light, else from 0 to 0.35."""
    knots = 5
    weight = within(np.linspace(0, knots - 1, SIDE), knots)
    coarse = rng.uniform(0, 0.35, (len(light), knots, knots)) + 0.65 * light[:, None, None]
    return np.einsum("xi,nij,yj->nxy", weight, coarse, weight)


def within(place: np.ndarray, knots: int) -> np.ndarray:
    """Weights of linear interpolation at places ``(...,)`` between so many knots, 0 outside: ``(..., knots)``."""
    return np.maximum(1 - abs(place[..., None] - np.arange(knots)), 0)
