"""Priors: programs for p(z) that any model with a shared latent may use."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from ppvae.language.batch import Batch
from ppvae.language.modality import Modality
from ppvae.language.ppl import dist, distribution, handlers, ops
from ppvae.language.program import Program
from ppvae.language.traces import random_sites
from ppvae.parts import networks
from ppvae.parts.flows import Flow

COMPONENTS = 50


class Standard(Program):
    """``z ~ Normal(0, I)``.

    Like every prior, ``forward()`` returns a distribution over one item's latent: batch shape ``()``, event shape
    ``(latent,)``. Models call it before they enter the plate of items.
    """

    def __init__(self, latent: int) -> None:
        super().__init__()
        self.latent = latent

    def forward(self) -> Any:
        return dist.Normal(0.0, 1.0).expand([self.latent]).to_event(1)


class Diagonal(Program):
    """``z ~ Normal(loc, scale)``, both learned for each dimension; starts at the standard normal."""

    def __init__(self, latent: int) -> None:
        super().__init__()
        self.loc = nn.Parameter(torch.zeros(latent))
        self.log_scale = nn.Parameter(torch.zeros(latent))

    def forward(self) -> Any:
        return dist.Normal(self.loc, ops.exp(self.log_scale)).to_event(1)


class Mixture(Program):
    """``z ~ Σ_k w_k Normal(loc_k, scale_k)``, all learned; starts at equal weights, locations drawn from N(0, I)."""

    def __init__(self, latent: int, components: int = COMPONENTS) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(components))
        self.loc = nn.Parameter(torch.randn(components, latent))
        self.log_scale = nn.Parameter(torch.zeros(components, latent))

    def forward(self) -> Any:
        each = dist.Normal(self.loc, ops.exp(self.log_scale)).to_event(1)
        return dist.MixtureSameFamily(dist.Categorical(logits=self.logits), each)


class Flowing(Program):
    """``z = flow(noise)``, ``noise ~ Normal(0, I)``: a coupling flow, which starts as the standard normal."""

    def __init__(self, latent: int) -> None:
        super().__init__()
        self.latent = latent
        self.flow = Flow(latent)

    def forward(self) -> Any:
        base = dist.Normal(0.0, 1.0).expand([self.latent]).to_event(1)

        def log_prob(z: Any) -> Any:
            noise, log_det = self.flow.inverse(z)
            return base.log_prob(noise) + log_det

        return distribution(lambda draw: self.flow(draw(base))[0], log_prob, (), (self.latent,))


class Vamp(Program):
    """``p(z) = (1/K) Σ_k q(z | u_k)``: the guide's own posterior at K learned pseudo-inputs of every modality.

    VampPrior (Tomczak & Welling 2018, https://arxiv.org/abs/1705.07120). ``attach(guide)`` must come before the first
    call. The guide runs on the pseudo-inputs as on a batch in which nothing is missing, and ``z`` is the first site
    that it draws: then ``q(z | u_k)`` has the density that its distribution says.

    Raises:
        ValueError: no guide is attached, or it draws something else first.
    """

    guide: Program | None

    def __init__(self, latent: int, modalities: Sequence[Modality], components: int = COMPONENTS) -> None:
        super().__init__()
        self.latent, self.components = latent, components
        self.inputs = networks.ByName({m.name: PseudoInputs(m, components) for m in modalities})
        self.register_module("guide", None)

    def attach(self, guide: Program) -> None:
        """Share the weights of the guide: they are trained as the guide's, and are part of the prior's."""
        self.guide = guide

    def forward(self) -> Any:
        each = self.posterior()

        def sample(draw: Any) -> Any:
            which, z = draw(dist.Categorical(logits=ops.zeros((self.components,)))), draw(each)
            chosen = ops.one_hot(which, self.components) * ops.ones_like(z[..., 0])  # type: ignore[attr-defined]
            return ops.einsum("...k,...kl->...l", chosen, z)

        def log_prob(z: Any) -> Any:
            return ops.logsumexp(each.log_prob(z[..., None, :]), -1) - math.log(self.components)

        return distribution(sample, log_prob, (), (self.latent,))

    def posterior(self) -> Any:
        """The distributions ``q(z | u_k)``, batch shape ``(components,)``."""
        if self.guide is None:
            raise ValueError("the prior 'vamp' needs the guide whose posteriors it mixes: call prior.attach(guide)")
        batch = Batch({name: inputs() for name, inputs in self.inputs.items()})
        with handlers.block():
            sites = random_sites(self.guide, batch, {"z": ops.zeros((self.components, self.latent))})
        first = next(iter(sites), None)
        if first != "z":
            raise ValueError(
                f"the prior 'vamp' needs a guide that draws 'z' first, given its inputs alone, not {first!r}"
            )
        return sites["z"]["fn"]


SHARPNESS = 10.0  # of the softplus that keeps counts above zero


class PseudoInputs(Program):
    """Learned inputs ``(components, *shape)`` of a modality, in its own units, drawn around its center at first.

    Counts are above zero; values of elements that have a highest lie between the lowest and that.
    """

    def __init__(self, modality: Modality, components: int) -> None:
        super().__init__()
        self.standardise = networks.Standardise(modality)
        self.top = max(modality.top, 1.0) if modality.top < math.inf else None
        self.free = nn.Parameter(torch.randn(components, *modality.shape))

    def forward(self) -> Any:
        center, spread = self.standardise.center, self.standardise.spread
        if self.top is not None:
            return self.top * ops.sigmoid(ops.logit(ops.clamp(center / self.top, 0.05, 0.95)) + self.free)
        x = center + spread * self.free
        return ops.expm1(ops.softplus(x, SHARPNESS)) if self.standardise.counts else x  # type: ignore[attr-defined]


PRIORS: dict[str, Callable[..., Program]] = {
    "standard": Standard,
    "diagonal": Diagonal,
    "mixture": Mixture,
    "flow": Flowing,
    "vamp": Vamp,
}


def prior(name: str, latent: int, modalities: Sequence[Modality] | None = None) -> Program:
    """The prior of this name over a latent of this size; ``modalities`` are for ``vamp``.

    Raises:
        ValueError: no prior has this name, or it needs the modalities.
    """
    if name not in PRIORS:
        raise ValueError(f"unknown prior {name!r}; choose one of {', '.join(PRIORS)}")
    if name != "vamp":
        return PRIORS[name](latent)
    if modalities is None:
        raise ValueError("the prior 'vamp' needs the modalities, whose pseudo-inputs it learns; this model gives none")
    return Vamp(latent, modalities)
