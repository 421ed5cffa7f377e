"""VAE: a generative model, the guide that infers its latents, and the objective that trains both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import nn

from ppvae.language.plates import Layout
from ppvae.language.program import Program
from ppvae.objectives import stages
from ppvae.runs.automatic import KINDS, Automatic


@dataclass(frozen=True, eq=False)
class VAE:
    """A pair of programs.

    Attributes:
        model: the generative program: prior over latents, one likelihood per modality.
        guide: the amortised posterior; it samples every latent site of the model and no other. An automatic or
            easy guide of Pyro's is taken for the program that runs it.
        objective: a name of :mod:`ppvae.objectives`, what one of its functions makes, your own function of the same
            kind, or an ELBO of Pyro or NumPyro, a class or an estimator made of it, whose namesake the other backend
            runs; a tuple of stages takes them in turn.
        recipe: what rebuilds the pair, for a method of the zoo: its name and options; empty for your own programs.
    """

    model: Program
    guide: Program
    objective: Any = "elbo"
    recipe: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if isinstance(self.guide, KINDS):
            object.__setattr__(self, "guide", Automatic(self.guide))
        for role in ("model", "guide"):
            if not isinstance(getattr(self, role), Program):
                raise TypeError(f"the {role} must be a ppvae.Program, not {_named(getattr(self, role))}")
        stages(self.objective)

    @property
    def programs(self) -> dict[str, Program]:
        """Both programs by their role."""
        return {"model": self.model, "guide": self.guide}

    @cached_property
    def pair(self) -> nn.ModuleDict:
        """Both programs as one module: parameters are named ``model.…`` and ``guide.…``, shared ones once."""
        return nn.ModuleDict(self.programs)

    def found(self) -> dict[str, Any]:
        """What the check before training has found of the programs' texts, as a run's note; nothing if it is usual."""
        others, zeros = sorted(self.model.other_plates), {role: dict(p.stand_ins) for role, p in self.programs.items()}
        told = {"layout": self.model.plate_layout._asdict(), "other_plates": others, "stand_ins": zeros}
        return {"texts": told} if others or any(zeros.values()) or self.model.plate_layout != Layout() else {}

    def tell(self, notes: Mapping[str, Any]) -> None:
        """Tell the programs what a run has noted of their texts."""
        if (known := notes.get("texts")) is None:
            return
        for role, program in self.programs.items():
            program.other_plates, program.plate_layout = frozenset(known["other_plates"]), Layout(**known["layout"])
            program.stand_ins = {name: tuple(shape) for name, shape in known["stand_ins"][role].items()}

    def weights_of(self, role: str) -> dict[str, tuple[str, nn.Parameter]]:
        """The trained parameters of the model or the guide by their names in it, with the first name in the pair."""
        named = self.pair[role].named_parameters()
        return {name: (self.firsts[f"{role}.{name}"], p) for name, p in named if p.requires_grad}

    def load(self, params: Mapping[str, Any]) -> VAE:
        """Put weights into the pair, in place, and return it; ``fit(vae.load(params), data, epochs=0)`` has it fitted.

        Args:
            params: arrays or tensors of either library by name, of all trained weights: what ``Fitted.to_pyro``,
                ``Fitted.to_numpyro`` and the libraries' own ``SVI`` of these programs give.

        Raises:
            ValueError: a name is unknown or missing, or a shape differs.
        """
        trained = {name: p for name, p in self.pair.named_parameters() if p.requires_grad}
        given = {self._known(name): _array(name, value) for name, value in params.items()}
        if missing := [name for name in trained if name not in given]:
            raise ValueError(
                f"the weights lack {missing[0]!r}; the pair has {len(trained)} and {len(given)} were given"
            )
        own = self.pair.state_dict()
        for name, array in given.items():
            if array.shape != own[name].shape:
                shape = tuple(own[name].shape)
                raise ValueError(f"the weight {name!r} has shape {array.shape}, where the pair's has {shape}")
        self.pair.load_state_dict({name: torch.as_tensor(a.copy()) for name, a in given.items()}, strict=False)
        return self

    def _known(self, name: str) -> str:
        """The pair's name of a weight that Pyro's store may call after the program's class; shared ones have several.

        Raises:
            ValueError: the pair has no such weight.
        """
        own, (owner, _, rest) = self.pair.state_dict(), name.partition(".")
        first, second = type(self.guide).__name__, type(self.model).__name__  # SVI runs the guide first
        roles = {first: "guide", second + "_2" * (first == second): "model"}
        full = name if name in own else f"{roles.get(owner)}.{rest}"
        if full not in own:
            raise ValueError(f"the pair has no weight {name!r}; it has {', '.join(own)}")
        return self.firsts[full]

    @cached_property
    def firsts(self) -> dict[str, str]:
        """The first name of each parameter and buffer, by all of its names: model and guide may share it."""
        first: dict[int, str] = {}
        state = self.pair.state_dict(keep_vars=True)
        return {name: first.setdefault(id(tensor), name) for name, tensor in state.items()}


def _named(held: Any) -> str:
    """What somebody gives in place of a program, with what to do."""
    name = type(held).__name__
    if isinstance(held, nn.Module):
        return f"{name}: let it inherit from ppvae.Program, whose forward takes a batch, x = batch.get('x')"
    return f"{name}: write it as the forward of a ppvae.Program, which takes a batch, x = batch.get('x')"


def _array(name: str, value: Any) -> np.ndarray:
    array = np.asarray(value.detach().cpu() if isinstance(value, torch.Tensor) else value)
    if array.dtype.kind not in "fiub":
        raise ValueError(f"the weight {name!r} is a {type(value).__name__}, not an array of numbers")
    return array
