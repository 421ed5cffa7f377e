"""torch: the loops that a practised user of torch would write by hand, and ppvae's on Pyro beside them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from cases import LEARNING_RATE, Case
from torch.utils.flop_counter import FlopCounterMode
from torch_models import MODELS, Mixture, Tensors

from ppvae.backends import pyro as engine
from ppvae.runs.plan import Pace
from ppvae.training.epochs import order
from ppvae.training.fit import init


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
        self.model = MODELS[name](case).to(engine.device(device))
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

    def flop(self) -> list[int]:
        """FLOP of products and convolutions in a step by hand and in one of ppvae's, forward and backward."""
        counted = []
        for loop in (self.hand, self.ours):
            with FlopCounterMode(display=False) as counter:
                loop(slice(0, 1))
            counted.append(counter.get_total_flops())
        return counted

    def check(self, steps: int = 3) -> float:
        """The largest relative difference of the losses of the first steps, at the same noise."""
        differences = []
        if isinstance(self.model, Mixture):
            self.model.noise = by_stratum
        for i in range(steps):
            engine.seed(self.settings.seed, i)
            hand, ours = self.hand(slice(i, i + 1)), self.ours(slice(i, i + 1))
            differences.append(abs(hand - ours)[0] / abs(hand)[0])
        if isinstance(self.model, Mixture):
            self.model.noise = torch.randn
        return float(max(differences))


def by_stratum(views: int, *shape: int, device: torch.device) -> torch.Tensor:
    """The noise of every view's draws in ppvae's order, which picks among the experts that are there before each."""
    drawn = []
    for _ in range(views):
        torch.multinomial(torch.ones(shape[1], views, device=device), shape[0], replacement=True)
        drawn.append(torch.randn(shape, device=device))
    return torch.stack(drawn)
