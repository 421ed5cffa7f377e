"""Objectives: expectations and gradients against closed forms and quadrature, on both backends."""

from __future__ import annotations

import importlib
import itertools
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any

import linear_gaussian as lg
import numpy as np
import objective_harness as harness
import pytest
import torch
from numpy.polynomial.hermite_e import hermegauss
from objective_harness import BACKENDS, assert_unbiased, evaluate, gradients, shares, total
from scipy import stats
from scipy.special import logsumexp
from torch import nn

import ppvae
from ppvae import VAE, Program, dist, distribution, handlers, ops, pyro
from ppvae import objectives as named
from ppvae.guides.mixture import Mixture
from ppvae.objectives import make
from ppvae.objectives.agreement import crmvae, jmvae, mmjsd, mvtcae
from ppvae.objectives.elbo import elbo
from ppvae.objectives.multisample import BOUND, dreg, iwae, renyi, stl
from ppvae.objectives.staged import jnf, telbo
from ppvae.objectives.stratified import mmvae
from ppvae.objectives.subsets import dropout, explained, mvae, random_drop, set_encoder, singles, weighted
from ppvae.parts.experts import subsets
from ppvae.training import fit as fitting

both = pytest.mark.parametrize("backend", BACKENDS)


def on_both(names: Iterable[Any], key: str, numpyro: Iterable[Any], marks: Any = ()) -> Any:
    """Every name on Pyro; on NumPyro, where each shape is compiled, those whose randomness is their own matter.

    For all others it is enough that both backends agree at the same latents, which is tested below. ``marks`` are
    those of the cases on NumPyro.
    """
    cases = [*(("pyro", name) for name in names), *(pytest.param("numpyro", name, marks=marks) for name in numpyro)]
    return pytest.mark.parametrize(("backend", key), cases)


WIDEN, SHIFT = 1.3, 0.2
LOGITS = np.array([0.3, -0.5, 0.1, 0.0, 0.8, -0.2, 0.4])
ITEMS, REPEATS = 2, 1500


@cache
def cases() -> tuple[lg.LinearGaussian, lg.Arrays]:
    """Items in every subset of three modalities, the empty one too."""
    truth = lg.orthogonal()
    values = truth.draw(ITEMS, seed=3)
    chosen = [(), *lg.subsets(truth.names)]
    return truth, {
        name: np.concatenate([array if name in subset else np.full_like(array, np.nan) for subset in chosen])
        for name, array in values.items()
    }


@cache
def spoilt() -> VAE:
    """The oracle's model and the product of experts that are too wide and off."""
    truth, _ = cases()
    guide = lg.product(truth, WIDEN, SHIFT)
    guide.subset_logits = nn.Parameter(torch.as_tensor(LOGITS))
    return VAE(lg.joint(truth), guide)


# Closed forms: everything in numpy, by the definitions of the papers.


def there(values: lg.Arrays) -> dict[str, np.ndarray]:
    return {name: ~np.isnan(array[:, 0]) for name, array in values.items()}


def only(values: lg.Arrays, kept: Mapping[str, np.ndarray]) -> lg.Arrays:
    """The values with everything else missing."""
    return {name: np.where(kept[name][:, None], array, np.nan) for name, array in values.items()}


def alone(values: lg.Arrays, name: str) -> lg.Arrays:
    return only(values, {other: there(values)[other] & (other == name) for other in values})


def q(values: lg.Arrays) -> tuple[np.ndarray, np.ndarray]:
    """Location and scale of the spoilt product given the values."""
    truth, _ = cases()
    precision, signal = np.ones((len(values["a"]), 2)), np.zeros((len(values["a"]), 2))
    for name in truth.names:
        weight, noise = truth.weights[name], truth.scales[name]
        expert = np.maximum((weight**2 / noise[:, None] ** 2).sum(0), 3e-9)
        loc = np.nan_to_num(values[name] - truth.biases[name]) @ (weight / noise[:, None] ** 2) / expert + SHIFT
        precision = precision + there(values)[name][:, None] * expert / WIDEN**2
        signal = signal + there(values)[name][:, None] * expert / WIDEN**2 * loc
    return signal / precision, precision**-0.5


def bound(given: lg.Arrays, scored: lg.Arrays) -> np.ndarray:
    return cases()[0].elbo(scored, *q(given))


def kl(one: tuple[np.ndarray, np.ndarray], other: tuple[Any, Any]) -> np.ndarray:
    (m, s), (n, t) = one, other
    return (np.log(t / s) + (s**2 + (m - n) ** 2) / (2 * t**2) - 0.5).sum(-1)


def fit(given: lg.Arrays, scored: lg.Arrays) -> np.ndarray:
    return bound(given, scored) + kl(q(given), (0.0, 1.0))


