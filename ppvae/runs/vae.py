"""VAE: a generative model, the guide that infers its latents, and the objective that trains both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from torch import nn

from ppvae.language.program import Program
from ppvae.objectives import Objective, Stage, stages


@dataclass(frozen=True, eq=False)
class VAE:
    """A pair of programs.

    Attributes:
        model: the generative program: prior over latents, one likelihood per modality.
        guide: the amortised posterior; it samples every latent site of the model and no other.
        objective: a name of :mod:`ppvae.objectives`, what one of its functions makes, or your own function of the same
            kind; a tuple of stages takes them in turn.
        recipe: what rebuilds the pair, for a method of the zoo: its name and options; empty for your own programs.
    """

    model: Program
    guide: Program
    objective: str | Objective | tuple[Stage, ...] = "elbo"
    recipe: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for role in ("model", "guide"):
            if not isinstance(getattr(self, role), Program):
                raise TypeError(f"the {role} must be a ppvae.Program, not {type(getattr(self, role)).__name__}")
        stages(self.objective)

    @cached_property
    def pair(self) -> nn.ModuleDict:
        """Both programs as one module: parameters are named ``model.…`` and ``guide.…``, shared ones once."""
        return nn.ModuleDict({"model": self.model, "guide": self.guide})
