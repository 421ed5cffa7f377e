"""Likelihoods: guessed with a reason, asked about where that is doubtful, and as declared where they are."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import ppvae
from ppvae import Dataset, Modality
from ppvae.language.guesses import guess_likelihood

RNG = np.random.default_rng(0)
DOUBTFUL = {
    "grades": (RNG.integers(1, 4, 50), "negative_binomial", "only 3"),
    "genotypes": (RNG.integers(0, 3, (50, 4)), "negative_binomial", "only 3"),
    "genotypes as floats": (RNG.integers(0, 3, (50, 4)).astype(float), "negative_binomial", "only 3"),
    "one-hot": (np.eye(3)[RNG.integers(0, 3, 50)], "bernoulli", "one-hot"),
    "signs": (RNG.choice([-1, 1], 50), "normal", "below 0"),
    "-999": (np.where(RNG.random(50) < 0.1, -999, RNG.poisson(30, 50)), "normal", "below 0"),
    "a code among whole numbers": (
        np.stack([RNG.integers(-50, 50, 90), RNG.choice([3, 5, -999], 90)], 1),
        "normal",
        "-999",
    ),
    "ages and grades": (
        np.stack([RNG.integers(20, 80, 90), RNG.integers(1, 4, 90)], 1),
        "negative_binomial",
        "element 1",
    ),
}
CLEAR = {
    "fractions": (RNG.normal(size=50), "normal"),
    "booleans": (RNG.random((50, 3)) < 0.5, "bernoulli"),
    "sounds of 16 bits": (RNG.integers(-3000, 3000, (20, 400)).astype(np.int16), "normal"),
    "counts": (RNG.negative_binomial(1, 0.02, (200, 3)), "negative_binomial"),
}


@pytest.mark.parametrize("kind", DOUBTFUL)
def test_a_doubtful_guess_asks_with_its_reason_and_what_to_write(kind: str) -> None:
    array, guessed, why = DOUBTFUL[kind]
    with pytest.warns(UserWarning, match=why) as asked:
        data = Dataset({"x": array})
    assert data.modalities[0].likelihood == guessed
    assert f"likelihood={{'x': '{guessed}'}}" in str(asked[0].message)
    assert asked[0].filename == __file__
    said = Dataset({"x": array}, likelihood={"x": "normal"})
    assert said.modalities[0].likelihood == "normal"
    assert "x         " in repr(said)
    assert "declared" in repr(said)


@pytest.mark.parametrize("kind", CLEAR)
def test_a_clear_guess_is_shown_with_its_reason_and_asks_nothing(kind: str) -> None:
    array, guessed = CLEAR[kind]
    data = Dataset({"x": array})
    assert data.modalities[0].likelihood == guessed
    assert f"{guessed} (guessed: " in repr(data.split(0.5)[0])


def test_the_shipped_data_are_declared() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert ppvae.datasets.load("mfeat").guesses == {}


@pytest.mark.parametrize("backend", ["pyro", "numpyro"])
def test_grades_asked_to_be_categories_are_imputed_as_grades(backend: str) -> None:
    grades = np.repeat([1.0, 2.0, 3.0], 20)
    x = grades[:, None] + 0.1 * RNG.normal(size=(60, 2))
    grades[::6] = np.nan
    data = Dataset({"x": x, "grade": grades}, likelihood={"grade": "categorical"})
    assert data.modalities[1].levels == 4
    vae = ppvae.method("mvae", data.modalities, latent=1, hidden=(8,), seed=1)
    fitted = ppvae.fit(vae, data, backend=backend, epochs=100, batch_size=30, lr=0.02, progress=False)
    filled = fitted.impute(data, draws=50)["grade"].ravel()[::6]
    assert np.mean(filled == np.repeat([1.0, 2.0, 3.0], 20)[::6]) > 0.8


@pytest.mark.parametrize(
    ("array", "likelihood", "said"),
    [
        (np.eye(3), {"x": "categorical"}, "one-hot code; categorical takes the codes"),
        (np.arange(1990, 2000), {"x": "categorical"}, "holds none below 1990"),
        ([0.5, 1.0], {"x": "categorical"}, "holds 0.5"),
        ([0.5, 1.0], {"x": "gauss"}, "unknown likelihood 'gauss'"),
        ([0.5, 1.0], {"y": "normal"}, r"likelihood names \['y'\]"),
        (np.full((3, 2), np.nan), None, "'x' has no value at all"),
    ],
)
def test_a_likelihood_that_does_not_suit_is_refused(array: object, likelihood: dict | None, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Dataset({"x": array}, likelihood=likelihood)


def test_a_modality_is_declared_once_and_the_others_are_guessed() -> None:
    arrays = {"x": [0.5, 1.0], "y": [0.5, 1.0]}
    data = Dataset(arrays, modalities=[Modality("y", (1,), "laplace")])
    assert [(m.name, m.likelihood) for m in data.modalities] == [("y", "laplace"), ("x", "normal")]
    with pytest.raises(ValueError, match="'y' is declared twice"):
        Dataset(arrays, modalities=[Modality("y", (1,))], likelihood={"y": "normal"})


def test_training_on_a_modality_of_which_there_is_nothing_is_refused() -> None:
    parts = [Modality("x", (1,)), Modality("y", (2,))]
    data = Dataset({"x": [0.5, 1.0], "y": np.full((2, 2), np.nan)}, modalities=parts)
    with pytest.raises(ValueError, match="'y' has no value at all in the training data"):
        ppvae.fit(ppvae.method("mvae", parts, latent=1), data, backend="pyro", epochs=1)


def test_numbers_that_single_precision_would_round_away_are_named() -> None:
    data = Dataset({"x": 2**24 + RNG.integers(0, 3, (50, 1))}, likelihood={"x": "normal"})
    vae = ppvae.method("vae", data.modalities, latent=1, hidden=(4,))
    with pytest.warns(UserWarning, match="float32 rounds element 0 of modality 'x'"):
        ppvae.fit(vae, data, backend="pyro", epochs=0, progress=False)
    ppvae.fit(vae, data, backend="pyro", epochs=0, progress=False, dtype="float64")


def test_numbers_whose_squares_vanish_are_told_before_training() -> None:
    data = Dataset({"x": 1e-20 * RNG.normal(size=(20, 2))})
    vae = ppvae.method("vae", data.modalities, latent=1)
    with pytest.warns(UserWarning, match=r"'x' varies by .*e-2\d, whose square float32 cannot hold: rescale it"):
        ppvae.fit(vae, data, backend="pyro", epochs=0, progress=False)
    ppvae.fit(vae, data, backend="pyro", epochs=0, progress=False, dtype="float64")


def test_numbers_that_mark_what_is_missing_by_their_size_are_refused_before_training() -> None:
    data = Dataset({"x": np.where(RNG.random((20, 2)) < 0.2, 9.96921e36, RNG.normal(size=(20, 2)))})
    vae = ppvae.method("vae", data.modalities, latent=1)
    with pytest.raises(ValueError, match=r"'x' holds a number of size 9\.96921e\+36, whose square float32 cannot hold"):
        ppvae.fit(vae, data, epochs=1, progress=False)


def test_a_method_takes_modalities_and_no_data_set() -> None:
    with pytest.raises(TypeError, match=r"those of a data set by data\.modalities, not Dataset"):
        ppvae.method("vae", Dataset({"x": RNG.normal(size=(20, 2))}))


@pytest.mark.parametrize("code", [-999.0, -9.0, 9999.0])
def test_a_number_that_marks_what_is_missing_is_asked_about(code: float) -> None:
    heights = np.random.default_rng(0).uniform(1.5, 2.0, (30, 2))
    assert not guess_likelihood(heights).doubt
    heights[[2, 5], 1] = code
    told = guess_likelihood(heights, ["h", "w"])
    assert (told.likelihood, told.doubt.partition(",")[0]) == ("normal", f"w holds {code:g} in 2 items")
    heights[:, 1] = np.linspace(code - 1, code + 300, 30)  # no further from the others than these are apart
    assert not guess_likelihood(heights).doubt


def test_pictures_of_bytes_are_asked_about() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (30, 4, 4)).astype(np.uint8)
    pixels[0, 0, 0] = 255
    told = guess_likelihood(pixels)
    assert (told.likelihood, told.others) == ("negative_binomial", ("logistic",))
    assert "as in pictures" in told.doubt
    assert not guess_likelihood(pixels.astype(int) * 2).doubt


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ((20, 8, 9), r"Modality\(NAME, \(1, 8, 9\), .*, of x\[:, None\]"),
        ((20, 3, 8, 9), r"Modality\(NAME, \(3, 8, 9\), "),
        ((20, 8, 9, 3), r"Modality\(NAME, \(3, 8, 9\), .*, of numpy.moveaxis\(x, -1, 1\)"),
    ],
)
def test_bytes_that_may_be_pictures_say_how_to_get_networks_for_pictures(shape: tuple, said: str) -> None:
    pixels = np.arange(np.prod(shape)).reshape(shape).astype(np.uint8)
    with pytest.warns(UserWarning, match=said):
        Dataset({"x": pixels})
