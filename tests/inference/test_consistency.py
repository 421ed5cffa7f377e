"""Consistency: what each modality tells of the rest, against the closed form, and what is mispaired is found."""

from __future__ import annotations

from functools import cache

import linear_gaussian as lg
import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

import ppvae
from ppvae import Dataset
from ppvae.inference.consistency import Consistency


@cache
def values() -> lg.Arrays:
    """Four items with everything, one for every other subset, the empty one too."""
    chosen = [*[("a", "b", "c")] * 4, *lg.subsets("abc")[:-1], ()]
    drawn = lg.general().draw(len(chosen), seed=2)
    return {n: np.where(np.array([n in s for s in chosen])[:, None], v, np.nan) for n, v in drawn.items()}


@pytest.mark.parametrize("backend", lg.BACKENDS)
def test_values_are_those_of_the_closed_form(backend: str) -> None:
    truth = lg.general()
    found = lg.fitted(truth, lg.Exact(truth), backend).consistency(lg.dataset(truth, values()), particles=30)
    whole = truth.evidence(values())
    for name, value, error in zip(found.names, found.values, found.errors, strict=True):
        rest = {other: array for other, array in values().items() if other != name}
        present = [~np.isnan(array).all(1) for array in rest.values()]
        some = np.any(present, 0) & ~np.isnan(values()[name]).all(1)
        expected = np.where(some, whole - truth.evidence(rest) - truth.evidence({name: values()[name]}), np.nan)
        np.testing.assert_allclose(value, expected, atol=1e-9)  # weights of the exact posterior are all alike
        np.testing.assert_allclose(error[some], 0.0, atol=1e-9)
    for name, value, error in zip(found.names, found.pairwise, found.pairwise_errors, strict=True):
        own, others = {name: values()[name]}, {n: array for n, array in values().items() if n != name}
        gains = [
            truth.evidence({**own, n: a}) - truth.evidence(own) - truth.evidence({n: a}) for n, a in others.items()
        ]
        there = np.stack([~np.isnan(array).all(1) for array in others.values()]) & ~np.isnan(own[name]).all(1)
        expected = np.where(there, gains, 0.0).sum(0) / np.where(there.any(0), there.sum(0), np.nan)
        np.testing.assert_allclose(value, expected, atol=1e-9)
        np.testing.assert_allclose(error[there.any(0)], 0.0, atol=1e-9)


def test_errors_are_those_of_the_estimate() -> None:
    truth = lg.general()
    data = lg.dataset(truth, {name: array[:4] for name, array in values().items()})
    run = lg.fitted(truth, lg.Exact(truth, 1.3), "numpyro")
    found = [run.consistency(data, 200, seed) for seed in range(12)]
    spread = np.std([each.values for each in found], 0, ddof=1)
    assert np.median(spread / np.mean([each.errors for each in found], 0)) == pytest.approx(1.0, abs=0.3)
    spread = np.std([each.pairwise for each in found], 0, ddof=1)
    assert np.median(spread / np.mean([each.pairwise_errors for each in found], 0)) == pytest.approx(1.0, abs=0.3)


@pytest.mark.parametrize("backend", lg.BACKENDS)
def test_conflict_is_jeffreys_divergence_of_the_two_posteriors(backend: str) -> None:
    truth = lg.general()
    data = lg.dataset(truth, {name: array[:3] for name, array in values().items()})
    found = lg.fitted(truth, lg.Exact(truth), backend).consistency(data, particles=25)
    for name, conflict in zip(found.names, found.conflict, strict=True):
        rest = {other: array[:3] for other, array in values().items() if other != name}
        (m, s), (n, t) = truth.posterior({name: values()[name][:3]}), truth.posterior(rest)
        gap = m - n
        pulls = np.linalg.inv(s) + np.linalg.inv(t)
        traces = np.trace(np.linalg.solve(t, s) + np.linalg.solve(s, t), axis1=1, axis2=2)
        exact = 0.5 * (traces - 4 + np.einsum("ni,nij,nj->n", gap, pulls, gap))
        np.testing.assert_allclose(conflict, exact, rtol=0.35)  # a mean of a hundred draws


def test_a_swapped_modality_is_found_and_named() -> None:
    truth = lg.orthogonal()
    rows = {name: array.copy() for name, array in truth.draw(200, seed=0).items()}
    far = np.argsort(rows["a"] @ truth.weights["a"][:, 0])[[0, -1]]
    rows["a"][far] = rows["a"][far[::-1]]
    found = lg.fitted(truth, lg.Exact(truth), "numpyro").consistency(lg.dataset(truth, rows), particles=25)
    assert set(found.suspects()[:2]) == set(far)
    assert f"a of row {found.suspects()[0]} is" in found.verdict


def test_suspects_are_below_zero_beyond_their_errors_and_outliers() -> None:
    rng = np.random.default_rng(0)
    score = np.concatenate([rng.normal(3.0, 1.0, 20), [-9.0, -8.0, -20.0, np.nan]])
    errors = np.where(np.arange(24) == 21, 5.0, 0.1)
    rest = np.zeros((3, 2, 24))
    found = Consistency(("a", "b"), *rest, np.stack([score, score + 1]), np.stack([errors, errors]))
    assert found.suspects().tolist() == [22, 20]
    assert found.verdict.startswith("of 24 items, 2 disagree with themselves; a of row 22 is 20 nats less likely")
    assert "none" in Consistency(("a", "b"), *np.zeros((5, 2, 4))).verdict


def test_a_single_modality_has_nothing_to_agree_with() -> None:
    truth = lg.general()
    one = lg.fitted(truth, lg.Exact(truth), "pyro")
    with pytest.raises(ValueError, match="the data have only a of these"):
        one.consistency(lg.dataset(truth, {"a": values()["a"][:2]}))


def mispaired(data: Dataset, share: float, seed: int) -> tuple[Dataset, np.ndarray]:
    """The data with one modality of so many items, drawn at random, exchanged among these; and which they are."""
    rng = np.random.default_rng(seed)
    bad = rng.permutation(len(data))[: int(share * len(data))]
    arrays = {name: array.copy() for name, array in data.arrays.items()}
    for row, other, name in zip(bad, np.roll(bad, 1), rng.choice(list(arrays), len(bad)), strict=True):
        arrays[name][row] = data.arrays[name][other]
    return Dataset(arrays, modalities=data.modalities), np.isin(np.arange(len(data)), bad)


@pytest.mark.slow
def test_mispaired_digits_are_found() -> None:
    train, test = ppvae.datasets.load("mfeat").split(0.75, seed=0)
    vae = ppvae.method("mvae", train.modalities, latent=12, hidden=[64])
    run = ppvae.fit(vae, train, backend="numpyro", epochs=12, batch_size=64, lr=3e-3, seed=0, progress=False)
    spoilt, bad = mispaired(test, 0.05, seed=0)
    found = run.consistency(spoilt, particles=25)
    assert roc_auc_score(bad, -found.scores) >= 0.95
