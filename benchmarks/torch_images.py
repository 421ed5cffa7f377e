"""torch images: the VAE of one binary image as a practised user of torch would write it."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import nn
from torch_bounds import doubly_reparameterised, log_normal
from torch_networks import copy, mlp


class VAE(nn.Module):
    """The VAE of Kingma & Welling for one binary image.

    With several draws, their bound (Burda et al. 2016), the guide's gradient doubly reparameterised if that is wanted.
    """

    def __init__(self, size: int, latent: int, hidden: int, draws: int = 1, doubly: bool = False) -> None:
        super().__init__()
        self.draws, self.doubly = draws, doubly
        self.encoder, self.decoder = mlp(size, hidden, 2 * latent), mlp(latent, hidden, size)

    def loss(self, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """The negative bound in nats per item."""
        x = batch["image"]
        loc, log_scale = self.encoder(x).chunk(2, -1)
        if self.draws == 1:
            return self.elbo(x, loc, log_scale)
        return self.dreg(x, loc, log_scale) if self.doubly else self.iwae(x, loc, log_scale)

    def elbo(self, x: torch.Tensor, loc: torch.Tensor, log_scale: torch.Tensor) -> torch.Tensor:
        """At one draw."""
        noise = torch.randn_like(loc)
        z = loc + torch.exp(log_scale) * noise
        divergence = 0.5 * (z.square() - noise.square()).sum() - log_scale.sum()
        return (divergence + F.binary_cross_entropy_with_logits(self.decoder(z), x, reduction="sum")) / len(x)

    def iwae(self, x: torch.Tensor, loc: torch.Tensor, log_scale: torch.Tensor) -> torch.Tensor:
        """At several."""
        noise = torch.randn(self.draws, *loc.shape, device=loc.device)
        z = loc + torch.exp(log_scale) * noise
        price = (0.5 * (z.square() - noise.square()) - log_scale).sum(-1)
        return math.log(self.draws) - torch.logsumexp(self.fit(x, z) - price, 0).mean()

    def dreg(self, x: torch.Tensor, loc: torch.Tensor, log_scale: torch.Tensor) -> torch.Tensor:
        """At several, doubly reparameterised (Tucker et al. 2019)."""
        z = loc + torch.exp(log_scale) * torch.randn(self.draws, *loc.shape, device=loc.device)
        log_p = log_normal(z, torch.zeros_like(loc), torch.zeros_like(loc))
        weights = self.fit(x, z) + log_p - log_normal(z, loc.detach(), log_scale.detach())
        return -doubly_reparameterised(weights, z).mean()

    def fit(self, x: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        """The log likelihood ``(draws, items)``."""
        logits = self.decoder(z)
        return -F.binary_cross_entropy_with_logits(logits, x.expand_as(logits), reduction="none").sum(-1)

    def load(self, pair: nn.ModuleDict) -> None:
        """Take over ppvae's weights."""
        copy(self.encoder.parameters(), pair["guide"].encoders.networks["image"].parameters())
        copy(self.decoder.parameters(), pair["model"].likelihoods["image"].decoder.parameters())
