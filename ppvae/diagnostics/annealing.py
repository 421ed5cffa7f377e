"""Annealing: bounds of the evidence on both sides, by annealed importance sampling from the guide to the posterior.

``AIS`` (Neal 2001) takes chains along the densities ``q(z | x)^(1−β) p(x, z)^β`` for β from 0 to 1; on decoder-based
models: Wu et al. 2017, "On the quantitative analysis of decoder-based generative models". The mean of its weights is
the evidence, so that their log mean is a stochastic lower bound. Run backwards from an exact draw of the posterior, as
a model's own simulated items offer, it gives an upper bound: bidirectional Monte Carlo (Grosse, Ghahramani & Adams
2015). Transitions are Hamiltonian (Neal 2011), vectorised over items and chains, on NumPyro whatever trained the pair.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro

from ppvae.data.dataset import Dataset
from ppvae.diagnostics.evidence import Evidence
from ppvae.diagnostics.simulation import conditions
from ppvae.inference import subset_questions
from ppvae.inference.chunks import answer
from ppvae.inference.fitted import Fitted
from ppvae.inference.log_means import log_mean
from ppvae.inference.questions import Question
from ppvae.inference.unconstrained import Unconstrained, unconstrained
from ppvae.language.batch import Batch

ACCEPTED = 0.65  # the acceptance that step sizes aim at (Neal 2011)
SHORTEST = 0.4  # part of a step
FIRST_STEP = 0.5  # in units of the guide's deviations


@dataclass(frozen=True)
class Schedule:
    """How chains are annealed.

    Attributes:
        temperatures: steps from β = 0 to 1, closer together at both ends.
        leapfrog: steps of a Hamiltonian trajectory.
        start: ``guide`` or ``prior``, where β is 0.
    """

    temperatures: int = 100
    leapfrog: int = 5
    start: str = "guide"

    def __post_init__(self) -> None:
        if self.start not in ("guide", "prior"):
            raise ValueError(f"start is {self.start!r}; it is 'guide' or 'prior'")
        if self.temperatures < 1 or self.leapfrog < 1:
            raise ValueError(f"temperatures {self.temperatures} and leapfrog {self.leapfrog} must be at least 1")

    def betas(self) -> np.ndarray:
        """β from 0 to 1, ``(temperatures + 1,)``: a sigmoid, as Grosse et al. have it."""
        raw = 1 / (1 + np.exp(-np.linspace(-4.0, 4.0, self.temperatures + 1)))
        return (raw - raw[0]) / (raw[-1] - raw[0])


@dataclass(frozen=True, eq=False)
class Sandwich:
    """Bounds of ``log p(x)`` of items that were simulated from the model, in nats.

    Attributes:
        lower, upper: ``(items,)``: each holds in expectation.
        errors: Monte Carlo standard errors of the two, ``(2, items)``. That of the upper bound leaves out that an
            item's chains start at the one exact draw that there is, which few temperatures do not make them forget.
        accepted: the share of accepted transitions, ``(items,)``.
        measured: the simulated items, by modality.
    """

    lower: np.ndarray
    upper: np.ndarray
    errors: np.ndarray
    accepted: np.ndarray
    measured: Mapping[str, np.ndarray]

    @property
    def gap(self) -> float:
        """The mean distance between the bounds: how far either can be off."""
        return float((self.upper - self.lower).mean())

    @property
    def verdict(self) -> str:
        """The bounds, and what they say of annealing on real data."""
        where = f"between {self.lower.mean():.2f} and {self.upper.mean():.2f} nats per simulated item"
        fine = "annealing can be relied on" if abs(self.gap) < 1.0 else "use more temperatures"
        return f"the evidence lies {where}, {self.gap:.2f} apart: {fine}"


def ais(
    fitted: Fitted,
    data: Dataset,
    given: Sequence[str] | None = None,
    chains: int = 16,
    schedule: Schedule | None = None,
    seed: int = 0,
) -> Evidence:
    """A stochastic lower bound of ``log p(x_given)`` of each item, tighter than importance sampling; k-hat is NaN."""
    question = Question(_upwards(schedule or Schedule()), subset_questions.checked_draws(chains, "chains"))
    weights = subset_questions.ask(fitted.to("numpyro"), question, data, given, seed)["log_weights"].astype(np.float64)
    values, errors = log_mean(weights)
    return Evidence(f"log p({subset_questions.label(given)}), annealed", values, errors, np.full(len(values), np.nan))


def bdmc(
    fitted: Fitted,
    data: Dataset,
    given: Sequence[str] | None = None,
    items: int = 100,
    chains: int = 16,
    schedule: Schedule | None = None,
    seed: int = 0,
) -> Sandwich:
    """Both bounds, on items simulated from the model with the holes and conditions of the data's rows."""
    fitted = fitted.to("numpyro")
    names = tuple(fitted.explained)
    question = Question(_both_ways(schedule or Schedule()), subset_questions.checked_draws(chains, "chains"), names)
    batch = conditions(fitted, data, given, np.arange(items) % len(data))
    found = answer(fitted.vae.pair, fitted.settings, question, batch, np.arange(items, dtype=np.uint32), seed)
    lower, below = log_mean(found["lower"].astype(np.float64))
    upper, above = log_mean(-found["upper"].astype(np.float64))
    measured = {name: found[f"new {name}"][0] for name in names}
    return Sandwich(lower, -upper, np.stack([below, above]), found["accepted"][0], measured)


