"""Plates of a program's own, to the left and to the right of the items', against sums and integrals written out."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from objective_harness import BACKENDS, SETTINGS, shares, total
from pyro.infer import RenyiELBO, TraceEnum_ELBO
from scipy import stats
from scipy.special import logsumexp, softmax
from torch import nn

import ppvae
from ppvae import VAE, Dataset, Modality, Program, dist, pyro
from ppvae.backends.devices.in_torch import defaults
from ppvae.objectives.elbo import elbo
from ppvae.objectives.multisample import dreg, iwae, renyi, stl
from ppvae.training.checks.inspection import inspect

both = pytest.mark.parametrize("backend", BACKENDS)
ENUMERATED = {"enumerate": "parallel"}
RNG = np.random.default_rng(0)
ITEMS, WORDS, TONES, STEPS = 5, 3, 2, 3


class Written(Program):
    """A text that is given the data of one modality, and the number of items."""

    def __init__(self, text: Callable[..., Any], **weights: np.ndarray):
        super().__init__()
        self.text = text
        for name, value in weights.items():
            setattr(self, name, nn.Parameter(torch.as_tensor(value)))

    def forward(self, batch: Any) -> Any:
        return self.text(self, batch.get("x"), batch.size)


class Case(NamedTuple):
    """A pair whose guide is the exact posterior of what it draws, and the exact ``log p(x)`` of the data's items."""

    vae: Callable[[], VAE]
    x: np.ndarray
    evidence: Callable[[np.ndarray], float]
    layout: tuple[int, int]


# A continuous latent for each word, in the guide, too: x_w ~ N(z_w, 1), z_w ~ N(u, 1), u ~ N(0, 1).


def words(self: Any, x: Any, size: int) -> None:
    with pyro.plate("documents", size):
        u = pyro.sample("u", dist.Normal(0.0 * self.shift, 1.0))
        with pyro.plate("words", WORDS):
            z = pyro.sample("z", dist.Normal(u, 1.0))
            pyro.sample("x", dist.Normal(z + self.shift, 1.0), obs=None if x is None else x.T)


def words_guide(self: Any, x: Any, size: int) -> None:
    words, x = pyro.plate("words", WORDS, dim=-2), x.T - self.shift
    spread = 1 / (1 + WORDS / 2)
    with pyro.plate("documents", size):
        u = pyro.sample("u", dist.Normal(x.sum(0) / 2 * spread, spread**0.5))
        with words:
            pyro.sample("z", dist.Normal((u + x) / 2, 0.5**0.5))


def words_evidence(x: np.ndarray) -> float:
    return stats.multivariate_normal.logpdf(x, np.full(WORDS, 0.3), np.ones((WORDS, WORDS)) + 2 * np.eye(WORDS))


# Items between two plates: x_wt ~ N(z_w, 1), z_w ~ N(0, 1).


def grid(self: Any, x: Any, size: int) -> None:
    with pyro.plate("rows", size, dim=-2), pyro.plate("words", WORDS, dim=-3):
        z = pyro.sample("z", dist.Normal(0.0 * self.shift, 1.0))
        with pyro.plate("tones", TONES, dim=-1):
            x = None if x is None else x.transpose(0, 1)
            pyro.sample("x", dist.Normal(z + self.shift, 1.0), obs=x)


def grid_guide(self: Any, x: Any, size: int) -> None:
    spread = 1 / (1 + TONES)
    with pyro.plate("rows", size, dim=-2), pyro.plate("words", WORDS, dim=-3):
        pyro.sample("z", dist.Normal((x.transpose(0, 1) - self.shift).sum(-1, keepdim=True) * spread, spread**0.5))


def grid_evidence(x: np.ndarray) -> float:
    covariance = np.ones((TONES, TONES)) + np.eye(TONES)
    return stats.multivariate_normal.logpdf(x, np.full(TONES, 0.3), covariance).sum()


# Labels summed out, of an item and, given it, of each of its words: x_wt ~ N(m[k_w, t], 1).

CHANCES, CENTRES = RNG.normal(size=(2, 3)), RNG.normal(size=(3, TONES))


def topics(self: Any, x: Any, size: int) -> None:
    with pyro.plate("rows", size, dim=-2):
        g = pyro.sample("g", dist.Bernoulli(0.3), infer=ENUMERATED).long()
        with pyro.plate("words", WORDS, dim=-3):
            k = pyro.sample("k", dist.Categorical(logits=self.chances[g]), infer=ENUMERATED)
            with pyro.plate("tones", TONES, dim=-1):
                centre = self.centres[k.squeeze(-1)] if k.ndim else self.centres[k]
                pyro.sample("x", dist.Normal(centre, 1.0), obs=None if x is None else x.transpose(0, 1))


