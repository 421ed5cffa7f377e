"""Measures of reconstructions, each against a closed form, a library or brute force."""

from __future__ import annotations

from functools import lru_cache

import linear_gaussian as lg
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import r2_score

from ppvae import VAE, Dataset, Modality, Program, dist, method, metrics, ops, pyro
from ppvae.inference.fitted import Fitted
from ppvae.inference.points import point
from ppvae.metrics import edit_distance, levenshtein, likeness, log_mel, mel_distance, r2, reconstruction, ssim
from ppvae.metrics.reconstruction import compared
from ppvae.runs.settings import Settings
from ppvae.runs.snapshot import Snapshot

RNG = np.random.default_rng(0)
ONE, OTHER = RNG.random((2, 3, 2, 13, 16))

# Share of variance


def test_r2_is_scikit_learn_s() -> None:
    real, made = RNG.normal(size=(2, 30, 2, 3)) * np.array([1.0, 5.0, 0.1])
    wanted = r2_score(real.reshape(30, -1), made.reshape(30, -1), multioutput="variance_weighted")
    assert r2(real, made) == pytest.approx(wanted)


def test_r2_of_what_was_measured() -> None:
    real, made = RNG.normal(size=(2, 30, 1))
    seen = np.arange(30) % 3 > 0
    assert r2(np.where(seen[:, None], real, np.nan), made) == pytest.approx(r2_score(real[seen], made[seen]))
    assert r2(real, real) == 1
    assert np.isnan(r2(np.full((4, 2), 3.0), np.zeros((4, 2))))


# Images


def test_equal_images_are_alike_and_order_is_nothing() -> None:
    np.testing.assert_allclose(ssim(ONE, ONE), 1)
    np.testing.assert_allclose(ssim(ONE, OTHER), ssim(OTHER, ONE))
    np.testing.assert_allclose(ssim(7 * ONE, 7 * OTHER, span=7), ssim(ONE, OTHER))
    assert (ssim(ONE, OTHER) < 0.3).all()


@given(st.floats(0, 1), st.floats(0, 1))
def test_images_of_one_shade_differ_in_light_alone(one: float, other: float) -> None:
    found = ssim(np.full((1, 11, 12), one), np.full((1, 11, 12), other))
    assert found[0] == pytest.approx((2 * one * other + 1e-4) / (one**2 + other**2 + 1e-4), rel=1e-9)


def test_likeness_is_the_formula_of_each_window_and_channel() -> None:
    bell = np.exp(-np.square(np.arange(-5, 6)) / (2 * 1.5**2))
    weight = np.outer(bell, bell) / bell.sum() ** 2
    found = []
    for channel in range(2):
        for i in range(3):
            for j in range(6):
                x, y = (images[1, channel, i : i + 11, j : j + 11] for images in (ONE, OTHER))
                mx, my = (weight * x).sum(), (weight * y).sum()
                vx, vy, both = ((weight * (a - ma) * (b - mb)).sum() for a, ma, b, mb in _products(x, mx, y, my))
                light = (2 * mx * my + 1e-4) / (mx**2 + my**2 + 1e-4)
                found.append(light * (2 * both + 9e-4) / (vx + vy + 9e-4))
    assert ssim(ONE, OTHER)[1] == pytest.approx(np.mean(found), rel=1e-10)


def _products(x: np.ndarray, mx: float, y: np.ndarray, my: float) -> list[tuple]:
    return [(x, mx, x, mx), (y, my, y, my), (x, mx, y, my)]


def test_windows_that_touch_a_hole_are_left_out() -> None:
    real = ONE.copy()
    real[0, :, 4, 15] = np.nan
    real[0, :, 8, 15] = np.nan
    real[2] = np.nan
    found = ssim(real, OTHER)
    assert found[0] == pytest.approx(ssim(ONE[:1, ..., :15], OTHER[:1, ..., :15])[0])
    assert found[1] == ssim(ONE, OTHER)[1]
    assert np.isnan(found[2])


