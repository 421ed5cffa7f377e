"""Images: pictures of any size and mode as arrays ``(channels, height, width)``, and back, by Pillow."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
from pydantic import PositiveInt
from pydantic.dataclasses import dataclass

from ppvae.data.preprocessing.extra import extra
from ppvae.data.preprocessing.stacking import stacked

LARGEST = 64  # pixels of a side, where no size is asked for
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".pgm", ".ppm")
GREY = ("1", "L", "LA", "I;16", "I;16L", "I;16B", "I;16N")


@dataclass(frozen=True, config={"extra": "forbid"})
class Images:
    """Pictures as numbers: from 0 to 1, or whole ones from 0 to 255 where ``levels`` is 256.

    Colours are brought to one channel or three, transparent pixels stand on white, and another size is resampled.
    """

    channels: Literal[1, 3]
    height: PositiveInt
    width: PositiveInt
    levels: Literal[256] | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """``(channels, height, width)``."""
        return self.channels, self.height, self.width

    def one(self, picture: Any) -> np.ndarray:
        """A picture of Pillow's as ``(channels, height, width)`` in float32."""
        picture = _plain(picture).convert("L" if self.channels == 1 else "RGB")
        if picture.size != (self.width, self.height):
            picture = picture.resize((self.width, self.height), extra("PIL.Image").Resampling.BILINEAR)
        pixels = np.asarray(picture, np.float32).reshape(self.height, self.width, self.channels)
        return pixels.transpose(2, 0, 1) / (255 if self.levels is None else 1)

    def encode(self, raw: Iterable[Any]) -> tuple[np.ndarray, np.ndarray]:
        """Pictures, None for a hole, as ``(items, channels, height, width)``, and which are there, ``(items,)``."""
        return stacked(self.one, raw, self.shape)

    def decode(self, array: np.ndarray) -> list[Any]:
        """Pictures of Pillow's from ``(items, channels, height, width)``.

        What is beyond the scale is cut to it, and NaN is 0.
        """
        scaled = np.nan_to_num(np.asarray(array, np.float64)) * (255 if self.levels is None else 1)
        pixels = np.clip(np.rint(scaled), 0, 255).astype(np.uint8).transpose(0, 2, 3, 1)
        pictures = extra("PIL.Image")
        return [pictures.fromarray(each[..., 0] if self.channels == 1 else each) for each in pixels]

    def plain(self) -> dict[str, Any]:
        """What JSON holds of it."""
        return {"kind": "image", **asdict(self)}


def fitted(
    raw: Iterable[Any],
    size: tuple[int, int] | None = None,
    channels: Literal[1, 3] | None = None,
    levels: Literal[256] | None = None,
) -> Images:
    """Images of the size ``(height, width)`` that most pictures have, but of at most 64 pixels a side.

    Of three channels where any picture has colours.

    Raises:
        ValueError: there is no picture.
    """
    seen = Counter((each.height, each.width, each.mode in GREY) for each in raw if each is not None)
    if not seen:
        raise ValueError("there is no picture to find a size from")
    if size is None:
        sizes = Counter[tuple[int, int]]()
        for (height, width, _), count in seen.items():
            sizes[height, width] += count
        height, width = min(sizes, key=lambda side: (-sizes[side], side))
        shrink = min(1.0, LARGEST / max(height, width))
        size = max(round(height * shrink), 1), max(round(width * shrink), 1)
    grey = all(is_grey for *_, is_grey in seen)
    return Images(channels or (1 if grey else 3), *size, levels)


def read(path: str | Path) -> Any:
    """A picture, wholly read and turned as its camera says.

    Raises:
        ValueError: it is damaged, or no picture.
    """
    pictures = extra("PIL.Image")
    try:
        with pictures.open(path) as picture:
            picture.load()
            return extra("PIL.ImageOps").exif_transpose(picture)
    except Exception as error:  # decoders raise nearly everything when bytes are wrong
        raise ValueError(f"cannot read {str(path)!r} as a picture: {_first_line(error)}") from None


def write(path: str | Path | IO[bytes], picture: Any) -> None:
    """Write a picture as a PNG file, or into an open one."""
    picture.save(path, format="PNG")


def _plain(picture: Any) -> Any:
    """The picture with 8 bits a channel and nothing to see through."""
    pictures = extra("PIL.Image")
    if picture.mode.startswith("I;16"):
        return pictures.fromarray(np.rint(np.asarray(picture) / 257).astype(np.uint8))
    if picture.mode in ("I", "F"):
        raise ValueError(f"a picture of Pillow's mode {picture.mode!r} has no known white: save it with 8 or 16 bits")
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        return pictures.alpha_composite(pictures.new("RGBA", picture.size, "white"), picture)
    return picture


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