def gaps(values: lg.Arrays) -> np.ndarray:
    """``Σ_m KL(q ‖ q_m)`` over what an item has."""
    return sum(np.where(there(values)[name], kl(q(values), q(alone(values, name))), 0.0) for name in values)


def count(values: lg.Arrays) -> np.ndarray:
    return np.maximum(sum(present * 1.0 for present in there(values).values()), 1.0)


def over_parts(values: lg.Arrays, term: Callable[[lg.Arrays], np.ndarray]) -> np.ndarray:
    """The mean of a term over what is left where each modality is lost with probability 1/2, never all."""
    present, found = there(values), []
    for coins in itertools.product([False, True], repeat=len(values)):
        kept = {name: present[name] & ~drop for name, drop in zip(values, coins, strict=True)}
        some = np.any(list(kept.values()), 0)
        found.append(term(only(values, {name: np.where(some, kept[name], present[name]) for name in values})))
    return np.mean(found, 0)


def crmvae_form(values: lg.Arrays) -> np.ndarray:
    pi = 1 / (count(values) + 1)
    own = sum(fit(alone(values, name), alone(values, name)) for name in values)
    price = kl(q(values), (0.0, 1.0)) + gaps(values)
    return (1 - pi) * fit(values, values) + pi * own - pi * price


def mvtcae_form(values: lg.Arrays, a: float = 0.9) -> np.ndarray:
    m = count(values)
    price = (1 - a) * kl(q(values), (0.0, 1.0)) + a / m * gaps(values)
    return (m - a) / m * fit(values, values) - price


def mmjsd_form(values: lg.Arrays) -> np.ndarray:
    members = [
        (np.zeros((len(values["a"]), 2)), np.ones((len(values["a"]), 2))),
        *(q(alone(values, n)) for n in values),
    ]
    pi = np.stack([np.ones(len(values["a"])), *(present * 1.0 for present in there(values).values())])
    pi = (pi / pi.sum(0))[..., None]
    precision = sum(p / s**2 for p, (_, s) in zip(pi, members, strict=True))
    mean = sum(p * m / s**2 for p, (m, s) in zip(pi, members, strict=True)) / precision
    js = sum(p[:, 0] * kl(member, (mean, precision**-0.5)) for p, member in zip(pi, members, strict=True))
    return fit(values, values) - js


def weighted_form(values: lg.Arrays) -> np.ndarray:
    members = np.array(subsets(3))
    present = np.stack(list(there(values).values()), -1)
    allowed = ~(members[:, None] & ~present).any(-1) | ~present.any(-1)
    pi = np.where(allowed, np.exp(LOGITS)[:, None], 0.0)
    pi = pi / pi.sum(0)
    parts = [only(values, dict(zip(values, present.T & row[:, None], strict=True))) for row in members]
    each = np.stack([bound(part, values) for part in parts])
    return (pi * each).sum(0) - np.where(pi > 0, pi * np.log(np.where(pi > 0, pi, 1.0)), 0.0).sum(0)


def set_encoder_form(values: lg.Arrays) -> np.ndarray:
    def term(part: lg.Arrays) -> np.ndarray:
        rest = only(values, {name: there(values)[name] & ~there(part)[name] for name in values})
        return bound(part, part) + fit(values, rest) - kl(q(values), q(part))

    return over_parts(values, term)


def singly(values: lg.Arrays) -> np.ndarray:
    return sum(bound(alone(values, name), alone(values, name)) for name in values)


def whole(values: lg.Arrays) -> np.ndarray:
    return np.all(list(there(values).values()), 0)


def jnf_form(values: lg.Arrays) -> np.ndarray:
    return np.where(whole(values), -gaps(values), 0.0)