def test_a_small_image_has_the_largest_window_of_odd_size() -> None:
    bell = np.exp(-np.square(np.arange(-3, 4)) / (2 * 1.5**2))
    weight = np.outer(bell, bell) / bell.sum() ** 2
    x, y = ONE[0, 0, :7, :7], OTHER[0, 0, :7, :7]
    mx, my = (weight * x).sum(), (weight * y).sum()
    vx, vy, both = ((weight * (a - ma) * (b - mb)).sum() for a, ma, b, mb in _products(x, mx, y, my))
    light = (2 * mx * my + 1e-4) / (mx**2 + my**2 + 1e-4)
    wanted = light * (2 * both + 9e-4) / (vx + vy + 9e-4)
    assert ssim(x[None], y[None])[0] == pytest.approx(wanted, rel=1e-10)


@pytest.mark.parametrize("shape", [(3, 2, 16), (3, 200)])
def test_images_without_a_window_are_one_sentence(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="at least 3 by 3 pixels"):
        ssim(np.zeros(shape), np.zeros(shape))


# Sequences


def edits(one: str, other: str) -> int:
    """The fewest edits, by trying all."""

    @lru_cache
    def rest(i: int, j: int) -> int:
        if i == len(one) or j == len(other):
            return len(one) + len(other) - i - j
        return min(rest(i + 1, j) + 1, rest(i, j + 1) + 1, rest(i + 1, j + 1) + (one[i] != other[j]))

    return rest(0, 0)


@given(st.text("abc", max_size=7), st.text("abc", max_size=7))
def test_edits_are_the_fewest(one: str, other: str) -> None:
    assert levenshtein(one, other) == levenshtein(other, one) == edits(one, other)


def test_edit_distance_leaves_holes_and_what_follows_the_end_out() -> None:
    real = np.array([[1, 2, np.nan, 3], [1, 0, 2, 2], [0, 1, 1, 1], [np.nan] * 4])
    made = np.array([[1, 3, 9, 3], [1, 1, 1, 0], [0, 2, 2, 2], [1, 1, 1, 1]])
    np.testing.assert_allclose(edit_distance(real, made, end=0), [1 / 3, 2 / 3, 0, np.nan])
    np.testing.assert_allclose(edit_distance(real, made), [1 / 3, 3 / 4, 3 / 4, np.nan])


# Sounds


def test_a_louder_sound_is_as_far_as_it_is_louder() -> None:
    waves = RNG.normal(size=(3, 2, 900))
    distance = mel_distance(waves, -4 * waves, rate=8000, bands=20, window=256)
    np.testing.assert_allclose(distance, 20 * np.log10(4))
    np.testing.assert_array_equal(mel_distance(waves, waves, rate=8000, bands=20, window=256), 0)


def test_a_pure_tone_is_as_loud_as_its_band_lets_through() -> None:
    rate, window, bands = 8000, 512, 24
    hertz = 64 * rate / window  # on the grid of frequencies: the Hann window spreads it over three of them
    tone = np.cos(2 * np.pi * hertz * np.arange(2 * window) / rate)
    mel = np.linspace(0, 2595 * np.log10(1 + rate / 1400), bands + 2)
    edges = 700 * (10 ** (mel / 2595) - 1)
    near = hertz + np.array([-1, 0, 1]) * rate / window
    weights = [np.interp(near, edges[i : i + 3], [0, 1, 0]) for i in range(bands)]
    wanted = np.array(weights) @ (np.array([1 / 8, 1 / 4, 1 / 8]) * window) ** 2
    found = log_mel(tone, rate, bands, window)
    assert found.shape == (5, bands)
    np.testing.assert_allclose(10 ** (found[0] / 10), np.maximum(wanted, 1e-10), rtol=1e-8, atol=1e-9)


