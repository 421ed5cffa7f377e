"""Stages: objectives that take turns over a run, and which parameters rest meanwhile."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ppvae.language.batch import Batch
from ppvae.language.pieces import pooled
from ppvae.language.ppl import ops
from ppvae.language.traces import paired
from ppvae.objectives.agreement import apart
from ppvae.objectives.elbo import Objective, added, bound, elbo, fits, times
from ppvae.objectives.subsets import explained, singles


@dataclass(frozen=True)
class Stage:
    """A part of a run.

    Attributes:
        objective: what is maximised in it: a function, a name of :mod:`ppvae.objectives`, or a library's estimator.
        share: its share of the epochs, relative to the other stages'.
        frozen: beginnings of the names of the parameters that keep their values.
    """

    objective: Any
    share: float = 1.0
    frozen: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.share > 0:
            raise ValueError(f"a stage's share of the epochs is more than 0, not {self.share}")


def stage_at(stages: Sequence[Stage], epoch: float, epochs: int) -> int:
    """Which stage a fractional epoch of a run belongs to; the last where the run is over.

    Every stage gets whole epochs, and at least one where there are enough.
    """
    return sum(epoch + 1e-9 >= end for end in ends(stages, epochs)[:-1])


def ends(stages: Sequence[Stage], epochs: int) -> list[int]:
    """The epoch before which each stage ends."""
    total, reached, found = sum(stage.share for stage in stages), 0.0, []
    for number, stage in enumerate(stages, 1):
        reached += stage.share / total * epochs
        latest = epochs - (len(stages) - number)
        found.append(max(number, min(math.floor(reached + 0.5), latest)))
    return found


JOINT = ("model.", "guide.joint.")


Weights = Mapping[str, float]


def weighed(objective: Objective, weights: Weights | None) -> Objective:
    """The objective with the fit of each named modality times its weight (Wu & Goodman 2018, their lambda).

    What a few tokens say is worth a nat or two beside the thousands of a picture, and a model can leave it to chance.

    Raises:
        ValueError: a weight is not above 0; in the first step, a name is of no modality that the model explains.
    """
    chosen = dict(weights or {})
    if not all(0 < weight < math.inf for weight in chosen.values()):
        raise ValueError(f"modality_weights are finite numbers above 0, not {chosen}")

    def scaled(model: Any, guide: Any, batch: Batch, beta: Any) -> dict[str, Any]:
        names = explained(model, batch)
        if unknown := chosen.keys() - names:
            raise ValueError(f"modality_weights name {sorted(unknown)}; the model explains {', '.join(names)}")
        shares = pooled(objective(model, guide, batch, beta), batch.arrays)
        return {name: value * chosen.get(name, 1.0) for name, value in shares.items()}

    return scaled if chosen else objective


def foretold(model: Any, guide: Any, batch: Batch, weights: Weights) -> dict[str, Any]:
    """``Σ_m Σ_{k≠m} (λ_k − 1) E_{q_m} log p(x_k | z)`` over modalities k of weights λ_k above 1: ``(items,)``."""
    found = []
    for name, part in zip(explained(model, batch), singles(model, batch), strict=True):
        extra = {other: weight - 1 for other, weight in weights.items() if weight > 1 and other != name}
        if extra:
            proposal, target = paired(model, guide, part, scored=batch.given([*extra, *part.arrays.keys() - {name}]))
            fit = pooled(fits(target, proposal), batch.arrays)
            found.append({other: fit[other] * weight for other, weight in extra.items()})
    return added(*found)


def telbo(share: float = 0.5, analytic: bool = True, modality_weights: Weights | None = None) -> tuple[Stage, ...]:
    """``ELBO(q(z|X))``, then ``Σ_m ELBO_m(q_m)`` with model and joint encoder at rest (Vedantam et al. 2018).

    Args:
        share: share of the epochs that the first stage gets.
        analytic: use the formula of a KL divergence where there is one.
        modality_weights: how often the fit of a modality counts in the first stage, by name; 1 by default.
    """

    def singly(model: Any, guide: Any, batch: Batch, beta: Any) -> dict[str, Any]:
        return added(*(bound(model, guide, part, beta, analytic) for part in singles(model, batch)))

    return Stage(weighed(elbo(analytic), modality_weights), share), Stage(singly, 1 - share, JOINT)


def jnf(share: float = 0.5, analytic: bool = True, modality_weights: Weights | None = None) -> tuple[Stage, ...]:
    """``ELBO(q(z|X))``, then ``−Σ_m KL(q(z|X) ‖ q_m)``, model and joint encoder at rest (Senellart et al. 2023).

    A modality k that counts λ_k > 1 times is told by the others in the second stage, too: it gains
    ``Σ_{m≠k} (λ_k − 1) E_{q_m} log p(x_k | z)``, without which a few bits in many latents are not worth a q_m's while.
    Items that lack a modality have no share in the second stage: there ``q(z|X)`` is made of the ``q_m`` themselves.

    Args:
        share: share of the epochs that the first stage gets.
        analytic: use the formula of a KL divergence where there is one.
        modality_weights: how often the fit of a modality counts, by name; 1 by default.
    """

    def surrogates(model: Any, guide: Any, batch: Batch, beta: Any) -> dict[str, Any]:
        proposal, _ = paired(model, guide, batch)
        whole = ops.all(ops.stack([batch.present(name) for name in explained(model, batch)]), 0)
        gaps = times(-1.0, apart(model, guide, batch, proposal, analytic))
        told = foretold(model, guide, batch, modality_weights or {})
        return times(ops.where(whole, 1.0, 0.0), added(gaps, told))

    return Stage(weighed(elbo(analytic), modality_weights), share), Stage(surrogates, 1 - share, JOINT)