FORMS: dict[str, tuple[Any, Callable[[lg.Arrays], np.ndarray]]] = {
    "elbo": (elbo(), lambda x: bound(x, x)),
    "elbo sampled": (elbo(analytic=False), lambda x: bound(x, x)),
    "mvae": (mvae(), lambda x: bound(x, x) + singly(x) + over_parts(x, lambda part: bound(part, part))),
    "mvae of two random subsets, sampled": (
        mvae(random=2, analytic=False),
        lambda x: bound(x, x) + singly(x) + 2 * over_parts(x, lambda part: bound(part, part)),
    ),
    "mvtcae": (mvtcae(), mvtcae_form),
    "mvtcae sampled": (mvtcae(0.5, analytic=False), lambda x: mvtcae_form(x, 0.5)),
    "crmvae": (crmvae(), crmvae_form),
    "jmvae": (jmvae(0.3), lambda x: bound(x, x) - 0.3 * gaps(x)),
    "mmjsd": (mmjsd(), mmjsd_form),
    "weighted": (weighted(), weighted_form),
    "set_encoder": (set_encoder(), set_encoder_form),
    "dropout": (
        dropout(),
        lambda x: 0.5 * bound(x, x) + 0.5 * over_parts(x, lambda part: bound(part, x)),
    ),
    "telbo, second stage": (telbo()[1].objective, singly),
    "jnf, second stage": (jnf()[1].objective, jnf_form),
    "telbo, weighed, first stage": (
        telbo(modality_weights={"b": 3.0})[0].objective,
        lambda x: bound(x, x) + 2 * fit(x, alone(x, "b")),
    ),
    "jnf, weighed, second stage": (
        jnf(modality_weights={"a": 0.5, "b": 3.0})[1].objective,
        lambda x: jnf_form(x) + np.where(whole(x), 2 * sum(fit(alone(x, m), alone(x, "b")) for m in "ac"), 0.0),
    ),
    "stl": (stl(), lambda x: bound(x, x)),
    "stl of three draws": (stl(3), lambda x: bound(x, x)),
    "renyi at 1": (renyi(1.0, draws=3), lambda x: bound(x, x)),
    "iwae of one draw": (iwae(1), lambda x: bound(x, x)),
    "dreg of one draw": (dreg(1), lambda x: bound(x, x)),
}


RANDOM = ("mvae", "weighted", "set_encoder", "dropout")


def repeated(values: Mapping[str, np.ndarray], repeats: int) -> lg.Arrays:
    return {name: np.tile(array, (repeats, 1)) for name, array in values.items()}


@on_both(FORMS, "name", ["elbo", *RANDOM])
def test_the_expectation_is_the_closed_form_for_every_subset(backend: str, name: str) -> None:
    _, values = cases()
    objective, form = FORMS[name]
    found = total(shares(backend, spoilt(), objective, repeated(values, REPEATS), seed=1))
    assert_unbiased(found.reshape(REPEATS, -1), form(values))


def test_bounds_are_below_what_they_bound() -> None:
    truth, values = cases()
    evidence = truth.evidence(values)
    parts = over_parts(values, truth.evidence)
    single = sum(truth.evidence(alone(values, name)) for name in values)
    limits = {
        "elbo": evidence,
        "mvae": evidence + single + parts,
        "jmvae": evidence,
        "dropout": evidence,
        "telbo, second stage": single,
    }
    for name, limit in limits.items():
        gap = limit - FORMS[name][1](values)
        assert (gap > -1e-12).all(), name
        assert gap.max() > 0.1, name


EXACT = {
    "elbo": elbo(analytic=False),
    "set_encoder": set_encoder(analytic=False),
    "mvtcae at 0": mvtcae(0.0, analytic=False),
    "stl": stl(2),
    "iwae": iwae(5),
    "dreg": dreg(5),
    "renyi": renyi(0.5, 5),
    "renyi at 1": renyi(1.0, 5),
}


@pytest.mark.parametrize("name", EXACT)
def test_the_exact_posterior_gives_the_evidence_at_every_draw(name: str) -> None:
    truth, values = cases()
    vae = VAE(lg.joint(truth), lg.product(truth))
    found = total(shares("pyro", vae, EXACT[name], repeated(values, 3), seed=5))
    assert np.abs(found.reshape(3, -1) - truth.evidence(values)).max() < 1e-6


def test_the_exact_posterior_closes_the_gap_of_every_term_of_mvae() -> None:
    truth, values = cases()
    vae = VAE(lg.joint(truth), lg.product(truth))
    found = total(shares("pyro", vae, mvae(random=0, analytic=False), values))
    single = sum(truth.evidence(alone(values, name)) for name in values)
    assert np.abs(found - truth.evidence(values) - single).max() < 1e-6


@cache
def full_covariance() -> tuple[VAE, lg.Arrays]:
    """A guide of bounded weights over items that miss elements, whole modalities, or everything."""
    truth = lg.general()
    guide = lg.Exact(truth, widen=1.3, shift=0.2)
    return VAE(lg.joint(truth), guide), lg.with_holes(truth.draw(8, seed=4), seed=5)


def importance_weighted(backend: str, draws: int, repeats: int) -> np.ndarray:
    vae, values = full_covariance()
    found = shares(backend, vae, iwae(draws), repeated(values, repeats), seed=draws)[BOUND]
    return found.reshape(repeats, -1)


def test_importance_weighting_rises_with_the_draws() -> None:
    _, values = full_covariance()
    evidence = lg.general().evidence(values).mean()
    means = [
        importance_weighted("pyro", draws, repeats).mean() for draws, repeats in ((1, 2000), (10, 400), (100, 200))
    ]
    assert means[0] < means[1] - 0.05 < means[2] - 0.05 < evidence - 0.05 + 0.002


