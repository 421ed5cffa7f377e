"""Images: pictures of every mode and size become numbers on one scale, and themselves again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ppvae.data.preprocessing import preprocessing
from ppvae.data.preprocessing.images import Images, fitted, read, write


@given(st.sampled_from([1, 3]), st.integers(1, 9), st.integers(1, 9), st.sampled_from([None, 256]), st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_a_picture_of_the_right_size_comes_back_bit_for_bit(channels, height, width, levels, seed) -> None:
    images = Images(channels, height, width, levels)
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    picture = Image.fromarray(pixels[..., 0] if channels == 1 else pixels)
    array, observed = images.encode([picture, None])
    assert (array.shape, array.dtype, observed.tolist()) == ((2, *images.shape), np.float32, [True, False])
    assert array.max() <= (1 if levels is None else 255)
    assert np.array_equal(array, np.round(array)) or levels is None
    assert images.decode(array)[0].tobytes() == picture.tobytes()
    assert preprocessing("a", images.plain()) == images


def test_values_beyond_the_scale_are_cut_to_it() -> None:
    (picture,) = Images(1, 1, 3).decode(np.array([[[[-0.5, 0.5, 1.5]]]]))
    assert list(picture.tobytes()) == [0, 128, 255]


@pytest.mark.parametrize(
    ("picture", "grey"),
    [
        (Image.new("1", (2, 2), 1), 1.0),
        (Image.new("LA", (2, 2), (0, 255)), 0.0),
        (Image.new("RGBA", (2, 2), (0, 0, 0, 0)), 1.0),  # nothing to be seen on white
        (Image.new("RGBA", (2, 2), (0, 0, 0, 51)), 0.8),
        (Image.new("P", (2, 2), 0), 0.0),
        (Image.new("CMYK", (2, 2), (0, 0, 0, 0)), 1.0),
        (Image.fromarray(np.full((2, 2), 257 * 51, np.uint16)), 0.2),
    ],
    ids=lambda value: value.mode if isinstance(value, Image.Image) else "",
)
def test_every_mode_is_brought_to_one_scale(picture: Image.Image, grey: float) -> None:
    for channels in (1, 3):
        np.testing.assert_allclose(Images(channels, 2, 2).one(picture), grey, atol=1e-6)


def test_pictures_without_a_white_are_refused() -> None:
    with pytest.raises(ValueError, match="mode 'F' has no known white"):
        Images(1, 2, 2).one(Image.new("F", (2, 2)))


def test_another_size_is_the_mean_of_what_it_covers() -> None:
    halves = Image.fromarray(np.repeat([[0, 255]], 8, 0).repeat(8, 1).astype(np.uint8))
    array = Images(1, 4, 4).one(halves)[0]
    assert (array[:, 0] < 0.02).all()
    assert (array[:, -1] > 0.98).all()
    np.testing.assert_allclose(array.mean(), 0.5, atol=0.01)


def test_size_and_channels_are_those_of_the_training_pictures() -> None:
    grey, colour = Image.new("L", (6, 4), 255), Image.new("RGB", (5, 5), "white")
    assert fitted([grey, None, grey]) == Images(1, 4, 6)
    assert fitted([grey, grey, colour], levels=256) == Images(3, 4, 6, 256)
    assert fitted([Image.new("RGB", (640, 320), "red")]) == Images(3, 32, 64)
    assert fitted([colour], size=(8, 9), channels=1) == Images(1, 8, 9)
    with pytest.raises(ValueError, match="there is no picture"):
        fitted([None])


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("levels", [None, 256])
def test_pictures_of_few_bits_in_16_use_the_whole_scale_and_come_back_in_their_own(tmp_path, bits, levels) -> None:
    pixels = np.random.default_rng(bits).integers(0, 2**bits, (3, 5, 4)).astype(np.uint16)
    pixels[0, 0, 0] = 2**bits - 1
    for i, each in enumerate(pixels):
        Image.fromarray(each).save(tmp_path / f"{i}.tif")
    raw = [read(tmp_path / f"{i}.tif") for i in range(3)]
    images = fitted(raw, levels=levels)
    assert images == Images(1, 5, 4, levels, 2**bits - 1)
    array, _ = images.encode(raw)
    top = 1 if levels is None else 255
    np.testing.assert_allclose(array[:, 0], pixels * (top / (2**bits - 1)), atol=0.5 if levels else 1e-6)
    write(tmp_path / "a.png", images.decode(array)[1])
    back = np.asarray(Image.open(tmp_path / "a.png")).astype(int)
    assert np.abs(back - pixels[1]).max() <= (2**bits / 2 / 255 if levels else 0)
    assert preprocessing("a", images.plain()) == images


def test_brighter_pictures_than_those_of_training_go_beyond_one_and_come_back() -> None:
    images, bright = Images(1, 1, 2, white=4095), Image.fromarray(np.array([[0, 8190]], np.uint16))
    array, _ = images.encode([bright])
    np.testing.assert_allclose(array.ravel(), [0, 2])
    assert np.array_equal(np.asarray(images.decode(array)[0]), np.asarray(bright))
    assert Images(1, 1, 2, 256, 4095).encode([bright])[0].max() == 255


def test_grey_pictures_of_32_bits_that_need_16_are_of_16_and_stand_beside_colours() -> None:
    wide = Image.fromarray(np.array([[0, 1023]], np.int32))
    assert fitted([wide]) == Images(1, 1, 2, white=1023)
    images = fitted([wide, Image.new("RGB", (2, 1), "red")])
    assert images == Images(3, 1, 2, white=1023)
    assert images.decode(images.encode([wide])[0])[0].tobytes() == bytes([0, 0, 0, 255, 255, 255])


@pytest.mark.parametrize("values", [0, 3, 63])
def test_pictures_that_are_nearly_black_are_told(values: int) -> None:
    with pytest.warns(UserWarning, match=f"no picture is brighter than {values} of 255"):
        fitted([Image.new("L", (2, 2), values)])


@pytest.mark.parametrize("ending", ["gif", "tif", "webp", "png"])
def test_a_file_of_several_pictures_is_refused_and_a_preview_is_not(tmp_path: Path, ending: str) -> None:
    first, second, preview = (Image.new("L", size, grey) for size, grey in (((4, 4), 9), ((4, 4), 200), ((2, 2), 9)))
    first.save(tmp_path / f"a.{ending}", save_all=True, append_images=[second])
    with pytest.raises(ValueError, match=r"a\.\w+' as a picture: it holds 2 pages or moments"):
        read(tmp_path / f"a.{ending}")
    if ending == "tif":
        first.save(tmp_path / "b.tif", save_all=True, append_images=[preview])
        assert read(tmp_path / "b.tif").tobytes() == first.tobytes()


def test_a_file_without_a_white_is_named(tmp_path: Path) -> None:
    Image.new("F", (2, 2)).save(tmp_path / "a.tif")
    with pytest.raises(ValueError, match=r"a\.tif' as a picture: a picture of Pillow's mode 'F' has no known white"):
        read(tmp_path / "a.tif")


def test_a_file_comes_back_and_stands_upright(tmp_path: Path) -> None:
    picture = Image.fromarray(np.arange(6, dtype=np.uint8).reshape(2, 3))
    write(tmp_path / "a.png", picture)
    assert read(tmp_path / "a.png").tobytes() == picture.tobytes()
    turned = Image.Exif()
    turned[0x0112] = 6  # the camera was held upright
    picture.save(tmp_path / "b.png", exif=turned)
    assert read(tmp_path / "b.png").size == (2, 3)


def test_a_damaged_picture_is_one_sentence(tmp_path: Path) -> None:
    whole = tmp_path / "a.png"
    Image.effect_noise((64, 64), 50).save(whole)
    for name, content in {"cut.png": whole.read_bytes()[:900], "text.png": b"no picture", "none.png": b""}.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=rf"^cannot read '\S*{name}' as a picture: .+"):
            read(tmp_path / name)
