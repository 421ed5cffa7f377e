"""Objectives: what SVI maximises, by name.

An objective is a function ``(model, guide, batch, beta) -> shares`` in the words of :mod:`ppvae.language.ppl`; a name
stands for what a function of this package makes with the paper's defaults. A tuple of :class:`Stage` gives a run
several in turn. Calls language and parts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ppvae.objectives.agreement import crmvae, jmvae, mmjsd, mvtcae
from ppvae.objectives.elbo import Objective, elbo
from ppvae.objectives.known_latents import asleep
from ppvae.objectives.labelled import m2
from ppvae.objectives.library import ESTIMATORS, Estimator, estimator
from ppvae.objectives.multisample import dreg, iwae, renyi, stl
from ppvae.objectives.separate import mmvm
from ppvae.objectives.staged import Stage, ends, jnf, stage_at, telbo
from ppvae.objectives.stratified import dmvae, mmvae
from ppvae.objectives.subsets import dropout, mvae, set_encoder, weighted

__all__ = [
    "ESTIMATORS",
    "MAKERS",
    "Estimator",
    "Objective",
    "Stage",
    "asleep",
    "ends",
    "estimator",
    "exact",
    "make",
    "maker",
    "stage_at",
    "stages",
]

MAKERS: dict[str, Callable[..., Any]] = {
    f.__name__: f
    for f in (
        crmvae,
        dmvae,
        dreg,
        dropout,
        iwae,
        jmvae,
        jnf,
        m2,
        mmjsd,
        mmvae,
        mmvm,
        mvae,
        mvtcae,
        renyi,
        set_encoder,
        stl,
        telbo,
        weighted,
    )
}


def maker(name: str) -> Callable[..., Any] | None:
    """The function that makes an objective of this name; None where it is a library's own estimator.

    Raises:
        ValueError: no objective has this name.
    """
    if name not in ESTIMATORS and name not in MAKERS:
        raise ValueError(f"unknown objective {name!r}; choose one of {', '.join([*ESTIMATORS, *sorted(MAKERS)])}")
    return MAKERS.get(name)


def make(name: str, **options: Any) -> Objective | str | tuple[Stage, ...]:
    """An objective by name, with its options; a library's own estimator stays a name."""
    build = maker(name)
    return name if build is None else build(**options)


def stages(objective: Any) -> tuple[Stage, ...]:
    """The stages of a run under an objective: one, unless it has several; names stand for what they make.

    Raises:
        TypeError: the objective is none.
        ValueError: a name is unknown, or is that of several stages within a stage, or an estimator cannot be run.
    """
    made = make(objective) if isinstance(objective, str) else objective
    return tuple(_made(stage) for stage in made) if isinstance(made, tuple) else (_made(Stage(made)),)


def _made(stage: Stage) -> Stage:
    made = make(stage.objective) if isinstance(stage.objective, str) else stage.objective
    if isinstance(made, tuple):
        raise ValueError(f"the objective {stage.objective!r} has stages of its own and cannot be one stage of another")
    made = estimator(made) or made
    if not isinstance(made, str | Estimator) and (not callable(made) or isinstance(made, type)):
        kind = made.__name__ if isinstance(made, type) else type(made).__name__
        raise TypeError(f"an objective is a name, a function, or an ELBO of Pyro or NumPyro, not {kind}")
    return replace(stage, objective=made)


def exact(objective: Objective | str | Estimator, enumerates: bool, weighs: bool = False) -> Objective | Estimator:
    """What is run: ppvae's own ELBO for the libraries' plain ones where latents are enumerated or items weighed.

    Raises:
        ValueError: the objective is an estimator that does neither.
    """
    if isinstance(objective, str):
        objective = Estimator(ESTIMATORS[objective])
    if not (enumerates or weighs) or not isinstance(objective, Estimator):
        return objective
    if not objective.by_site and weighs:
        raise ValueError(f"the objective {objective.name} does not tell items apart: drop weights, or choose elbo")
    if not objective.by_site:
        raise ValueError(f'the objective {objective.name} sums no latent out: drop infer={{"enumerate": ...}}')
    return elbo(objective.name == "TraceMeanField_ELBO")