@pytest.mark.parametrize("backend", ["pyro", pytest.param("numpyro", marks=pytest.mark.slow)])
def test_the_importance_weighted_bound_of_many_draws_is_the_evidence(backend: str) -> None:
    _, values = full_covariance()
    found, evidence = importance_weighted(backend, 5000, 10), lg.general().evidence(values)
    error = found.std(0, ddof=1) / np.sqrt(len(found))
    assert error.max() < 0.01
    assert abs(found.mean() - evidence.mean()) < 3 * np.sqrt((error**2).sum()) / len(error)
    assert (np.abs(found.mean(0) - evidence) < 4.5 * np.maximum(error, 1e-9)).all()


def test_renyi_bounds_fall_with_alpha_between_importance_weighting_and_the_elbo() -> None:
    vae, values = full_covariance()
    rows = repeated(values, 300)
    found = [total(shares("pyro", vae, renyi(alpha, 10), rows, seed=1)).mean() for alpha in (0.0, 0.3, 0.7, 1.0)]
    assert found == sorted(found, reverse=True)
    assert found[0] == pytest.approx(shares("pyro", vae, iwae(10), rows, seed=1)[BOUND].mean(), abs=1e-12)
    assert found[0] < lg.general().evidence(values).mean()


# Mixtures, in one dimension, by quadrature.


@cache
def line() -> tuple[lg.LinearGaussian, lg.Arrays]:
    """Two modalities of a one-dimensional latent; the last item lacks the second."""
    truth = lg.LinearGaussian(
        {"a": np.array([[1.2], [0.4]]), "b": np.array([[-0.9]])},
        {"a": np.array([0.3, -0.2]), "b": np.array([0.1])},
        {"a": np.array([0.7, 0.9]), "b": np.array([0.6])},
    )
    values = truth.draw(3, seed=2)
    values["b"][2] = np.nan
    return truth, values


def line_mixture() -> VAE:
    truth, _ = line()
    return VAE(lg.joint(truth), Mixture(lg.modalities(truth, WIDEN, SHIFT), latent=1).double())


GRID = np.linspace(-9.0, 9.0, 1201)


def line_densities(row: int) -> tuple[np.ndarray, np.ndarray]:
    """Of one item on the grid: log densities of the experts that are there ``(expert, grid)``, and log p(X, z)."""
    truth, values = line()
    log_p, experts = stats.norm.logpdf(GRID), []
    for name in truth.names:
        x = values[name][row]
        if not np.isnan(x).any():
            weight, noise = truth.weights[name][:, 0], truth.scales[name]
            precision = (weight**2 / noise**2).sum()
            loc = ((x - truth.biases[name]) * weight / noise**2).sum() / precision + SHIFT
            experts.append(stats.norm.logpdf(GRID, loc, WIDEN / np.sqrt(precision)))
            mean = weight[:, None] * GRID + truth.biases[name][:, None]
            log_p = log_p + stats.norm.logpdf(x[:, None], mean, noise[:, None]).sum(0)
    return np.stack(experts), log_p


def stratified(row: int, draws: int) -> float:
    """``(1/M) Σ_m E_{q_m} log mean_k w_k`` for one or two draws, by quadrature."""
    log_q, log_p = line_densities(row)
    weight = log_p - (logsumexp(log_q, 0) - np.log(len(log_q)))
    mass = np.exp(log_q) * (GRID[1] - GRID[0])
    if draws == 1:
        return float((mass @ weight).mean())
    both_draws = np.logaddexp(weight[:, None], weight) - np.log(2)
    return float(np.mean([m @ both_draws @ m for m in mass]))


@pytest.mark.parametrize(("draws", "gradient"), [(1, "dreg"), (2, "dreg"), (2, "iwae")])
def test_mmvae_is_the_stratified_bound(draws: int, gradient: Any) -> None:
    truth, values = line()
    found = total(shares("pyro", line_mixture(), mmvae(draws, gradient), repeated(values, 4000), seed=3))
    expected = np.array([stratified(row, draws) for row in range(3)])
    assert_unbiased(found.reshape(4000, -1), expected)
    assert (expected < truth.evidence(values)).all()


def test_the_elbo_of_a_mixture_is_that_of_its_strata() -> None:
    _, values = line()
    found = total(shares("pyro", line_mixture(), elbo(), repeated(values, 4000), seed=3))
    assert_unbiased(found.reshape(4000, -1), np.array([stratified(row, 1) for row in range(3)]))


# Gradients, in one dimension: every row has parameters of its own, so that each is an independent estimate.