@cache
def _upwards(schedule: Schedule) -> Callable[..., dict[str, Any]]:
    """The question of annealing, one for each schedule."""

    def annealed(model: Any, guide: Any, batch: Batch, draws: int) -> dict[str, Any]:
        item = unconstrained(model, guide, batch)
        starts, tuning = _prepared(item, schedule, draws)
        return {"log_weights": _annealed(starts, jnp.zeros(draws, bool), item, schedule, tuning)[:, None]}

    return annealed


@cache
def _both_ways(schedule: Schedule) -> Callable[..., dict[str, Any]]:
    """The question of annealing a new item up from the start, and down from the latents that made it."""

    def sandwiched(model: Any, guide: Any, batch: Batch, draws: int, ask: tuple[str, ...]) -> dict[str, Any]:
        truth, new = subset_questions.new_item(model, guide, batch, ask)
        item = unconstrained(model, guide, new)
        item = replace(item, shared={name: truth[name] for name in item.shared})
        starts, tuning = _prepared(item, schedule, draws)
        exact = jax.tree.map(lambda x: jnp.broadcast_to(x, (draws, *x.shape)), _at(item.vector(truth), item, schedule))
        chains = jax.tree.map(lambda x, y: jnp.concatenate([x, y]), starts, exact)
        log_weights = _annealed(chains, jnp.arange(2 * draws) >= draws, item, schedule, tuning)
        return {
            "lower": log_weights[:draws, None],
            "upper": log_weights[draws:, None],
            "accepted": tuning.accepted[None, None],
            **{f"new {name}": new.arrays[name][None] for name in ask},
        }

    return sandwiched


@dataclass(frozen=True, eq=False)
class Tuning:
    """Step sizes by temperature, ``(temperatures,)``, in units of ``scale``, ``(size,)``; and the acceptance."""

    steps: Any
    scale: Any
    accepted: Any


class At(NamedTuple):
    """A vector, and there the log densities at β = 0 and at β = 1, ``(2,)``, and their gradients, ``(2, size)``."""

    vector: Any
    ends: Any
    slopes: Any

    def level(self, beta: Any) -> Any:
        """The log density at β, up to a constant."""
        return (1 - beta) * self.ends[0] + beta * self.ends[1]

    def slope(self, beta: Any) -> Any:
        """Its gradient."""
        return (1 - beta) * self.slopes[0] + beta * self.slopes[1]


def _at(vector: Any, item: Unconstrained, schedule: Schedule) -> At:
    first = item.proposal if schedule.start == "guide" else item.prior
    ends, pull = jax.vjp(lambda v: jnp.stack([first(v), item.joint(v)]), vector)
    return At(vector, ends, jax.vmap(lambda side: pull(side)[0])(jnp.eye(2, dtype=ends.dtype)))


