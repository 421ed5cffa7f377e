"""torch models: the losses of the cases as a practised user of torch would write them."""

from __future__ import annotations

import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

import torch
from cases import DRAWS, Case
from torch import nn
from torch_bounds import doubly_reparameterised, log_normal
from torch_images import VAE
from torch_networks import Normal, Text, copy, doubled, halved, mlp

Tensors = Mapping[str, torch.Tensor]


class Views(nn.Module, ABC):
    """Several views of an item, and a normal expert from each."""

    def __init__(self, views: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.views = nn.ModuleDict(views)

    def seen(self, batch: Tensors) -> dict[str, torch.Tensor]:
        """What the networks see of each view."""
        return {name: view.seen(batch[name]) for name, view in self.views.items()}

    def experts(self, x: Tensors) -> tuple[torch.Tensor, ...]:
        """Location and log scale of each expert, ``(views, items, latent)``."""
        return torch.stack([view.encoder(x[name]) for name, view in self.views.items()]).chunk(2, -1)

    def log_likelihood(self, x: Tensors, z: torch.Tensor) -> torch.Tensor:
        """Of all views, ``(..., items)``, given latents ``(..., items, latent)``."""
        return torch.stack([view.log_likelihood(x[name], z) for name, view in self.views.items()]).sum(0)

    @abstractmethod
    def loss(self, batch: Tensors) -> torch.Tensor:
        """The negative bound in nats per item."""

    def load(self, pair: nn.ModuleDict) -> None:
        """Take over ppvae's weights."""
        for name, view in self.views.items():
            likelihood = pair["model"].likelihoods[name]
            copy(view.encoder.parameters(), pair["guide"].encoders.networks[name].parameters())
            copy(view.decoder.parameters(), likelihood.decoder.parameters())


class Product(Views):
    """The product of the experts and the prior, at one draw."""

    def loss(self, batch: Tensors) -> torch.Tensor:
        x = self.seen(batch)
        loc, log_scale = self.experts(x)
        precision = torch.exp(-2 * log_scale)
        total = 1 + precision.sum(0)
        scale = total.rsqrt()
        noise = torch.randn_like(scale)
        z = (precision * loc).sum(0) / total + scale * noise
        price = 0.5 * (z.square() - noise.square()).sum() - scale.log().sum()
        return (price - self.log_likelihood(x, z).sum()) / len(z)


class MixtureOfProducts(Views):
    """A mixture of the products of all subsets of the experts, at one draw of one of them."""

    def __init__(self, views: Mapping[str, nn.Module]) -> None:
        super().__init__(views)
        members = [row for row in itertools.product([0.0, 1.0], repeat=len(views)) if any(row)]
        self.register_buffer("members", torch.tensor(members))

    def loss(self, batch: Tensors) -> torch.Tensor:
        x = self.seen(batch)
        loc, log_scale = self.experts(x)
        precision = torch.exp(-2 * log_scale)
        total = torch.einsum("sm,mil->isl", self.members, precision)
        loc = torch.einsum("sm,mil->isl", self.members, precision * loc) / total
        log_scale = -0.5 * total.log()
        which = torch.multinomial(loc.new_ones(loc.shape[:2]), 1)[:, 0]
        rows = torch.arange(len(loc), device=loc.device)
        z = loc[rows, which] + torch.exp(log_scale[rows, which]) * torch.randn_like(loc[:, 0])
        log_q = torch.logsumexp(log_normal(z[:, None], loc, log_scale), 1) - math.log(len(self.members))
        price = log_q - log_normal(z, torch.zeros_like(z), torch.zeros_like(z))
        return (price - self.log_likelihood(x, z)).mean()


class Mixture(Views):
    """MMVAE: K draws from each expert, weighed by the mixture of all, doubly reparameterised; the prior is learned."""

    def __init__(self, views: Mapping[str, nn.Module], latent: int, draws: int) -> None:
        super().__init__(views)
        self.draws = draws
        self.prior = nn.ParameterList([torch.zeros(latent), torch.zeros(latent)])
        self.noise: Callable[..., torch.Tensor] = torch.randn

    def loss(self, batch: Tensors) -> torch.Tensor:
        x = self.seen(batch)
        loc, log_scale = self.experts(x)
        views, items, latent = loc.shape
        noise = self.noise(views, self.draws, items, latent, device=loc.device)
        z = loc[:, None] + torch.exp(log_scale)[:, None] * noise
        each = log_normal(z[:, :, None], loc.detach(), log_scale.detach())
        log_q = torch.logsumexp(each, 2) - math.log(views)
        weights = self.log_likelihood(x, z) + log_normal(z, *self.prior) - log_q
        return -doubly_reparameterised(weights, z).mean()


def views(case: Case, latent: int = 16) -> dict[str, nn.Module]:
    """The networks of a case's views."""
    return {m.name: view(m, latent) for m in case.data.modalities or ()}


def view(m: Any, latent: int) -> nn.Module:
    """The networks of one view: text, a picture or a vector."""
    if m.kind == "text":
        return Text(latent, m.levels, 32, 128)
    center, spread = (torch.as_tensor(v, dtype=torch.float32).expand(m.shape) for v in (m.center, m.spread))
    if m.kind == "image":
        networks = halved(3, 16, 32, 64, 256, 2 * latent), doubled(latent, 256, 64, 32, 16, 3)
        return Normal(*networks, center, spread, (3, 1, 1))
    networks = mlp(*m.shape, 512, 512, 2 * latent), mlp(latent, 512, 512, *m.shape)
    return Normal(*networks, center, spread, m.shape)


MODELS: dict[str, Callable[[Case], Any]] = {
    "vae": lambda case: VAE(784, 20, 400),
    "tiny": lambda case: VAE(10, 2, 16),
    "iwae": lambda case: VAE(784, 20, 400, DRAWS["iwae"]),
    "dreg": lambda case: VAE(784, 20, 400, DRAWS["dreg"], doubly=True),
    "mvae": lambda case: Product(views(case)),
    "polydigits": lambda case: Product(views(case)),
    "text": lambda case: Product(views(case)),
    "mopoe": lambda case: MixtureOfProducts(views(case)),
    "mmvae": lambda case: Mixture(views(case), 16, DRAWS["mmvae"]),
}
