"""Modality contributions: what each modality gives to the posterior, to training, and to the others."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import nn

from ppvae.backends import pyro as engine
from ppvae.data.dataset import Dataset
from ppvae.diagnostics.evidence import estimate
from ppvae.inference import subset_questions
from ppvae.inference.fitted import Fitted
from ppvae.inference.questions import Question
from ppvae.language.batch import Batch
from ppvae.objectives import stages
from ppvae.training import epochs, fit

IDLE = 0.02  # a modality with a smaller share of the posterior counts as ignored


@dataclass(frozen=True, eq=False)
class Contribution:
    """What the posterior would lose without each modality.

    Attributes:
        names: of the modalities.
        kl: ``KL(q(z | X) ‖ q(z | x_∖m))`` in nats, ``(modalities, items)``; NaN where an item lacks m.
    """

    names: tuple[str, ...]
    kl: np.ndarray

    @property
    def shares(self) -> np.ndarray:
        """The share of each modality in the sum of mean losses, ``(modalities,)``."""
        seen = ~np.isnan(self.kl)
        means = np.maximum(np.where(seen, self.kl, 0.0).sum(1) / np.maximum(seen.sum(1), 1), 0.0)
        return means / max(means.sum(), np.finfo(float).tiny)

    @property
    def verdict(self) -> str:
        """The shares, and who is ignored."""
        shares = ", ".join(f"{name} {share:.0%}" for name, share in zip(self.names, self.shares, strict=True))
        idle = [name for name, share in zip(self.names, self.shares, strict=True) if share < IDLE]
        return f"shares in the posterior: {shares}" + (f"; it ignores {', '.join(idle)}" if idle else "")


def contribution(fitted: Fitted, data: Dataset, draws: int = 100, seed: int = 0) -> Contribution:
    """Each modality's contribution to the posterior, by leaving it out."""
    names = subset_questions.explained(fitted, data)
    found = []
    for name in names:
        others = [other for other in names if other != name]
        kl = subset_questions.ask(fitted, Question(subset_questions.divergences, draws), data, others, seed)[
            "divergences"
        ]
        found.append(np.where(data.present(name), kl.mean(0, dtype=np.float64), np.nan))
    return Contribution(tuple(names), np.array(found))


@dataclass(frozen=True, eq=False)
class Balance:
    """How strongly training pulls on each modality's own parameters.

    Attributes:
        names: of the modalities.
        norms: of the gradient with respect to the parameters of each part, model and guide, and modality,
            ``(steps, 2, modalities)``, in nats per item; zero where it has none of its own.
    """

    names: tuple[str, ...]
    norms: np.ndarray

    @property
    def shares(self) -> np.ndarray:
        """The share of each modality in the mean norms, ``(2, modalities)``."""
        means = self.norms.mean(0)
        return means / np.maximum(means.sum(1, keepdims=True), np.finfo(float).tiny)

    @property
    def verdict(self) -> str:
        """The strongest against the weakest pull."""
        parts = []
        for part, norms in zip(("decoders", "encoders"), self.norms.mean(0), strict=True):
            own = {name: norm for name, norm in zip(self.names, norms, strict=True) if norm > 0}
            if len(own) > 1:
                high, low = max(own, key=lambda n: own[n]), min(own, key=lambda n: own[n])
                parts.append(f"{part}: {high} is pulled {own[high] / own[low]:.1f} times as hard as {low}")
        return "; ".join(parts) or "no two modalities have parameters of their own"


def gradient_balance(fitted: Fitted, data: Dataset, steps: int = 10, seed: int = 0) -> Balance:
    """Gradient norms of so many steps of the last stage of training, at the weights as they are.

    A parameter is a modality's own where it lies under the modality's name in a ``ModuleDict`` or ``ParameterDict``.
    Both backends have the same gradients; this takes Pyro's.
    """
    settings = {**fitted.to("pyro").settings.model_dump(exclude={"optimizer", "lr", "guide_lr"}), "seed": seed}
    state = fit.init(fitted.vae, data, **settings)
    names = subset_questions.held(fitted, data)
    with engine.environment(state.plan.settings):
        state = engine.enter(state, len(stages(fitted.vae.objective)) - 1)
        rows = epochs.order(state.plan.settings, len(data), 0)
        norms = [_norms(state, data, rows[step % len(rows)], names, step) for step in range(steps)]
    return Balance(tuple(names), np.array(norms))