def _move(key: Any, at: At, beta: Any, step: Any, item: Unconstrained, schedule: Schedule) -> tuple[At, Any]:
    """One Hamiltonian transition at β, and its acceptance probability; ``step`` is ``(size,)``.

    A random part of the step is taken, so that no trajectory closes upon itself (Neal 2011).
    """

    def leap(_: Any, now: tuple[At, Any]) -> tuple[At, Any]:
        at, p = now
        p = p + 0.5 * step * at.slope(beta)
        at = _at(at.vector + step * p, item, schedule)
        return at, p + 0.5 * step * at.slope(beta)

    push, coin, part = jax.random.split(key, 3)
    step = step * jax.random.uniform(part, (), step.dtype, SHORTEST, 1.0)
    momentum = jax.random.normal(push, at.vector.shape, at.vector.dtype)
    moved, p = jax.lax.fori_loop(0, schedule.leapfrog, leap, (at, momentum))
    log_accept = moved.level(beta) - at.level(beta) + 0.5 * (momentum**2 - p**2).sum()
    accept = jnp.exp(jnp.minimum(0.0, jnp.where(jnp.isnan(log_accept), -jnp.inf, log_accept)))
    taken = jax.random.uniform(coin) < accept
    return jax.tree.map(lambda new, old: jnp.where(taken, new, old), moved, at), accept


def _prepared(item: Unconstrained, schedule: Schedule, chains: int) -> tuple[At, Tuning]:
    """Where chains start, and step sizes from a pass of other chains, so that weights are unbiased."""
    spread, first, rest = jax.random.split(numpyro.prng_key(), 3)
    _, scale = item.spread(spread)
    draw = item.propose if schedule.start == "guide" else item.from_prior
    starts = jax.vmap(lambda key: _at(draw(key), item, schedule))(jax.random.split(first, 2 * chains))
    ours, others = (jax.tree.map(lambda x, half=half: x[half], starts) for half in (slice(chains), slice(chains, None)))

    def tune(carry: tuple[At, Any], now: tuple[Any, Any]) -> tuple[tuple[At, Any], tuple[Any, Any]]:
        at, log_step = carry
        beta, key = now
        step = jnp.exp(log_step)
        move = jax.vmap(lambda k, a: _move(k, a, beta, step * scale, item, schedule))
        at, accept = move(jax.random.split(key, chains), at)
        return (at, log_step + 0.5 * (accept.mean() - ACCEPTED)), (step, accept.mean())

    path = (jnp.asarray(schedule.betas()[1:], scale.dtype), jax.random.split(rest, schedule.temperatures))
    _, (steps, accepted) = jax.lax.scan(tune, (others, jnp.log(jnp.asarray(FIRST_STEP, scale.dtype))), path)
    return ours, Tuning(steps, scale, accepted.mean())


def _annealed(starts: At, down: Any, item: Unconstrained, schedule: Schedule, tuning: Tuning) -> Any:
    """The log weights of chains ``(chains,)``, which weigh and then move, or the other way round where ``down``."""
    betas = jnp.asarray(schedule.betas(), tuning.scale.dtype)

    def chain(start: At, down: Any, key: Any) -> Any:
        def visit(at: At, now: tuple[Any, Any]) -> tuple[At, Any]:
            t, key = now
            t = jnp.where(down, schedule.temperatures - 1 - t, t)
            moved, _ = _move(key, at, betas[t + 1], tuning.steps[t] * tuning.scale, item, schedule)
            ratio = jnp.where(down, moved.ends[1] - moved.ends[0], at.ends[1] - at.ends[0])
            return moved, (betas[t + 1] - betas[t]) * ratio

        path = (jnp.arange(schedule.temperatures), jax.random.split(key, schedule.temperatures))
        return jax.lax.scan(visit, start, path)[1].sum()

    return jax.vmap(chain)(starts, down, jax.random.split(numpyro.prng_key(), len(down)))
