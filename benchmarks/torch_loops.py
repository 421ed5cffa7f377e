"""torch: the loops that a practised user of torch would write by hand, and ppvae's on Pyro beside them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from cases import LEARNING_RATE, Case
from torch import nn

from ppvae.backends import pyro as engine
from ppvae.runs.plan import Pace
from ppvae.training.epochs import order
from ppvae.training.fit import init

Tensors = Mapping[str, torch.Tensor]
HALF_LOG_TAU = 0.5 * math.log(2 * math.pi)


def mlp(*sizes: int) -> nn.Sequential:
    """Linear layers with ReLU between them."""
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(sizes):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


class HandMVAE(nn.Module):
    """Product of experts with the prior; normal likelihoods with a learned scale per element."""

    def __init__(self, center: Tensors, spread: Tensors, latent: int, hidden: Sequence[int]) -> None:
        super().__init__()
        sizes = {name: len(value) for name, value in center.items()}
        self.encoders = nn.ModuleDict({name: mlp(size, *hidden, 2 * latent) for name, size in sizes.items()})
        self.decoders = nn.ModuleDict({name: mlp(latent, *hidden[::-1], size) for name, size in sizes.items()})
        self.log_scale = nn.ParameterDict({name: torch.zeros(size) for name, size in sizes.items()})
        self.center, self.spread = center, spread
        self.log_spread = {name: value.log().sum() for name, value in spread.items()}

    def loss(self, batch: Tensors) -> torch.Tensor:
        """The negative ELBO in nats per item, at one draw."""
        size = len(next(iter(batch.values())))
        x = {name: (value - self.center[name]) / self.spread[name] for name, value in batch.items()}
        loc, log_scale = torch.stack([net(x[name]) for name, net in self.encoders.items()]).chunk(2, -1)
        precision = torch.exp(-2 * log_scale)
        total = 1 + precision.sum(0)
        scale = total.rsqrt()
        noise = torch.randn_like(scale)
        z = (precision * loc).sum(0) / total + scale * noise
        elbo = 0.5 * (noise.square() - z.square()).sum() + scale.log().sum()
        for name, decoder in self.decoders.items():
            wide = self.log_scale[name]
            residual = (x[name] - decoder(z)) * torch.exp(-wide)
            density = wide.sum() + self.log_spread[name] + len(wide) * HALF_LOG_TAU
            elbo = elbo - 0.5 * residual.square().sum() - size * density
        return -elbo / size

    def load(self, pair: nn.ModuleDict) -> None:
        """Take over ppvae's weights."""
        for name in self.encoders:
            likelihood = pair["model"].likelihoods[name]
            copy(self.encoders[name].parameters(), pair["guide"].encoders.networks[name].parameters())
            copy(self.decoders[name].parameters(), likelihood.decoder.parameters())
            copy([self.log_scale[name]], [likelihood.log_scale])


class HandVAE(nn.Module):
    """The VAE of Kingma & Welling for one binary image."""

    def __init__(self, size: int, latent: int, hidden: Sequence[int]) -> None:
        super().__init__()
        self.encoder = mlp(size, *hidden, 2 * latent)
        self.decoder = mlp(latent, *hidden[::-1], size)

    def loss(self, batch: Tensors) -> torch.Tensor:
        """The negative ELBO in nats per item, at one draw."""
        x = batch["image"]
        loc, log_scale = self.encoder(x).chunk(2, -1)
        noise = torch.randn_like(loc)
        z = loc + torch.exp(log_scale) * noise
        divergence = 0.5 * (z.square() - noise.square()).sum() - log_scale.sum()
        return (divergence + F.binary_cross_entropy_with_logits(self.decoder(z), x, reduction="sum")) / len(x)

    def load(self, pair: nn.ModuleDict) -> None:
        """Take over ppvae's weights."""
        copy(self.encoder.parameters(), pair["guide"].encoders.networks["image"].parameters())
        copy(self.decoder.parameters(), pair["model"].likelihoods["image"].decoder.parameters())


def copy(to: Iterable[torch.Tensor], source: Iterable[torch.Tensor]) -> None:
    """Copy tensors one by one."""
    with torch.no_grad():
        for a, b in zip(to, source, strict=True):
            a.copy_(b)


def hand_epoch(model: Any, optimizer: torch.optim.Optimizer, arrays: Tensors, rows: torch.Tensor) -> np.ndarray:
    """One step for each row of ``rows``; returns the losses."""
    losses = []
    for index in rows:
        loss = model.loss({name: array[index] for name, array in arrays.items()})
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    return torch.stack(losses).numpy(force=True)


class Loops:
    """Both loops over the same rows, from the same weights."""

    first_step_seconds: float | None = None  # nothing is compiled

    def __init__(self, name: str, case: Case, clock: Callable[[], float], device: str) -> None:
        self.state = init(case.vae, case.data, **case.options("pyro", device))
        self.settings = self.state.plan.settings
        self.rows = order(self.settings, len(case.data), 0)
        self.arrays = engine.put(case.data.arrays)
        self.model = hand_written(name, case).to(engine.device(device))
        self.model.load(self.state.pair)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=LEARNING_RATE, fused=True)

    def hand(self, rows: slice = slice(None)) -> np.ndarray:
        """The hand-written loop."""
        return hand_epoch(self.model, self.optimizer, self.arrays, torch.as_tensor(self.rows[rows]))

    def ours(self, rows: slice = slice(None)) -> np.ndarray:
        """ppvae's loop."""
        chosen = self.rows[rows]
        pace = Pace(np.ones(len(chosen), np.float32), np.ones(len(chosen), np.float32))
        self.state, info = engine.epoch(self.state, self.arrays, {}, chosen, chosen, pace)
        return -np.sum(list(info.shares.values()), axis=0)

    def check(self, steps: int = 3) -> float:
        """The largest relative difference of the losses of the first steps, at the same noise."""
        differences = []
        for i in range(steps):
            engine.seed(self.settings.seed, i)
            hand, ours = self.hand(slice(i, i + 1)), self.ours(slice(i, i + 1))
            differences.append(abs(hand - ours)[0] / abs(hand)[0])
        return float(max(differences))


def hand_written(name: str, case: Case) -> HandMVAE | HandVAE:
    """The hand-written model of a case."""
    if name == "vae":
        return HandVAE(784, 20, (400,))
    center = {m.name: torch.as_tensor(m.center) for m in case.data.modalities or ()}
    spread = {m.name: torch.as_tensor(m.spread) for m in case.data.modalities or ()}
    return HandMVAE(center, spread, 16, (512, 512))
