"""Labelled: the label summed out by hand, and what is learned from a few labels."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import objective_harness
import pairs
import pytest
import torch
from scipy import stats
from scipy.special import log_softmax, logsumexp

import ppvae
from ppvae import VAE, Batch, Dataset, Modality
from ppvae.guides.labelled import Labelled as Guide
from ppvae.language.traces import paired, random_sites
from ppvae.models.labelled import Labelled
from ppvae.objectives.elbo import elbo, shares
from ppvae.objectives.labelled import m2

LEVELS = 3

both = pytest.mark.parametrize("backend", pairs.BACKENDS)


@pytest.fixture(autouse=True)
def double() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def views() -> list[Modality]:
    return [*pairs.views(), Modality("digit", (1,), "categorical", levels=LEVELS)]


def arrays() -> pairs.Arrays:
    """Every pattern of holes among the views, with and without a label."""
    digit = np.array([0, 1, 2, 0, 1, *[np.nan] * 5])[:, None]
    return {**pairs.rows(items=2), "digit": digit}


@cache
def vae() -> VAE:
    torch.manual_seed(3)
    model = Labelled(views(), latent=1, hidden=(4,))
    with torch.no_grad():
        model.logits.copy_(torch.tensor([0.4, -0.3, 0.1]))
    return pairs.untrained(VAE(model, Guide(views(), 1, (4,), model=model), m2()))


@cache
def data() -> Dataset:
    return Dataset(arrays(), modalities=views())


def log_joint(item: int, given: tuple[str, ...], label: int) -> float:
    """``log p(y) ∫ p(z) ∏_m p(x_m | z, y)`` of one item and one label, on a grid."""
    grid, model = pairs.GRID, vae().model
    points = np.concatenate([grid[:, None], np.broadcast_to(np.eye(LEVELS)[label], (len(grid), LEVELS))], 1)
    total = stats.norm.logpdf(grid)
    for name in given:
        total = total + pairs.log_likelihood(model.likelihoods[name], points, arrays()[name][item])
    return float(log_softmax(model.logits.detach().numpy())[label] + pairs.integral(total))


def evidence(given: tuple[str, ...], labelled: bool) -> np.ndarray:
    """The sum over labels of what they have in common with the views, or the term of the label that was measured."""
    every = np.array([[log_joint(i, given, y) for y in range(LEVELS)] for i in range(len(data()))])
    digit = arrays()["digit"][:, 0]
    known = ~np.isnan(digit) & labelled
    own = every[np.arange(len(every)), np.nan_to_num(digit).astype(int)]
    return np.where(known, own, logsumexp(every, 1))


@both
@pytest.mark.parametrize(("given", "labelled"), [(("a", "b"), True), (("b",), False)])
def test_evidence_is_the_sum_over_labels(backend: str, given: tuple[str, ...], labelled: bool) -> None:
    run = pairs.fitted(vae(), views(), backend)
    pairs.check_evidence(run, data(), evidence(given, labelled), [*given, *(["digit"] if labelled else [])])


def by_hand(batch: Batch, drawn: np.ndarray) -> np.ndarray:
    """``Σ_y q(y) [log p(x, y, z_y) − log q(y) − log q(z_y)]`` at draws z_y, ``(levels, items)``."""
    guide, model = vae().guide, vae().model
    features, present = (part.detach() for part in guide.features(batch))
    log_q = torch.log_softmax(guide.classified(batch).detach(), -1).numpy()
    log_p = torch.log_softmax(model.logits.detach(), -1).numpy()
    total = np.zeros(len(log_q))
    for y in range(LEVELS):
        which = torch.eye(LEVELS)[y].expand(len(log_q), LEVELS)
        loc, scale = (part.detach() for part in guide.heads(features, which))
        weight = torch.where(present[..., None], scale**-2.0, 0.0)
        centre, spread = (weight * loc).sum(0) / (1 + weight.sum(0)), (1 + weight.sum(0)).rsqrt()
        z = drawn[y]
        inner = stats.norm.logpdf(z) - stats.norm.logpdf(z, centre[:, 0].numpy(), spread[:, 0].numpy())
        points = np.concatenate([z[:, None], which.numpy()], 1)
        for name in ("a", "b"):
            likelihood = model.likelihoods[name]
            inner = inner + pairs.log_likelihood(likelihood, points, arrays()[name])
        digit = arrays()["digit"][:, 0]
        error = np.where(np.isnan(digit) | (digit == y), 0.0, -1e4)
        total += np.exp(log_q[:, y]) * (inner + error + log_p[y] - log_q[:, y])
    return total


@both
def test_the_elbo_sums_the_label_out_exactly(backend: str) -> None:
    def objective(model: Any, guide: Any, batch: Batch, beta: Any) -> dict[str, Any]:
        proposal, target = paired(model, guide, batch)
        return {**shares(target, proposal, beta, analytic=False), "drawn": proposal["z"]["value"][..., 0]}

    found = objective_harness.shares(backend, vae(), objective, arrays())
    drawn = found.pop("drawn").reshape(LEVELS, -1)
    masks = {name: torch.as_tensor(~np.isnan(x)) for name, x in arrays().items()}
    batch = Batch({name: torch.as_tensor(np.nan_to_num(x)) for name, x in arrays().items()}, masks)
    np.testing.assert_allclose(sum(found.values()), by_hand(batch, drawn), rtol=1e-10)


@both
def test_the_classification_term_is_the_mean_log_odds_of_the_labels(backend: str) -> None:
    plain = objective_harness.shares(backend, vae(), elbo(), arrays())
    found = objective_harness.shares(backend, vae(), m2(alpha=0.7), arrays())
    unlabelled = {name: x for name, x in arrays().items() if name != "digit"}
    masks = {name: torch.as_tensor(~np.isnan(x)) for name, x in unlabelled.items()}
    batch = Batch({name: torch.as_tensor(np.nan_to_num(x)) for name, x in unlabelled.items()}, masks)
    log_q = torch.log_softmax(vae().guide.classified(batch).detach(), -1).numpy()
    digit = arrays()["digit"][:5, 0].astype(int)
    expected = np.zeros(10)
    expected[:5] = 0.7 * 2 * log_q[np.arange(5), digit]
    np.testing.assert_allclose(found["the classifier"], expected, rtol=1e-12)
    assert set(found) - set(plain) == {"the classifier"}


def test_both_backends_agree_to_rounding() -> None:
    pairs.check_parity(vae(), data())


@both
def test_rows_answer_alone(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pairs.check_rows_answer_alone(pairs.fitted(vae(), views(), backend), data(), monkeypatch)


@both
def test_holes_are_silent_in_the_label_too(backend: str) -> None:
    pairs.check_holes_are_silent(backend, vae(), m2(), arrays())


def test_a_label_that_was_measured_is_y() -> None:
    run = pairs.fitted(vae(), views(), "pyro")
    drawn = run.encode(data(), draws=20)["y"]
    assert (drawn[:, :5] == arrays()["digit"][:5, 0]).all()
    assert len(np.unique(drawn[:, 5:])) == LEVELS
    asked = run.query(data(), ask=["digit"], draws=20)["digit"]
    assert (asked[:, :5] == arrays()["digit"][:5]).all()


@both
def test_a_tenth_of_the_labels_is_enough_where_clusters_are_plain(backend: str) -> None:
    rng = np.random.default_rng(0)
    digit = rng.integers(0, LEVELS, 400)
    centres = 2.5 * np.array([[1.0, 0.0], [-0.5, 0.9], [-0.5, -0.9]])
    x, kinds = centres[digit] + 0.5 * rng.normal(size=(400, 2)), [Modality("x", (2,)), views()[-1]]
    train = Dataset({"x": x, "digit": digit[:, None] * 1.0}, {"digit": np.arange(400) % 10 == 0}, modalities=kinds)
    model = Labelled(kinds, latent=1, hidden=(16,))
    pair = VAE(model, Guide(kinds, 1, (16,), model=model), m2())
    run = ppvae.fit(pair, train.refitted(), backend=backend, epochs=40, batch_size=100, lr=0.02, progress=False)
    drawn = run.query(train, given=["x"], ask=["digit"], draws=20)["digit"][..., 0]
    guess = np.array([np.bincount(votes.astype(int)).argmax() for votes in drawn.T])
    assert (guess == digit).mean() > 0.95, "chance is 0.33"


def test_a_label_is_found_or_named() -> None:
    other = Modality("colour", (1,), "categorical", levels=2)
    assert Labelled(views()).label == "digit"
    assert Labelled([*views(), other], label="colour").label == "colour"
    with pytest.raises(ValueError, match="but 2 fit; name it by label="):
        Labelled([*views(), other])
    with pytest.raises(ValueError, match="but 0 fit the name 'a'"):
        Labelled(views(), label="a")
    with pytest.raises(ValueError, match="but 0 fit"):
        Labelled(pairs.views())


def test_nothing_seen_leaves_the_models_own_label() -> None:
    sites = random_sites(vae().guide, Batch(size=2))
    torch.testing.assert_close(sites["y"]["fn"].logits[0], torch.log_softmax(vae().model.logits, -1))
