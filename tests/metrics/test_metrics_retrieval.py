"""Retrieval and clusters in the latent space, against brute force and closed forms."""

from __future__ import annotations

import itertools

import linear_gaussian as lg
import numpy as np
import pytest
import sklearn
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.mixture import GaussianMixture

from ppvae import Dataset, metrics
from ppvae.inference.fitted import Fitted
from ppvae.metrics import encoded, matched

# Two latents: a and b show both with hardly any noise, c shows nothing of them.
CLEAR = lg.LinearGaussian(
    weights={"a": np.eye(2), "b": -np.eye(2), "c": np.zeros((1, 2))},
    biases={"a": np.zeros(2), "b": np.ones(2), "c": np.zeros(1)},
    scales={"a": np.full(2, 0.01), "b": np.full(2, 0.01), "c": np.ones(1)},
)


@pytest.fixture(scope="module")
def fitted() -> Fitted:
    return lg.fitted(CLEAR, lg.product(CLEAR), "pyro")


@pytest.fixture(scope="module")
def data() -> Dataset:
    """Forty items in two clusters of the latent space."""
    rng = np.random.default_rng(0)
    kind = np.repeat([0.0, 1.0], 20)
    z = 4 * kind[:, None] - 2 + 0.3 * rng.normal(size=(40, 2))
    values = {"a": z, "b": 1 - z, "c": rng.normal(size=(40, 1))}
    plain = lg.dataset(CLEAR, values)
    return Dataset(plain.arrays, labels={"kind": kind, "any": rng.integers(0, 2, 40)}, modalities=plain.modalities)


def holed(data: Dataset, seen: np.ndarray) -> Dataset:
    return Dataset(data.arrays, {"a": seen}, data.labels, data.modalities)


# Means


def test_latents_have_the_posterior_s_means() -> None:
    truth = lg.general()
    values = lg.with_holes(truth.draw(6, seed=4), seed=5)
    pair = lg.fitted(truth, lg.Exact(truth), "pyro")
    for names, (mean, there) in zip(
        (["a"], ["b", "c"]), encoded(pair, lg.dataset(truth, values), [["a"], ["b", "c"]], draws=2000), strict=True
    ):
        wanted, cov = truth.posterior({name: values[name] for name in names})
        np.testing.assert_array_less(np.abs(mean - wanted), 5 * np.sqrt(np.einsum("nkk->nk", cov) / 2000))
        np.testing.assert_array_equal(there, [any(not np.isnan(values[n][i]).all() for n in names) for i in range(6)])


def test_a_latent_that_is_not_there_is_one_sentence(fitted: Fitted, data: Dataset) -> None:
    with pytest.raises(ValueError, match="the posterior has no latent 'w'; it has z"):
        encoded(fitted, data, [["a"]], site="w")


# Retrieval


def recall_by_lot(one: np.ndarray, other: np.ndarray, k: int) -> float:
    """The mean share of points whose match is among the k nearest, over all orders of the candidates."""
    distance = np.square(one[:, None] - other).sum(-1)
    found = [
        i in sorted(order, key=lambda j: distance[i, j])[:k]
        for order in itertools.permutations(range(len(one)))
        for i in range(len(one))
    ]
    return float(np.mean(found))


@given(arrays(np.float64, (2, 4, 2), elements=st.integers(0, 2)), st.integers(1, 5))
def test_recall_is_that_of_brute_force_with_ties_drawn_by_lot(points: np.ndarray, k: int) -> None:
    found = matched(*points, ks=[k])
    assert found.forth[k] == pytest.approx(recall_by_lot(points[0], points[1], k))
    assert found.back[k] == pytest.approx(recall_by_lot(points[1], points[0], k))


def test_foscttm_counts_who_is_closer_than_the_match() -> None:
    one, other = np.random.default_rng(1).normal(size=(2, 30, 3))
    distance = np.linalg.norm(one[:, None] - other, axis=-1)
    ranks = [distances.argsort(axis=1).argsort(axis=1).diagonal() for distances in (distance, distance.T)]
    assert matched(one, other).foscttm == pytest.approx(np.mean(ranks) / 29)


def test_points_that_say_nothing_are_found_by_chance() -> None:
    found = matched(np.full((20, 2), 0.3), np.full((20, 2), 0.7), ks=[1, 5, 30])
    assert found.chance == {1: 1 / 20, 5: 5 / 20, 30: 1.0}
    assert found.forth == found.back == pytest.approx(found.chance)
    assert found.foscttm == 0.5


def test_retrieval_in_pieces_is_retrieval_at_once() -> None:
    one, other = np.random.default_rng(2).normal(size=(2, 300, 2))
    whole = matched(one, other)
    with sklearn.config_context(working_memory=0.1):
        assert matched(one, other) == whole


def test_modalities_that_show_the_same_find_each_other(fitted: Fitted, data: Dataset) -> None:
    found = metrics.retrieval(fitted, data, ["a"], ["b", "c"], ks=[1])
    assert (found.forth[1], found.back[1]) == (1.0, 1.0)
    assert (found.items, found.foscttm) == (40, 0.0)
    nothing = metrics.retrieval(fitted, data, ["a"], ["c"])
    assert nothing.foscttm == pytest.approx(0.5, abs=0.15)


def test_items_that_lack_one_side_are_not_looked_for(fitted: Fitted, data: Dataset) -> None:
    seen = np.arange(40) % 3 > 0
    found = metrics.retrieval(fitted, holed(data, seen), ["a"], ["b"])
    assert found == metrics.retrieval(fitted, data.take(seen), ["a"], ["b"])


def test_points_that_cannot_be_matched_are_one_sentence() -> None:
    with pytest.raises(ValueError, match="give two items or more"):
        matched(np.zeros((1, 2)), np.zeros((1, 2)))


# Clusters


@pytest.mark.parametrize("clusterer", [None, GaussianMixture(2, random_state=0)])
def test_clusters_that_are_the_label(fitted: Fitted, data: Dataset, clusterer: object) -> None:
    found = metrics.clustering(fitted, data, "kind", ["b"], clusterer)
    assert (found.ari, found.nmi) == (1.0, 1.0)
    assert found.silhouette > 0.8


def test_clusters_that_have_nothing_to_do_with_the_label(fitted: Fitted, data: Dataset) -> None:
    found = metrics.clustering(fitted, data, "any")
    np.testing.assert_allclose([found.ari, found.nmi, found.silhouette], 0, atol=0.1)


def test_items_that_lack_the_label_or_what_is_given_are_not_clustered(fitted: Fitted, data: Dataset) -> None:
    seen, known = np.arange(40) % 3 > 0, np.arange(40) % 5 > 0
    labels = {"kind": np.where(known, data.labels["any"], np.nan)}
    part = Dataset(data.arrays, {"a": seen}, labels, data.modalities)
    wanted = metrics.clustering(fitted, data.take(seen & known), "any", ["a"])
    assert metrics.clustering(fitted, part, "kind", ["a"]) == wanted