PARAMETERS = ("model.weight", "guide.loc", "guide.log_scale")
X, NOISE, START = 0.8, 0.5, {"model.weight": 1.1, "guide.loc": 0.3, "guide.log_scale": -0.4}
ROWS = 40_000


class Line(Program):
    """``z ~ N(0, 1)``, ``x ~ N(weight z, NOISE)``, with a weight for each row."""

    def __init__(self, rows: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((rows, 1), START["model.weight"], dtype=torch.float64))

    def forward(self, batch: Any) -> Any:
        with batch.plate():
            z = pyro.sample("z", dist.Normal(0.0, 1.0).expand([1]).to_event(1))
            return pyro.sample("x", dist.Normal(self.weight * z, NOISE).to_event(1), obs=batch.get("x"))


class Free(Program):
    """``z ~ N(loc, exp(log_scale))``, for each row."""

    def __init__(self, rows: int) -> None:
        super().__init__()
        self.loc = nn.Parameter(torch.full((rows, 1), START["guide.loc"], dtype=torch.float64))
        self.log_scale = nn.Parameter(torch.full((rows, 1), START["guide.log_scale"], dtype=torch.float64))

    def forward(self, batch: Any) -> Any:
        with batch.plate():
            return pyro.sample("z", dist.Normal(self.loc, ops.exp(self.log_scale)).to_event(1))


@cache
def row_gradients(backend: str, name: str, draws: int) -> dict[str, np.ndarray]:
    """Independent estimates of the gradient of one item's bound, ``(ROWS,)`` by parameter."""
    objective = {"plain": elbo(analytic=False), "stl": stl(draws), "iwae": iwae(draws), "dreg": dreg(draws)}[name]
    vae = VAE(Line(ROWS), Free(ROWS))
    found = gradients(backend, vae, objective, {"x": np.full((ROWS, 1), X)}, seed=draws)
    return {key: value[:, 0] * ROWS for key, value in found.items()}


@cache
def exact_gradient(draws: int) -> dict[str, float]:
    """The gradient of the bound of one or two draws, by Gauss-Hermite quadrature and torch's autograd."""
    nodes, masses = (torch.as_tensor(a) for a in hermegauss(100))
    masses = masses / masses.sum()
    start = {name: torch.tensor(value, dtype=torch.float64, requires_grad=True) for name, value in START.items()}
    weight, loc, log_scale = start.values()
    z = loc + log_scale.exp() * nodes
    normal = torch.distributions.Normal
    log_w = normal(0.0, 1.0).log_prob(z) + normal(weight * z, NOISE).log_prob(torch.tensor(X, dtype=torch.float64))
    log_w = log_w - normal(loc, log_scale.exp()).log_prob(z)
    if draws == 1:
        value = (masses * log_w).sum()
    else:
        value = (masses[:, None] * masses * (torch.logaddexp(log_w[:, None], log_w) - np.log(2))).sum()
    slopes = torch.autograd.grad(value, list(start.values()))
    return {name: slope.item() for name, slope in zip(start, slopes, strict=True)}


GRADIENTS = [("plain", 1), ("stl", 1), ("iwae", 1), ("dreg", 1), ("iwae", 2), ("dreg", 2)]


@on_both(GRADIENTS, "case", [("dreg", 2)])
def test_gradients_have_the_exact_expectation(backend: str, case: tuple[str, int]) -> None:
    name, draws = case
    found, exact = row_gradients(backend, name, draws), exact_gradient(draws)
    for key in PARAMETERS:
        assert abs(harness.z_scores(found[key], exact[key])) < 3, key


def test_the_gradient_of_many_draws_agrees_with_the_plain_one() -> None:
    plain, found = row_gradients("pyro", "iwae", 8), row_gradients("pyro", "dreg", 8)
    for key in PARAMETERS:
        error = np.sqrt((plain[key].var() + found[key].var()) / ROWS)
        assert abs(plain[key].mean() - found[key].mean()) < 3 * error


def test_reparameterised_gradients_vary_less() -> None:
    for better, plain, draws in (("stl", "plain", 1), ("dreg", "iwae", 2), ("dreg", "iwae", 8)):
        for key in ("guide.loc", "guide.log_scale"):
            found = row_gradients("pyro", better, draws)[key].var()
            assert found < 0.7 * row_gradients("pyro", plain, draws)[key].var(), (better, draws, key)


