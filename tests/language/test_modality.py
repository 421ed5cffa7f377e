"""Modality: what it refuses, and guessing one from data."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from ppvae import Modality
from ppvae.language.modality import estimated, guess

NAN = np.nan


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"name": "my view"}, "must be an identifier"),
        ({"likelihood": "gaussian"}, "unknown likelihood 'gaussian'; choose one of normal"),
        ({"likelihood": "categorical"}, "give levels"),
        ({"kind": "image"}, r"of kind 'image' has shape \(3,\); it must be \(channels, height, width\)"),
        ({"kind": "image", "shape": (28, 20, 3)}, r"as if channels came last; put them first.*shape \(3, 28, 20\)"),
        ({"kind": "text", "shape": ()}, r"must be \(positions,\)"),
        ({"kind": "sound", "shape": (1, 2, 3)}, r"must be \(bands, frames\)"),
        ({"components": 0}, "has components 0"),
        ({"shape": (3, 0)}, r"has shape \(3, 0\)"),
        ({"scale": 0.0}, "scale 0.0; it must be above zero"),
        ({"scale": -1.0}, "scale -1.0; it must be above zero"),
        ({"spread": np.array([1.0, 0.0, NAN])}, "spread .* must be above zero"),
        ({"scale": np.inf}, "scale inf; it must be above zero and finite"),
        ({"center": NAN}, "center nan; it must be finite"),
        ({"center": np.ones(2)}, r"of shape \(3,\) has center of shape \(2,\)"),
    ],
)
def test_a_modality_refuses_what_it_cannot_be(options: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Modality(**{"name": "x", "shape": (3,), **options})


def test_a_modality_says_in_json_all_but_its_moments_and_networks() -> None:
    modality = Modality("x", [4, np.int64(2)], "categorical", levels=3, center=np.ones((4, 2)), decoder=lambda n: None)
    plain = json.loads(json.dumps(modality.plain()))
    again = Modality(**plain)
    assert (again.name, again.shape, again.likelihood, again.levels) == ("x", (4, 2), "categorical", 3)
    picture = Modality(**json.loads(json.dumps(Modality("x", (3,), "logistic_mixture", components=7).plain())))
    assert (picture.levels, picture.components) == (256, 7)


@pytest.mark.parametrize(
    ("array", "likelihood"),
    [
        (np.array([[0.0, 1.0], [1.0, 1.0]]), "bernoulli"),
        (np.array([[True, False]]), "bernoulli"),
        (np.array([[0, 7], [3, 1]]), "negative_binomial"),
        (np.array([[0.0, NAN], [1.0, NAN]]), "bernoulli"),
        (np.array([[-1.0, 0.0], [1.0, 1.0]]), "normal"),
        (np.array([[0.5, 0.0], [1.0, 1.0]]), "normal"),
    ],
)
def test_a_likelihood_is_guessed_from_the_values_that_were_measured(array: np.ndarray, likelihood: str) -> None:
    assert guess("x", array).likelihood == likelihood


def test_a_masked_value_takes_no_part_in_the_guess() -> None:
    array, mask = np.array([[0.0], [1.0], [-5.0]]), np.array([True, True, False])
    assert guess("x", array, mask).likelihood == "bernoulli"
    assert guess("x", array).likelihood == "normal"


def test_center_and_spread_are_moments_of_what_was_measured() -> None:
    array = np.array([[1.5, NAN, 2.0], [3.5, 4.5, 2.0], [8.5, NAN, 2.0]])
    modality = guess("x", array)
    np.testing.assert_allclose(modality.center, [4.5, 4.5, 2.0])
    np.testing.assert_allclose(modality.spread, [np.std([1.5, 3.5, 8.5]), 1.0, 1.0])


def test_counts_are_standardised_on_the_scale_of_their_logarithm() -> None:
    array = np.random.default_rng(0).poisson(20, size=(50, 3))
    modality = guess("x", array)
    np.testing.assert_allclose(modality.center, np.log1p(array).mean(0), rtol=1e-6)
    np.testing.assert_allclose(modality.spread, np.log1p(array).std(0), rtol=1e-6)


def test_an_element_that_no_item_has_is_centered_at_zero_with_spread_one() -> None:
    modality = guess("x", np.array([[NAN, 1.5], [NAN, 2.5]]))
    assert (modality.center[0], modality.spread[0]) == (0, 1)


@pytest.mark.parametrize("unit", [1e-12, 1.0, 1e12])
def test_what_counts_as_a_constant_element_does_not_depend_on_the_unit(unit: float) -> None:
    array = unit * np.array([[1.5, 2.0, 1e8], [2.5, 2.0, 1e8 + 1]])
    np.testing.assert_allclose(estimated(Modality("x", (3,)), array).spread, [0.5 * unit, 1.0, 1.0])


def test_counts_that_are_all_zero_have_the_level_of_half_a_count() -> None:
    np.testing.assert_allclose(np.expm1(estimated(Modality("x", (1,), "poisson"), np.zeros((50, 1))).center), 0.01)


@pytest.mark.parametrize("declared", [{}, {"center": 9.0}, {"spread": 4.0}, {"center": 9.0, "spread": 4.0}])
def test_what_is_declared_stays_and_the_rest_is_estimated_anew(declared: dict) -> None:
    arrays = np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[7.0, 0.0], [9.0, 8.0]])
    first = Modality("x", (2,), "laplace", scale=0.3, decoder=object, **declared)
    for modality in (estimated(first, arrays[1]), estimated(estimated(first, arrays[0]), arrays[1])):
        assert (modality.likelihood, modality.scale, modality.decoder) == ("laplace", 0.3, object)
        np.testing.assert_allclose(modality.center, declared.get("center", [8, 4]))
        np.testing.assert_allclose(modality.spread, declared.get("spread", [1, 4]))


def test_an_estimate_that_is_replaced_by_hand_is_declared() -> None:
    modality = replace(guess("x", np.array([[1.5], [3.0]])), center=2.0)
    again = estimated(modality, np.array([[7.5], [9.5]]))
    assert (again.center, again.spread) == (2.0, 1.0)


@pytest.mark.parametrize("kind", ["image", "sound", "series"])
def test_a_channel_has_one_center_and_one_spread_at_all_its_places(kind: str) -> None:
    rng = np.random.default_rng(0)
    shape = (2, 3, 4) if kind == "image" else (2, 12)
    array = (rng.normal(size=(9, 2, 12)) * [[2.0], [7.0]] + [[5.0], [-3.0]]).reshape(9, *shape)
    seen = rng.random(array.shape) < 0.7
    found = estimated(Modality("x", shape, kind=kind), array, seen)
    values = [array[:, channel][seen[:, channel]] for channel in range(2)]
    for known, function in ((found.center, np.mean), (found.spread, np.std)):
        assert known.shape == shape
        expected = np.array([function(each) for each in values])
        np.testing.assert_allclose(known.reshape(2, -1), np.repeat(expected[:, None], 12, 1), rtol=1e-5)