def _norms(state: Any, data: Dataset, rows: np.ndarray, names: Sequence[str], step: int) -> np.ndarray:
    """The norms of one batch's gradient: ``(2, modalities)``."""
    engine.seed(state.plan.settings.seed, step)
    arrays = engine.put({name: array[rows] for name, array in data.arrays.items()})
    masks = engine.put({name: mask[rows] for name, mask in (data.observed or {}).items()})
    loss, _ = engine.loss_by_site(state, Batch(arrays, masks, len(data)), state.plan.settings.beta)
    state.pair.zero_grad(set_to_none=True)
    loss.backward()
    squares = np.zeros((2, len(names)))
    owners = _owners(state.pair, names)
    for path, parameter in state.pair.named_parameters():
        for column in {names.index(name) for beginning, name in owners.items() if f"{path}.".startswith(beginning)}:
            if parameter.grad is not None and not state.plan.rests(path, state.stage):
                squares[int(path.startswith("guide.")), column] += float((parameter.grad**2).sum())
    return np.sqrt(squares)


def _owners(pair: nn.ModuleDict, names: Sequence[str]) -> dict[str, str]:
    """How the names of each modality's own parameters begin; ``model`` and ``guide`` are no modalities."""
    held = [(path, m) for path, m in pair.named_modules() if path and isinstance(m, nn.ModuleDict | nn.ParameterDict)]
    return {f"{path}.{name}.": name for path, module in held for name in module if name in names}


def shapley(value: Callable[[frozenset[str]], Any], players: Sequence[str]) -> dict[str, Any]:
    """The Shapley value of each player: its mean contribution over all orders of joining (Shapley 1953).

    Args:
        value: of each subset of players, a number or an array; asked once for each of the ``2^players``.
        players: at most 12.

    Raises:
        ValueError: there are more.
    """
    if len(players) > 12:
        raise ValueError(f"{len(players)} players have {2 ** len(players)} subsets; exact values take at most 12")
    subsets = [frozenset(s) for size in range(len(players) + 1) for s in itertools.combinations(players, size)]
    values = {subset: value(subset) for subset in subsets}
    count = len(players)
    return {
        player: sum(
            (values[subset | {player}] - values[subset]) / (count * math.comb(count - 1, len(subset)))
            for subset in subsets
            if player not in subset
        )
        for player in players
    }


@dataclass(frozen=True, eq=False)
class Shapley:
    """What each modality tells about another, in nats: their sum is ``log p(x_t | all others) − log p(x_t)``.

    Attributes:
        target: the modality that is predicted.
        names: of the others.
        values: ``(others, items)``; NaN where an item lacks the target.
    """

    target: str
    names: tuple[str, ...]
    values: np.ndarray

    @property
    def verdict(self) -> str:
        """The mean value of each modality."""
        means = np.nanmean(self.values, 1)
        order = np.argsort(-means)
        parts = ", ".join(f"{self.names[i]} {means[i]:.2f}" for i in order)
        return f"of {self.target}, the others tell {means.sum():.2f} nats per item: {parts}"


def shapley_evidence(fitted: Fitted, data: Dataset, target: str, particles: int = 1000, seed: int = 0) -> Shapley:
    """The Shapley value of every other modality for ``log p(x_target | ·)``, exact over subsets."""
    fitted.asked([target])
    others = [name for name in subset_questions.explained(fitted, data) if name != target]

    def value(subset: frozenset[str]) -> np.ndarray:
        shown = [name for name in others if name in subset]
        both = estimate(fitted, data, [*shown, target], particles, seed).values
        return both - estimate(fitted, data, shown, particles, seed).values

    found = shapley(value, others)
    seen = data.present(target)
    return Shapley(target, tuple(others), np.array([np.where(seen, found[name], np.nan) for name in others]))