def test_sticking_the_landing_has_no_variance_at_the_exact_posterior() -> None:
    truth, values = cases()
    vae = VAE(lg.joint(truth), lg.product(truth))
    for objective in (stl(), stl(4), dreg(4)):
        found = gradients("pyro", vae, objective, values, seed=2)
        guide = {name: slope for name, slope in found.items() if name.startswith("guide.")}
        assert max(np.abs(slope).max() for slope in guide.values()) < 1e-5
    noisy = gradients("pyro", vae, elbo(analytic=False), values, seed=2)
    assert max(np.abs(slope).max() for name, slope in noisy.items() if name.startswith("guide.")) > 0.1


# A latent that all items share, and one of each item's own.

ITEM_VALUES = np.array([[0.5], [-0.7], [1.4]])
GLOBAL_START = {"level": 0.2, "level_scale": -0.3, "gain": 0.6, "tilt": 0.5, "log_scale": -0.6}


class Levelled(Program):
    """``g ~ N(0, 1)`` for all, ``z ~ N(g, 1)``, ``x ~ N(z, NOISE)``."""

    def forward(self, batch: Any) -> Any:
        g = pyro.sample("g", dist.Normal(0.0, 1.0))
        with batch.plate():
            z = pyro.sample("z", dist.Normal(g, 1.0).expand([1]).to_event(1))
            return pyro.sample("x", dist.Normal(z, NOISE).to_event(1), obs=batch.get("x"))


class LevelledGuide(Program):
    """``g ~ N(level, exp(level_scale))``, ``z ~ N(gain x + tilt g, exp(log_scale))``."""

    def __init__(self) -> None:
        super().__init__()
        for name, value in GLOBAL_START.items():
            setattr(self, name, nn.Parameter(torch.tensor(value, dtype=torch.float64)))

    def forward(self, batch: Any) -> Any:
        g = pyro.sample("g", dist.Normal(self.level, ops.exp(self.level_scale)))
        with batch.plate():
            loc = self.gain * batch.get("x") + self.tilt * g
            return pyro.sample("z", dist.Normal(loc, ops.exp(self.log_scale)).to_event(1))


@cache
def levelled_exact() -> tuple[float, float, dict[str, float]]:
    """Of two draws an item: the local bound, the global ELBO, and the gradient of both, in nats over all items."""
    nodes, masses = (torch.as_tensor(a) for a in hermegauss(40))
    masses = masses / masses.sum()
    start = {name: torch.tensor(value, dtype=torch.float64, requires_grad=True) for name, value in GLOBAL_START.items()}
    level, level_scale, gain, tilt, log_scale = start.values()
    normal, x = torch.distributions.Normal, torch.as_tensor(ITEM_VALUES)
    g = (level + level_scale.exp() * nodes)[:, None]
    total_local = 0.0
    for value in x:
        loc = gain * value + tilt * g
        z = loc + log_scale.exp() * nodes
        log_w = normal(g, 1.0).log_prob(z) + normal(z, NOISE).log_prob(value) - normal(loc, log_scale.exp()).log_prob(z)
        pairs = torch.logaddexp(log_w[:, :, None], log_w[:, None]) - np.log(2)
        total_local = total_local + torch.einsum("g,i,j,gij->", masses, masses, masses, pairs)
    shared = -torch.distributions.kl_divergence(normal(level, level_scale.exp()), normal(0.0, 1.0))
    slopes = torch.autograd.grad(total_local + shared, list(start.values()))
    values = {f"guide.{name}": slope.item() for name, slope in zip(start, slopes, strict=True)}
    return total_local.item(), shared.item(), values


@on_both(["iwae", "dreg"], "name", ["dreg"])
def test_a_latent_that_all_items_share_is_drawn_once_and_counts_with_its_elbo(backend: str, name: str) -> None:
    vae, objective = VAE(Levelled(), LevelledGuide()), {"iwae": iwae(2), "dreg": dreg(2)}[name]
    repeats = 500 if backend == "pyro" else 20_000
    found, slopes = harness.many(backend, vae, objective, {"x": ITEM_VALUES}, repeats)
    local, shared, exact = levelled_exact()
    assert_unbiased(found[BOUND].sum(1), local)
    assert_unbiased(found["g"], shared)
    for key, slope in exact.items():
        assert abs(harness.z_scores(len(ITEM_VALUES) * slopes[key], slope)) < 3.5, key
    evidence = stats.multivariate_normal.logpdf(ITEM_VALUES[:, 0], cov=np.ones((3, 3)) + np.eye(3) * (1 + NOISE**2))
    assert local + shared < evidence


# What tempers, averages, masks.

LINEAR = {
    **{name: objective for name, (objective, _) in FORMS.items() if name != "renyi at 1"},
    "renyi at 1": renyi(1.0, draws=2),
    "mmvae": mmvae(1, "iwae"),
}


