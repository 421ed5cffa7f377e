"""Modality: what it refuses, and guessing one from data."""

from __future__ import annotations

import json

import numpy as np
import pytest

from ppvae import Modality
from ppvae.language.modality import guess

NAN = np.nan


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"name": "my view"}, "must be an identifier"),
        ({"likelihood": "gaussian"}, "unknown likelihood 'gaussian'; choose one of normal"),
        ({"likelihood": "categorical"}, "give levels"),
        ({"shape": ()}, r"a single number has shape \(1,\)"),
        ({"shape": (3, 0)}, r"has shape \(3, 0\)"),
        ({"scale": 0.0}, "scale 0.0; it must be above zero"),
        ({"scale": -1.0}, "scale -1.0; it must be above zero"),
        ({"spread": np.array([1.0, 0.0, NAN])}, "spread .* must be above zero"),
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


def test_refitting_keeps_everything_but_the_moments() -> None:
    network = object
    declared = Modality("x", (2,), "laplace", scale=0.3, decoder=network, center=9.0)
    refitted = guess("x", np.array([[1.0, 2.0], [3.0, 4.0]]), like=declared)
    assert (refitted.likelihood, refitted.scale, refitted.decoder) == ("laplace", 0.3, network)
    np.testing.assert_allclose(refitted.center, [2, 3])