def test_frames_that_touch_a_hole_are_left_out() -> None:
    waves, others = RNG.normal(size=(2, 2, 640))
    real = waves.copy()
    real[0, 639] = np.nan
    real[1, 200] = real[1, 450] = np.nan
    found = mel_distance(real, others, rate=8000, bands=10, window=256)
    wanted = mel_distance(waves[:1, :576], others[:1, :576], rate=8000, bands=10, window=256)
    np.testing.assert_allclose(found, [wanted[0], np.nan])


@pytest.mark.parametrize(
    ("samples", "bands", "message"), [(100, 10, "of 256 samples or more"), (600, 90, "too narrow")]
)
def test_sounds_that_cannot_be_compared_are_one_sentence(samples: int, bands: int, message: str) -> None:
    waves = np.zeros((2, samples))
    with pytest.raises(ValueError, match=message):
        mel_distance(waves, waves, rate=8000, bands=bands, window=256)


# Predictions


@pytest.fixture(scope="module")
def oracle() -> lg.LinearGaussian:
    return lg.orthogonal()


def test_reconstructions_explain_what_the_oracle_s_do(oracle: lg.LinearGaussian) -> None:
    values = oracle.draw(40, seed=1)
    pair = lg.fitted(oracle, lg.product(oracle), "pyro")
    found = reconstruction(pair, lg.dataset(oracle, values), ["a"], draws=400)
    for name in oracle.names:
        mean, _ = oracle.predictive(name, {"a": values["a"]})
        assert found[name] == pytest.approx(r2(values[name], mean), abs=0.02)


def test_only_what_was_measured_of_items_that_were_given_something_is_compared(oracle: lg.LinearGaussian) -> None:
    values = oracle.draw(8, seed=2)
    whole = lg.dataset(oracle, values)
    seen = {"a": np.arange(8) != 3, "c": RNG.random((8, 3)) < 0.5}
    data = Dataset({**values, "c": np.where(seen["c"], values["c"], 1e9)}, seen, modalities=whole.modalities)
    pair = lg.fitted(oracle, lg.product(oracle), "pyro")
    found = reconstruction(pair, data, ["a"], ["c"], lambda real, made: np.isnan(real))
    np.testing.assert_array_equal(found["c"], ~seen["c"] | ~seen["a"][:, None])
    error = reconstruction(pair, data, ["a"], ["c"], lambda real, made: np.nanmax(np.abs(real - made)))
    assert error["c"] < 100


class Levels(Program):
    """``x ~ Categorical(probs)`` elementwise, whatever z."""

    def forward(self, batch):
        with batch.plate():
            pyro.sample("z", dist.Normal(0.0, 1.0).expand([1]).to_event(1))
            probs = ops.as_tensor([[0.9, 0.0, 0.1], [0.1, 0.1, 0.8]])
            x = dist.Categorical(probs=probs).expand([batch.size, 2]).to_event(1)
            return pyro.sample("x", x, obs=batch.get("x"))


class Anywhere(Program):
    """``z ~ Normal(0, I)``."""

    def forward(self, batch):
        with batch.plate():
            pyro.sample("z", dist.Normal(0.0, 1.0).expand([1]).to_event(1))


def test_a_categorical_element_is_its_likeliest_level() -> None:
    modality = Modality("x", (2,), "categorical", levels=3)
    data = Dataset({"x": np.array([[0, 2], [1, 2]])}, modalities=[modality])
    pair = Fitted(VAE(Levels(), Anywhere()), [modality], Settings(backend="pyro"), [], Snapshot({}))
    found = reconstruction(pair, data, ["x"], measure=edit_distance, draws=30)
    np.testing.assert_allclose(found["x"], [0, 0.5])


# Kinds