@on_both(LINEAR, "name", ["set_encoder"])
def test_beta_tempers_latents_alone(backend: str, name: str) -> None:
    """At the same draws every objective of one draw is linear in beta; without it only the fit is left."""
    _, values = cases()
    found = [shares(backend, spoilt(), LINEAR[name], values, beta=beta, seed=2) for beta in (0.0, 0.5, 1.0)]
    for site in found[0]:
        middle = (found[0][site] + found[2][site]) / 2
        np.testing.assert_allclose(found[1][site], middle, rtol=1e-9, atol=1e-9, err_msg=site)
        if site in values:
            np.testing.assert_array_equal(found[0][site], found[2][site], err_msg=site)
    if "z" in found[0] and name not in ("jmvae", "jnf, second stage", "jnf, weighed, second stage"):
        assert not found[0]["z"].any()


def test_beta_tempers_latents_that_all_items_share_too() -> None:
    vae = VAE(Levelled(), LevelledGuide())
    for objective in (elbo(), iwae(2), dreg(2), stl(), mvae()):
        one, half = (shares("pyro", vae, objective, {"x": ITEM_VALUES}, beta=beta, seed=1)["g"] for beta in (1.0, 0.5))
        assert half == pytest.approx(one / 2, rel=1e-12)


@both
def test_particles_are_averaged(backend: str) -> None:
    engine = importlib.import_module(f"ppvae.backends.{backend}")
    truth, values = cases()
    data = lg.dataset(truth, values)
    vae = VAE(lg.joint(truth), lg.product(truth, WIDEN, SHIFT), mvtcae(analytic=False))
    losses = {}
    for particles in (1, 16):
        state = fitting.init(vae, data, backend=backend, dtype="float64", particles=particles, device="cpu")
        with engine.environment(state.plan.settings):
            arrays, observed = engine.put(data.arrays), engine.put(data.observed)
            losses[particles] = np.array([engine.validate(state, arrays, observed, epoch) for epoch in range(25)])
    expected = -mvtcae_form(values).mean()
    assert abs(harness.z_scores(losses[16], expected)) < 4.5
    assert losses[16].std() < losses[1].std() / 2


class Fixed(Program):
    """A product's posterior whose noise is always the same, but another one for each draw."""

    def __init__(self, truth: lg.LinearGaussian) -> None:
        super().__init__()
        self.base = lg.product(truth, WIDEN, SHIFT)
        self.register_buffer("noise", torch.tensor([0.7, -1.1], dtype=torch.float64))

    def forward(self, batch: Any) -> Any:
        loc, scale, present = self.base.encoders(batch)
        loc, scale = ppvae.parts.experts.product(loc, scale, present, True)

        def sample(draw: Any) -> Any:
            shape = ops.ones_like(draw(dist.Normal(ops.zeros_like(loc), 1.0)))
            return loc + scale * (self.noise + 0.3 * ops.cumsum(shape, 0))

        def log_prob(z: Any) -> Any:
            return dist.Normal(loc, scale).log_prob(z).sum(-1)

        with batch.plate():
            return pyro.sample("z", distribution(sample, log_prob, loc.shape[:-1], loc.shape[-1:], loc, scale**2))


STILL = {
    "elbo": elbo(),
    "mvae": mvae(random=0),
    "mvtcae": mvtcae(),
    "crmvae": crmvae(),
    "jmvae": jmvae(),
    "mmjsd": mmjsd(),
    "iwae": iwae(3),
    "dreg": dreg(3),
    "stl": stl(3),
    "renyi": renyi(0.3, 3),
    "mmvae": mmvae(3),
    "telbo": telbo()[1].objective,
    "jnf": jnf()[1].objective,
}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name == "iwae" else name for name in STILL]
)
def test_both_backends_give_the_same_shares_and_gradients_at_the_same_latents(name: str) -> None:
    truth = lg.orthogonal()
    values = lg.with_holes(truth.draw(5, seed=6), seed=7)
    vae = VAE(lg.joint(truth), Fixed(truth))
    (one, slopes), (other, other_slopes) = (
        evaluate(backend, vae, STILL[name], values, beta=0.7, gradients=True) for backend in BACKENDS
    )
    assert one.keys() == other.keys()
    for site, share in one.items():
        np.testing.assert_allclose(share, other[site], rtol=1e-10, atol=1e-10, err_msg=site)
    assert any(slope.any() for slope in slopes.values())
    for key, slope in slopes.items():
        np.testing.assert_allclose(slope, other_slopes[key], rtol=1e-8, atol=1e-10, err_msg=key)


MASKED = {**{name: objective for name, (objective, _) in FORMS.items()}, "mmvae": mmvae(2), "dreg": dreg(3)}


