"""Optimizers in torch: made for the parameters of a stage, and what they remember as arrays."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import nn

from ppvae.runs.foreign import recorded
from ppvae.runs.plan import Pace, Plan
from ppvae.runs.settings import Settings
from ppvae.runs.snapshot import Snapshot

# Each optimiser, its fixed options, and torch's names for what optax calls its moments.
OPTIMIZERS: dict[str, tuple[Any, dict[str, Any], dict[str, str]]] = {
    "adam": (torch.optim.Adam, {"fused": True}, {"mu": "exp_avg", "nu": "exp_avg_sq"}),
    "adamw": (
        torch.optim.AdamW,
        {"fused": True, "weight_decay": 1e-2},
        {"mu": "exp_avg", "nu": "exp_avg_sq"},
    ),
    "rmsprop": (torch.optim.RMSprop, {"alpha": 0.99}, {"nu": "square_avg"}),
    "momentum": (torch.optim.SGD, {"momentum": 0.9}, {"trace": "momentum_buffer"}),
    "sgd": (torch.optim.SGD, {}, {}),
}

Optimizer = torch.optim.Optimizer
Named = list[tuple[str, nn.Parameter]]


def made(plan: Plan, pair: nn.Module, stage: int) -> Optimizer:
    """A fresh optimiser of the parameters that do not rest in a stage; each group has its ``rate`` before the schedule.

    There is one group for each rate, not for each parameter: the fused optimiser is called once for each group.
    """
    named = [(name, p) for name, p in trained(pair) if not plan.rests(name, stage)]
    held = getattr(plan.settings.optimizer, "keywords", {}).get("lr")
    rates = {name: plan.settings.rate(name) if held is None else held for name, _ in named}
    groups = [
        {"params": [p for name, p in named if rates[name] == rate], "rate": rate}
        for rate in dict.fromkeys(rates.values() or [0.0])  # torch takes an empty group, but no lack of groups
    ]
    return _make(plan.settings, groups)


def _make(settings: Settings, groups: Any) -> Optimizer:
    if settings.foreign:
        return settings.optimizer(groups)
    make, options, _ = OPTIMIZERS[settings.optimizer]
    return make(groups, **options)


def trained(pair: nn.Module) -> Named:
    """The parameters that are trained, by name."""
    return [(name, p) for name, p in pair.named_parameters() if p.requires_grad]


def check(plan: Plan, pair: nn.Module) -> None:
    """Raise ValueError where an optimiser of torch cannot be made for these parameters, or take a step alone."""
    if not plan.settings.foreign:
        return
    copies = [nn.Parameter(torch.zeros_like(p)) for _, p in trained(pair)]
    for copy in copies:
        copy.grad = torch.zeros_like(copy)
    try:
        _make(plan.settings, [{"params": copies}]).step()
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(
            f"the optimizer {recorded(plan.settings.optimizer)} cannot train this pair: {reason}"
        ) from error


def update(plan: Plan, optimizer: Optimizer, pace: Pace) -> torch.Tensor:
    """One step, at the learning rates of a pace; returns the norm of the gradient before it is clipped."""
    for group in optimizer.param_groups:
        group["lr"] = float(plan.paced(group["rate"], pace))
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    norm = nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
    if plan.settings.clip is not None:
        nn.utils.clip_grads_with_norm_(parameters, plan.settings.clip, norm)
    optimizer.step()
    return norm


def exported(settings: Settings, optimizer: Optimizer, pair: nn.Module) -> dict[str, Any]:
    """What an optimiser remembers, as the fields of a snapshot."""
    kept = optimizer.state
    if settings.foreign:
        return {"foreign": dict(_remembered(optimizer, pair))}
    _, _, moments = OPTIMIZERS[settings.optimizer]
    return {
        "moments": {
            ours: {name: numpy(kept.get(p, {}).get(theirs, torch.zeros_like(p))) for name, p in trained(pair)}
            for ours, theirs in moments.items()
        }
    }


def _remembered(optimizer: Optimizer, pair: nn.Module) -> Iterator[tuple[str, np.ndarray]]:
    """Each thing that torch's own optimiser remembers of a parameter, as ``THING PARAMETER``."""
    for name, p in trained(pair):
        for thing, value in optimizer.state.get(p, {}).items():
            if value is not None:
                yield f"{thing} {name}", numpy(torch.as_tensor(value))


def restored(plan: Plan, optimizer: Optimizer, pair: nn.Module, snapshot: Snapshot, count: int) -> None:
    """Give a fresh optimiser of a stage what it remembered after so many steps of it, on either backend."""
    stage, foreign = plan.stage_at(max(snapshot.step - 1, 0)), plan.settings.foreign
    names = () if foreign else OPTIMIZERS[plan.settings.optimizer][2].items()
    for name, p in trained(pair):
        if foreign:
            things = {key.partition(" ")[0]: a for key, a in snapshot.foreign.items() if key.partition(" ")[2] == name}
            optimizer.state[p] |= {thing: _placed(a, p) for thing, a in things.items()}
        elif names and count and not plan.rests(name, stage):
            entries = {theirs: torch.as_tensor(snapshot.moments[ours][name].copy()) for ours, theirs in names}
            optimizer.state[p] = {"step": torch.tensor(float(count)), **entries}


def _placed(array: np.ndarray, parameter: nn.Parameter) -> torch.Tensor:
    """Numbers stay where torch keeps the counts of steps, arrays are beside their parameter."""
    tensor = torch.as_tensor(array.copy())
    return tensor.to(parameter.device) if tensor.ndim else tensor


def numpy(tensor: torch.Tensor) -> np.ndarray:
    """A copy as a numpy array."""
    return tensor.detach().cpu().numpy().copy()