def topics_evidence(x: np.ndarray) -> float:
    fits = np.nansum(stats.norm.logpdf(x[:, None], CENTRES, 1.0), -1)
    each = [np.log(p) + logsumexp(np.log(softmax(CHANCES[g])) + fits, axis=1).sum() for g, p in enumerate((0.7, 0.3))]
    return logsumexp(each)


# A chain whose tones are in a plate at the last dimension, as Pyro's own example has it, of uneven length.

JUMP, TONE = RNG.normal(size=(2, 2)), RNG.normal(size=(2, TONES))


def tones(self: Any, x: Any, size: int) -> None:
    plate = pyro.plate("tones", TONES, dim=-1)
    with pyro.plate("sequences", size, dim=-2) as rows:
        state = 0
        for t in pyro.markov(range(STEPS)):
            jumps = self.jump.softmax(-1)
            state = pyro.sample(f"state_{t}", dist.Categorical(jumps[state]), infer=ENUMERATED)
            with plate:
                seen = None if x is None else x[rows, t]
                pyro.sample(f"x_{t}", dist.Normal(self.tone[state.squeeze(-1)], 1.0), obs=seen)


def tones_evidence(x: np.ndarray) -> float:
    jumps, paths = np.log(softmax(JUMP, axis=-1)), []
    for path in itertools.product(range(2), repeat=STEPS):
        prior = sum(jumps[i, j] for i, j in itertools.pairwise((0, *path)))
        paths.append(prior + np.nansum(stats.norm.logpdf(x, TONE[list(path)], 1.0)))
    return logsumexp(paths)


def silent(self: Any, x: Any, size: int) -> None:
    """The guide of a model all of whose latents are summed out."""


def case(
    model: Any, guide: Any, evidence: Any, shape: tuple[int, ...], layout: tuple[int, int], **weights: Any
) -> Case:
    return Case(
        lambda: VAE(Written(model, **weights), Written(guide, **weights)),
        RNG.normal(size=(ITEMS, *shape)),
        evidence,
        layout,
    )


SHIFT = {"shift": np.array(0.3)}
CASES = {
    "words": case(words, words_guide, words_evidence, (WORDS,), (1, 0), **SHIFT),
    "grid": case(grid, grid_guide, grid_evidence, (WORDS, TONES), (1, 1), **SHIFT),
    "topics": case(topics, silent, topics_evidence, (WORDS, TONES), (1, 1), chances=CHANCES, centres=CENTRES),
    "tones": case(tones, silent, tones_evidence, (STEPS, TONES), (0, 1), jump=JUMP, tone=TONE),
}
cases = pytest.mark.parametrize("name", CASES)


def data(name: str) -> Dataset:
    return Dataset({"x": CASES[name].x})


@cache
def arranged(name: str) -> VAE:
    """The pair as the check before training leaves it."""
    vae = CASES[name].vae()
    inspect(vae, data(name), SETTINGS)
    return vae


@cache
def fitted(name: str, backend: str) -> Any:
    return ppvae.fit(CASES[name].vae(), data(name), backend=backend, dtype="float64", epochs=0)


@cache
def evidence(name: str) -> np.ndarray:
    return np.array([CASES[name].evidence(x) for x in CASES[name].x])


@cases
def test_the_check_finds_where_plates_are(name: str) -> None:
    vae = arranged(name)
    assert vae.model.plate_layout[:2] == vae.guide.plate_layout[:2] == CASES[name].layout


@cases
def test_objectives_of_an_exact_guide_are_the_evidence(name: str) -> None:
    for objective in [elbo(analytic=False), iwae(1), iwae(3), renyi(0.5, 2), stl(2), dreg(2)]:
        found = shares("pyro", arranged(name), objective, {"x": CASES[name].x})
        np.testing.assert_allclose(total(found), evidence(name), rtol=1e-10)


def test_objectives_are_the_same_on_numpyro() -> None:
    found = shares("numpyro", arranged("grid"), dreg(2), {"x": CASES["grid"].x})
    np.testing.assert_allclose(total(found), evidence("grid"), rtol=1e-10)


@both
@cases
def test_the_log_evidence_is_exact(name: str, backend: str) -> None:
    found = fitted(name, backend).log_evidence(data(name), particles=3)
    np.testing.assert_allclose(found, evidence(name), rtol=1e-10)


@cases
def test_both_backends_agree(name: str) -> None:
    found = ppvae.parity(CASES[name].vae(), data(name).batch(), dtype="float64")
    assert max(found["max_logprob_difference"], found["max_gradient_difference"]) < 1e-12


@cases
def test_the_loss_is_that_of_pyros_own_estimator_outside(name: str) -> None:
    vae = arranged(name)
    with defaults(torch.float64):
        found = TraceEnum_ELBO(max_plate_nesting=3, strict_enumeration_warning=False).loss(
            vae.model, vae.guide, data(name).batch()
        )
    assert -found == pytest.approx(evidence(name).sum(), rel=1e-10)


