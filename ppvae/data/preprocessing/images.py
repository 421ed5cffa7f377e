"""Images: pictures of any size and mode as arrays ``(channels, height, width)``, and back, by Pillow."""

from __future__ import annotations

import warnings
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
GREY = ("1", "L", "LA")
DEEP = ("I", "I;16", "I;16L", "I;16B", "I;16N")  # of 16 bits a pixel; in Pillow's mode I of 32, which may hold no more
DEPTHS = (8, 10, 12, 14, 16)  # bits of what cameras measure
PAGED = ("TIFF", "GIF", "WEBP", "PNG")  # of whose pages each is a picture; those of others are views and previews
DARK = 64  # of 255: 14 bits among 16, of which Pillow keeps 8 where there are colours, are as dark


@dataclass(frozen=True, config={"extra": "forbid"})
class Images:
    """Pictures as numbers: from 0 to 1, or whole ones from 0 to 255 where ``levels`` is 256.

    Colours are brought to one channel or three, transparent pixels stand on white, and another size is resampled.
    Pictures of 16 bits are 1 where they hold ``white``, the largest number of as many bits as those of training use,
    and None where training had none; what is decoded of one channel is then of 16 bits, too, and in their units.
    """

    channels: Literal[1, 3]
    height: PositiveInt
    width: PositiveInt
    levels: Literal[256] | None = None
    white: PositiveInt | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """``(channels, height, width)``."""
        return self.channels, self.height, self.width

    def one(self, picture: Any) -> np.ndarray:
        """A picture of Pillow's as ``(channels, height, width)`` in float32."""
        deep = picture.mode in DEEP
        picture = _grey(picture) if deep else _plain(picture).convert("L" if self.channels == 1 else "RGB")
        if picture.size != (self.width, self.height):
            picture = picture.resize((self.width, self.height), extra("PIL.Image").Resampling.BILINEAR)
        pixels = np.asarray(picture, np.float32).reshape(self.height, self.width, -1).transpose(2, 0, 1)
        scaled = pixels / ((self.white or 2**16 - 1) if deep else 255)
        if self.levels is not None:
            scaled = np.clip(np.rint(255 * scaled), 0, 255)
        return np.broadcast_to(scaled, self.shape)

    def encode(self, raw: Iterable[Any]) -> tuple[np.ndarray, np.ndarray]:
        """Pictures, None for a hole, as ``(items, channels, height, width)``, and which are there, ``(items,)``."""
        return stacked(self.one, raw, self.shape)

    def decode(self, array: np.ndarray) -> list[Any]:
        """Pictures of Pillow's from ``(items, channels, height, width)``.

        What a pixel of 8 or 16 bits cannot hold is cut to it, and NaN is 0.
        """
        deep = self.white is not None and self.channels == 1  # Pillow has no others of 16 bits
        white = ((deep and self.white) or 255) / (1 if self.levels is None else 255)
        scaled = np.rint(np.nan_to_num(np.asarray(array, np.float64)) * white)
        pixels = np.clip(scaled, 0, 2**16 - 1 if deep else 255).astype(np.uint16 if deep else np.uint8)
        pictures = extra("PIL.Image")
        rows = pixels.transpose(0, 2, 3, 1)
        return [pictures.fromarray(each[..., 0] if self.channels == 1 else each) for each in rows]

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

    Warns:
        UserWarning: all are nearly black, on a scale from 0 to 1.

    Raises:
        ValueError: there is no picture.
    """
    seen, deepest, brightest = Counter[tuple[int, int, bool]](), 0, 0
    for each in (each for each in raw if each is not None):
        seen[each.height, each.width, each.mode in (*GREY, *DEEP)] += 1
        if each.mode in DEEP:
            deepest = max(deepest, int(np.max(_grey(each))))
        elif brightest < DARK:
            brightest = max(brightest, int(np.max(_plain(each).convert("L"))))
    if not seen:
        raise ValueError("there is no picture to find a size from")
    if brightest < DARK and not deepest and levels is None:
        warnings.warn(
            f"no picture is brighter than {brightest} of 255, so that they are nearly black: bring to 0..255 what "
            "holds fewer bits than its file, and give numbers of classes levels = 256",
            UserWarning,
            stacklevel=2,
        )
    channels = channels or (1 if all(is_grey for *_, is_grey in seen) else 3)
    white = next(2**bits - 1 for bits in DEPTHS if deepest < 2**bits) if deepest else None
    return Images(channels, *(size or _usual(seen)), levels, white)


def _usual(seen: Counter[tuple[int, int, bool]]) -> tuple[int, int]:
    """The height and width that most pictures have, or, of the same form, at most 64 pixels a side."""
    sizes = Counter[tuple[int, int]]()
    for (height, width, _), count in seen.items():
        sizes[height, width] += count
    height, width = min(sizes, key=lambda side: (-sizes[side], side))
    shrink = min(1.0, LARGEST / max(height, width))
    return max(round(height * shrink), 1), max(round(width * shrink), 1)


def read(path: str | Path) -> Any:
    """A picture, wholly read and turned as its camera says.

    Raises:
        ValueError: it is damaged, no picture, or several, or nothing says what is white in it.
    """
    pictures = extra("PIL.Image")
    try:
        with pictures.open(path) as picture:
            _check_alone(picture)
            picture.load()
            return _known(extra("PIL.ImageOps").exif_transpose(picture))
    except Exception as error:  # decoders raise nearly everything when bytes are wrong
        raise ValueError(f"cannot read {str(path)!r} as a picture: {_first_line(error)}") from None


def write(path: str | Path | IO[bytes], picture: Any) -> None:
    """Write a picture as a PNG file, or into an open one."""
    picture.save(path, format="PNG")


def _check_alone(picture: Any) -> None:
    """Raise ValueError where a file holds several pictures of one size, of which the first would be taken."""
    if picture.format not in PAGED or (pages := getattr(picture, "n_frames", 1)) < 2:
        return
    size = picture.size
    picture.seek(1)
    if picture.size == size:
        raise ValueError(
            f"it holds {pages} pages or moments, and an item has one: save each as a picture of its own, or all of "
            f"them as arrays (items, {pages}, height, width) in an .npz file"
        )
    picture.seek(0)


def _known(picture: Any) -> Any:
    """The picture, if it says or its numbers tell what is white in it."""
    if picture.mode == "F" or (picture.mode == "I" and not 0 <= min(ends := picture.getextrema()) <= max(ends) < 2**16):
        raise ValueError(f"a picture of Pillow's mode {picture.mode!r} has no known white: save it with 8 or 16 bits")
    return picture


def _grey(picture: Any) -> Any:
    """A picture of 16 bits in Pillow's mode F, since it resamples those alone."""
    return extra("PIL.Image").fromarray(np.asarray(_known(picture)).astype(np.float32))


def _plain(picture: Any) -> Any:
    """A picture of 8 bits with nothing to see through."""
    if _known(picture).has_transparency_data:
        picture = picture.convert("RGBA")
        return extra("PIL.Image").alpha_composite(extra("PIL.Image").new("RGBA", picture.size, "white"), picture)
    return picture


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