def test_each_kind_has_its_own_measure() -> None:
    text = Modality("x", (4,), "autoregressive", levels=6, kind="text")
    real = np.array([[4, 5, 3, 0], [4, 4, 4, 4], [np.nan] * 4, [3, 0, 0, 0]])
    made = np.array([[4, 4, 3, 0], [4, 4, 4, 4], [4, 3, 0, 0], [4, 3, 0, 0]])
    found = likeness(text, real, made)
    np.testing.assert_allclose(found["edit_distance"], [0.5, 0, np.nan, 1])
    np.testing.assert_allclose(found["exact_match"], [0, 1, np.nan, 0])
    levels = likeness(Modality("x", ONE.shape[1:], "logistic", kind="image"), 255 * ONE, 255 * OTHER)
    np.testing.assert_allclose(levels["ssim"], ssim(ONE, OTHER))
    wide = likeness(Modality("x", ONE.shape[1:], kind="image"), 7 * ONE, 7 * OTHER)
    np.testing.assert_allclose(wide["ssim"], ssim(ONE, OTHER, span=np.ptp(ONE)))
    sounds = RNG.normal(size=(3, 6, 5))
    sounds[1, 2, 4] = np.nan
    decibels = likeness(Modality("x", (6, 5), kind="sound"), sounds, sounds + np.array([1.0, 2.0, -3.0])[:, None, None])
    np.testing.assert_allclose(decibels["mel_distance"], [1, 2, 3])
    assert likeness(Modality("x", (4,)), made, made) == {}


def test_texts_and_sounds_are_compared_with_what_others_say_of_them() -> None:
    rng = np.random.default_rng(0)
    modalities = [
        Modality("text", (3,), "autoregressive", levels=6, kind="text"),
        Modality("sound", (2, 4), kind="sound"),
        Modality("plain", (2,)),
    ]
    texts = np.array([[4, 3, 0], [5, 3, 0], [np.nan] * 3])
    arrays = {"text": texts, "sound": rng.normal(size=(3, 2, 4)), "plain": rng.normal(size=(3, 2))}
    data = Dataset(arrays, modalities=modalities)
    vae = method("mvae", data.modalities, latent=2, hidden=(8,))
    pair = Fitted(vae, list(data.modalities or ()), Settings(backend="pyro"), [], Snapshot({}))
    found = metrics.likenesses(pair, data, draws=3)
    assert {name: list(measures) for name, measures in found.items()} == {
        "text": ["edit_distance", "exact_match"],
        "sound": ["mel_distance"],
    }
    assert np.isnan(found["text"]["edit_distance"]).tolist() == [False, False, True]
    alone = metrics.likenesses(pair, data, given=["text"], draws=3)
    assert np.isnan(alone["sound"]["mel_distance"]).tolist() == [False, False, True]


def test_the_point_of_texts_is_the_draw_that_agrees_with_the_others() -> None:
    text = Modality("x", (3,), "autoregressive", levels=6, kind="text")
    draws = np.array([[[4, 5, 3]], [[4, 4, 3]], [[5, 4, 3]], [[5, 5, 4]]])
    np.testing.assert_array_equal(point(text, draws), [[4, 5, 3]])
    np.testing.assert_array_equal(point(text, draws[1:]), [[5, 4, 3]])
    np.testing.assert_array_equal(point(Modality("x", (3,), "categorical", levels=6), draws[1:]), [[5, 4, 3]])
    np.testing.assert_allclose(point(Modality("x", (3,)), draws), draws.mean(0))


@pytest.mark.parametrize(
    ("made", "message"),
    [
        ({"b": np.zeros((2, 1))}, "no 'b' to compare with; ask for some of a"),
        ({"a": np.full((2, 1), np.nan)}, "not num"),
    ],
)
def test_what_cannot_be_compared_is_one_sentence(made: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        compared(r2, Dataset({"a": np.zeros((2, 1))}), np.ones(2, bool), made)


def test_only_modalities_of_the_model_are_reconstructed(oracle: lg.LinearGaussian) -> None:
    data = lg.dataset(oracle, oracle.draw(3, seed=1))
    with pytest.raises(ValueError, match="unknown modality 'q'; this run knows a, b, c"):
        metrics.reconstruction(lg.fitted(oracle, lg.product(oracle), "pyro"), data, ["a"], ["q"])