@on_both(MASKED, "name", ["set_encoder"], marks=pytest.mark.slow)
def test_what_stands_in_a_hole_moves_nothing_and_an_empty_item_counts_nothing(backend: str, name: str) -> None:
    truth = lg.orthogonal()
    values = lg.with_holes(truth.draw(4, seed=6), seed=7)
    vae = VAE(lg.joint(truth), spoilt().guide)
    masks = {key: ~np.isnan(array) for key, array in values.items()}
    filled = [{key: np.where(masks[key], array, fill) for key, array in values.items()} for fill in (0.0, 1e9)]
    (one, slopes), (other, other_slopes) = (
        evaluate(backend, vae, MASKED[name], arrays, masks, seed=3, gradients=True) for arrays in filled
    )
    for found, same in ((one, other), (slopes, other_slopes)):
        for key, value in found.items():
            assert np.isfinite(value).all()
            np.testing.assert_array_equal(value, same[key], err_msg=key)
    assert not any(mask[1].any() for mask in masks.values())
    empty = {site: share[1] for site, share in one.items() if site != "subsets"}
    assert max(abs(value) for value in empty.values()) < 1e-12


class Handled(Program):
    """``z ~ N(shift, 1)`` under a handler that scales it by 0.3 and masks the first item's; a guide where it has x."""

    def __init__(self, shift: float, data: bool) -> None:
        super().__init__()
        self.shift, self.data = shift, data
        self.register_buffer("there", torch.tensor([False, True, True]))

    def forward(self, batch: Any) -> Any:
        with batch.plate():
            with handlers.scale(scale=0.3), handlers.mask(mask=self.there):
                z = pyro.sample("z", dist.Normal(self.shift, 1.0).expand([1]).to_event(1))
            if self.data:
                pyro.sample("x", dist.Normal(z, NOISE).to_event(1), obs=batch.get("x"))


@both
@pytest.mark.parametrize("analytic", [True, False])
def test_handlers_scale_and_mask_divergences_too(backend: str, analytic: bool) -> None:
    vae = VAE(Handled(0.0, True), Handled(0.7, False))
    found = shares(backend, vae, elbo(analytic), {"x": ITEM_VALUES}, seed=1)["z"]
    assert found[0] == 0
    if analytic:
        np.testing.assert_allclose(found[1:], -0.3 * 0.7**2 / 2, rtol=1e-12)
    else:
        assert (found[1:] != 0).all()


def test_conditions_are_neither_dropped_nor_counted() -> None:
    """A modality that the model takes as given is in every part of a batch, and in no sum over modalities."""

    class Conditional(Program):
        conditions = ("c",)

    model: Any = Conditional()
    batch = ppvae.Batch({name: torch.zeros(50, 2) for name in ("a", "b", "c")})
    assert explained(model, batch) == ["a", "b"]
    assert [list(part.arrays) for part in singles(model, batch)] == [["a", "c"], ["b", "c"]]
    dropped = random_drop(model, batch, 0)
    assert set(dropped) == {"a", "b"}
    assert not (dropped["a"] & dropped["b"]).any()
    assert dropped["a"].any()


def test_every_objective_by_name_is_made_with_its_defaults() -> None:
    for name in named.MAKERS:
        assert all(callable(stage.objective) for stage in named.stages(name))
    assert make("elbo") == "elbo"
    with pytest.raises(ValueError, match="unknown objective 'elbow'; choose one of elbo"):
        make("elbow")


# Training.


class Network(Program):
    """``q(z | X) = N(loc(X), scale)``, one linear network over all modalities."""

    def __init__(self, sizes: Mapping[str, int], latent: int) -> None:
        super().__init__()
        self.names = tuple(sizes)
        self.loc = nn.Linear(sum(sizes.values()), latent)
        self.log_scale = nn.Parameter(torch.zeros(latent))

    def forward(self, batch: Any) -> Any:
        loc = self.loc(ops.cat([batch.get(name) for name in self.names], -1))
        with batch.plate():
            return pyro.sample("z", dist.Normal(loc, ops.exp(self.log_scale)).to_event(1))


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["elbo", "stl", "dreg"])
def test_training_a_guide_that_can_closes_the_gap(objective: str) -> None:
    truth = lg.orthogonal()
    data = lg.dataset(truth, truth.draw(1000, seed=1))
    torch.manual_seed(0)
    model = lg.joint(truth)
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    vae = VAE(model, Network({name: array.shape[1] for name, array in data.arrays.items()}, 2), objective)
    fitted = ppvae.fit(vae, data, epochs=150, batch_size=200, lr=0.02, schedule="cosine", dtype="float64")
    weights = fitted.log_weights(data, particles=20)
    gap = truth.evidence(data.arrays) - weights.mean(0)
    assert abs(gap.mean()) < 0.02