@pytest.mark.parametrize("name", ["topics", "tones"])
@both
def test_holes_are_left_out(name: str, backend: str) -> None:
    x = CASES[name].x.copy()
    x[0] = np.nan
    x[1, 1] = np.nan
    x[2, 0, 1] = x[3, 2, 0] = np.nan
    found = fitted(name, backend).log_evidence(Dataset({"x": x}, modalities=[Modality("x", x.shape[1:])]), particles=1)
    np.testing.assert_allclose(found, [CASES[name].evidence(row) for row in x], rtol=1e-10, atol=1e-10)


class Answers(Program):
    """Answers to questions that differ in difficulty, ``(questions, items)`` as the text has them; no latent."""

    def forward(self, batch: Any) -> None:
        y = batch.get("y")
        with pyro.plate("questions", WORDS, dim=-2), batch.plate():
            logits = torch.linspace(-1.0, 1.0, WORDS)[:, None]
            pyro.sample("y", dist.Bernoulli(logits=logits), obs=None if y is None else y.transpose(-1, -2))


class Silent(Program):
    """There is nothing to draw."""

    def forward(self, batch: Any) -> None:
        pass


@pytest.mark.parametrize("items", [WORDS, 8])
@both
def test_so_are_those_of_values_that_a_support_bounds(items: int, backend: str) -> None:
    y = (RNG.random((items, WORDS)) < 0.5).astype(float)
    y[0, 1] = y[2, 0] = np.nan
    data = Dataset({"y": y}, modalities=[Modality("y", (WORDS,), "bernoulli")])
    run = ppvae.fit(VAE(Answers(), Silent()), data, backend=backend, epochs=1, dtype="float64")
    each = stats.bernoulli.logpmf(np.nan_to_num(y), 1 / (1 + np.exp(-np.linspace(-1.0, 1.0, WORDS))))
    exact = np.where(np.isnan(y), 0.0, each).sum(1)
    np.testing.assert_allclose(run.log_evidence(data, particles=1), exact, rtol=1e-6)
    assert run.history[0]["loss"] == pytest.approx(-exact.mean(), rel=1e-6)


@both
def test_draws_come_item_by_item(backend: str) -> None:
    run, x = fitted("grid", backend), CASES["grid"].x
    z, new = run.encode(data("grid"), draws=1000)["z"], run.query(data("grid"), draws=1000)["x"]
    mean = (x - 0.3).sum(-1) / (1 + TONES)
    assert z.shape == (1000, ITEMS, WORDS)
    assert new.shape == (1000, ITEMS, WORDS, TONES)
    np.testing.assert_allclose(z.mean(0), mean, atol=5 * (1 / (1 + TONES) / 1000) ** 0.5)
    np.testing.assert_allclose(new.mean(0), np.repeat(mean[..., None], TONES, -1) + 0.3, atol=5 * (2 / 1000) ** 0.5)


@pytest.mark.parametrize("backend", [pytest.param("pyro", marks=pytest.mark.slow), "numpyro"])
def test_pieces_in_plates_are_stacked(backend: str) -> None:
    run = fitted("tones", backend)
    new = run.query(data("tones"), draws=2000)["x"]
    jumps, tone = softmax(JUMP, axis=-1), TONE
    chances = [jumps[0], jumps[0] @ jumps, jumps[0] @ jumps @ jumps]
    np.testing.assert_allclose(new.mean((0, 1)), np.stack(chances) @ tone, atol=0.1)
    assert run.generate(4)["x"].shape == (4, STEPS, TONES)


def test_a_run_keeps_its_layout(tmp_path: Path) -> None:
    run = fitted("grid", "pyro")
    run.save(tmp_path / "run")
    again = ppvae.load(tmp_path / "run", vae=CASES["grid"].vae())
    assert again.vae.guide.plate_layout == run.vae.guide.plate_layout
    np.testing.assert_array_equal(
        again.log_evidence(data("grid"), particles=2), run.log_evidence(data("grid"), particles=2)
    )


@both
@pytest.mark.parametrize("objective", ["elbo", iwae(2), RenyiELBO(alpha=0.5, num_particles=2)])
def test_the_loss_in_training_is_the_evidence(backend: str, objective: Any) -> None:
    """By the libraries' own ELBOs, whose sums know nothing of layouts, and by ppvae's."""
    vae = VAE(*CASES["words"].vae().pair.values(), objective=objective)
    run = ppvae.fit(vae, data("words"), backend=backend, dtype="float64", epochs=1, batch_size=ITEMS, lr=1e-9)
    assert run.history[-1]["loss"] == pytest.approx(-evidence("words").mean(), rel=1e-6)
