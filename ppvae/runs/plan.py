"""Plan: what both backends must know to train a pair, and what they hand over to each other."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from ppvae.language.batch import Batch
from ppvae.language.ppl import items, ops
from ppvae.objectives import Estimator, Objective, Stage, ends, exact, stage_at, stages
from ppvae.runs.settings import Settings
from ppvae.runs.vae import VAE


@dataclass(frozen=True)
class Sites:
    """What is known of a pair's sites: which are latent, and which of those the guide cannot reparameterise.

    ``enumerated`` are the discrete latents that are summed out; those of the model alone are among ``latents`` too.
    ``subsampled`` tells ``batch.plate()``, which speaks for the whole data set, from a plain plate over the batch.
    """

    latents: frozenset[str]
    discrete: frozenset[str] = frozenset()
    enumerated: frozenset[str] = frozenset()
    subsampled: bool = True

    def items(self, batch: Batch) -> int:
        """The number of items that the objective of a batch speaks for."""
        return (batch.total or batch.size) if self.subsampled else batch.size


@dataclass(frozen=True, eq=False)
class Plan:
    """A pair, how to train it, what its sites are, the number of items, and that of steps in an epoch.

    ``weights`` say how much each item counts, ``(items,)``; None where all count alike. The data of
    ``stored`` runs are on disk, since memory is short.
    """

    vae: VAE
    settings: Settings
    sites: Sites
    items: int
    steps: int
    weights: np.ndarray | None = None
    stored: bool = False

    def weighed(self, batch: Batch) -> Batch:
        """The items of a batch as they count in this run, if they are its own: nothing is seen of what counts nothing.

        ``total`` is then the weight of all data, as if an item of weight two stood there twice.
        """
        if self.weights is None or batch.index is None:
            return batch
        weights = ops.as_tensor(self.weights, dtype=items().float_dtype())[batch.rows]
        seen = batch.without(dict.fromkeys(batch.arrays, weights == 0))
        whole = float(self.weights.sum())
        return replace(seen, weights=weights * (self.items / whole), total=whole)  # type: ignore[arg-type]

    def stage_at(self, step: int) -> int:
        """Which stage of the objective a step belongs to."""
        epochs = self.settings.epochs
        return 0 if epochs == "auto" else stage_at(stages(self.vae.objective), step / self.steps, epochs)

    def reached(self, step: int) -> tuple[int, int]:
        """The stage that the last of so many steps belonged to, and how many of them did."""
        number = self.stage_at(max(step - 1, 0))
        return number, step - self.begins(number) * self.steps

    def begins(self, number: int) -> int:
        """The number of epochs before a stage."""
        epochs = self.settings.epochs
        return 0 if epochs == "auto" or not number else ends(stages(self.vae.objective), epochs)[number - 1]

    @property
    def stages(self) -> int:
        """How many stages the objective has."""
        return len(stages(self.vae.objective))

    def stage(self, number: int) -> Stage:
        """A stage of the objective."""
        return stages(self.vae.objective)[number]

    def objective(self, number: int) -> Objective | Estimator:
        """What is maximised in a stage: a function, or a library's own estimator."""
        return exact(self.stage(number).objective, bool(self.sites.enumerated), self.weights is not None)

    def particles(self, number: int) -> int:
        """The number of Monte Carlo samples in a stage, for a function as objective."""
        objective, asked = self.stage(number).objective, self.settings.particles
        return objective.particles(asked) if isinstance(objective, Estimator) else asked

    def estimators(self) -> list[Estimator]:
        """The libraries' own estimators that the run's stages use.

        Raises:
            ValueError: one of them takes its number of particles, or a weight of latent sites, from nowhere.
        """
        found = [made for made in map(self.objective, range(self.stages)) if isinstance(made, Estimator)]
        weighs = self.settings.beta != 1 or self.settings.kl_warmup
        for made in found:
            if not made.by_site and weighs:
                raise ValueError(
                    f"the objective {made.name} tells no latent's share, so beta and kl_warmup cannot weigh it"
                )
        for stage in stages(self.vae.objective):
            if isinstance(stage.objective, Estimator) and stage.objective.made and self.settings.particles != 1:
                raise ValueError(
                    f"the objective {stage.objective.name} was made with particles of its own: drop particles"
                )
        return found

    def paced(self, rate: Any, pace: Pace) -> Any:
        """A learning rate of :class:`Settings` at a pace, its schedule included."""
        return (pace.rates[self.settings.functions.index(rate)] if callable(rate) else rate) * pace.rate_factor

    def rests(self, name: str, number: int) -> bool:
        """Does the parameter of this name keep its value in a stage? A shared one does where all of its names do."""
        return all(known.startswith(self.stage(number).frozen) for known in self.names[name])

    @cached_property
    def names(self) -> dict[str, list[str]]:
        """All names of each parameter, by the first: model and guide may share it."""
        found: dict[int, list[str]] = {}
        for name, parameter in self.vae.pair.named_parameters(remove_duplicate=False):
            found.setdefault(id(parameter), []).append(name)
        return {names[0]: names for names in found.values()}


class Pace(NamedTuple):
    """What changes from step to step: a factor on learning rates, the weight of latent sites, and the rates that are
    functions of the epoch, in the order of ``Settings.functions``.
    """

    rate_factor: Any
    beta: Any
    rates: Any = ()


class Info(NamedTuple):
    """What a step tells: each site's share of minus the loss, in nats per item, and the gradient's norm unclipped."""

    shares: Any
    gradient_norm: Any
