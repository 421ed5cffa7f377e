"""Stages: objectives that take turns over a run, and which parameters rest meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ppvae.batch import Batch
from ppvae.objectives.agreement import apart
from ppvae.objectives.elbo import Objective, added, bound, elbo, times
from ppvae.objectives.subsets import explained, singles
from ppvae.ppl import ops
from ppvae.traces import paired


@dataclass(frozen=True)
class Stage:
    """A part of a run.

    Attributes:
        objective: what is maximised in it, a function or a name of :mod:`ppvae.objectives`.
        share: its share of the epochs, relative to the other stages'.
        frozen: beginnings of the names of the parameters that keep their values.
    """

    objective: Objective | str
    share: float = 1.0
    frozen: tuple[str, ...] = ()


def stage_at(stages: Sequence[Stage], epoch: float, epochs: int) -> int:
    """Which stage a fractional epoch of a run belongs to; the last where the run is over."""
    total, reached = sum(stage.share for stage in stages), 0.0
    for number, stage in enumerate(stages[:-1]):
        reached += stage.share / total * epochs
        if epoch + 1e-9 < round(reached):
            return number
    return len(stages) - 1


JOINT = ("model.", "guide.joint.")


def telbo(share: float = 0.5, analytic: bool = True) -> tuple[Stage, ...]:
    """``ELBO(q(z|X))``, then ``Σ_m ELBO_m(q_m)`` with model and joint encoder at rest (Vedantam et al. 2018, eq. 4).

    Args:
        share: share of the epochs that the first stage gets.
        analytic: use the formula of a KL divergence where there is one.
    """

    def singly(model: Any, guide: Any, batch: Batch, beta: Any) -> dict[str, Any]:
        return added(*(bound(model, guide, part, beta, analytic) for part in singles(model, batch)))

    return Stage(elbo(analytic), share), Stage(singly, 1 - share, JOINT)


def jnf(share: float = 0.5, analytic: bool = True) -> tuple[Stage, ...]:
    """``ELBO(q(z|X))``, then ``−Σ_m KL(q(z|X) ‖ q_m)``, model and joint encoder at rest (Senellart et al. 2023).

    Args:
        share: share of the epochs that the first stage gets.
        analytic: use the formula of a KL divergence where there is one.
    """

    def surrogates(model: Any, guide: Any, batch: Batch, beta: Any) -> dict[str, Any]:
        proposal, _ = paired(model, guide, batch)
        return times(-1.0, apart(model, guide, batch, proposal, analytic))

    return Stage(elbo(analytic), share), Stage(surrogates, 1 - share, JOINT)
