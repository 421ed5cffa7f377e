"""Sharing: what nobody shows is not decoded, who is done is not asked again, and nothing is found out twice."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jax
import linear_gaussian as lg
import numpy as np
import pairs
import pytest
from torch import nn

import ppvae
from ppvae.backends import mirror
from ppvae.inference import subset_questions
from ppvae.inference.conditioned_items import whole
from ppvae.inference.consistency import consistency, pairwise_consistency
from ppvae.inference.correction import proposals
from ppvae.inference.questions import MANY, Question

RUNS: list[str] = []


class Noted(nn.Linear):
    """A layer that notes on NumPyro whenever it runs, not when it is compiled."""

    def __init__(self, name: str, *sizes: int) -> None:
        super().__init__(*sizes)
        self.name = name


@mirror.layer(Noted)
def noted(module: Noted, p: Any, x: jax.Array) -> jax.Array:
    jax.debug.callback(lambda: RUNS.append(module.name))
    return x @ p["weight"].T + p["bias"]


class Counted(lg.Exact):
    """The exact guide, which notes when its text runs."""

    def forward(self, batch: Any) -> Any:
        RUNS.append("guide")
        return lg.Exact.forward(self, batch)


def decoder(name: str, size: int) -> Any:
    return lambda latent: Noted(name, latent, size)


@pytest.mark.parametrize(
    "question",
    [Question(subset_questions.terms, 3), Question(subset_questions.log_weights, MANY)],
    ids=["together", "in turn"],
)
def test_what_nobody_shows_is_not_decoded(question: Question) -> None:
    truth = lg.general()
    parts = [replace(m, decoder=decoder(m.name, m.shape[0]), encoder=None) for m in lg.modalities(truth)]
    run = pairs.fitted(pairs.untrained(ppvae.method("mvae", parts, latent=2, hidden=(4,))), parts, "numpyro")
    data = lg.dataset(truth, truth.draw(3, seed=0))
    for given in (["a"], ["b", "c"]):
        RUNS.clear()
        subset_questions.ask(run, question, data, given)
        jax.effects_barrier()
        assert set(RUNS) == set(given)


def test_a_guide_runs_on_torch_once_for_all_questions() -> None:
    truth = lg.general()
    run, data = lg.fitted(truth, Counted(truth), "numpyro"), lg.dataset(truth, truth.draw(3, seed=0))
    counts = []
    for given in (["a"], ["b", "c"], None):
        RUNS.clear()
        subset_questions.ask(run, Question(subset_questions.divergences, 3), data, given)
        counts.append(RUNS.count("guide"))
    assert counts[0] > 0
    assert counts[1:] == [0, 0]


def test_items_that_are_done_are_not_asked_and_the_others_draw_as_before() -> None:
    truth = lg.general()
    about = whole(lg.fitted(truth, lg.Exact(truth), "numpyro"), lg.dataset(truth, truth.draw(4, seed=0)), None, 0)
    loc = np.random.default_rng(0).normal(size=(4, 2, 2))
    mixture = proposals.Mixture(np.full((4, 2), 0.5), loc, np.broadcast_to(np.eye(2), (4, 2, 2, 2)))
    (every, parts), rows = proposals.drawn(about, mixture, 30, 1, np.arange(4)), np.array([1, 3])
    some, own = proposals.drawn(about, proposals.Mixture(*(part[rows] for part in mixture)), 30, 1, rows)
    for few, many in zip((*some, own), (*every, parts), strict=True):
        np.testing.assert_array_equal(few, many[:, rows])
    beside = {"vectors": np.ones((4, 3, 2)), "asked": np.array([0.0, 1.0, 0.0, 1.0])}
    levels = about.ask(Question(proposals._log_joint, 3), beside)["log_joint"]
    assert (levels[:, [0, 2]] == 0).all()
    assert (levels[:, [1, 3]] != 0).all()


def test_scores_by_pairs_alone_are_those_of_all_comparisons() -> None:
    truth = lg.general()
    run, data = lg.fitted(truth, lg.Exact(truth, 1.3), "numpyro"), lg.dataset(truth, truth.draw(4, seed=0))
    few, every = pairwise_consistency(run, data, 30), consistency(run, data, 30)
    assert np.isnan(few.values).all()
    for name in ("scores", "culprits", "pairwise", "pairwise_errors", "conflict"):
        np.testing.assert_array_equal(getattr(few, name), getattr(every, name))
