"""Pyro: training a pair with Pyro's estimators and one torch optimiser."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import pyro
import torch
from pyro import infer
from torch import nn

from ppvae.backends import pyro_estimators as estimators
from ppvae.backends import pyro_recorded as recorded
from ppvae.backends.answers.in_torch import each_item as each_item
from ppvae.backends.devices import processes, random_operations, shared_noise
from ppvae.backends.devices.in_torch import averaged, defaults, device, rows_of, seed
from ppvae.backends.optimizers import in_torch
from ppvae.backends.precision import in_torch as precision
from ppvae.backends.pyro_words import STACKS
from ppvae.backends.stacks import emptied
from ppvae.language import ppl
from ppvae.language.batch import Batch
from ppvae.language.turns import turn
from ppvae.objectives import Estimator
from ppvae.objectives.elbo import added, per_item
from ppvae.runs.plan import Info, Pace, Plan
from ppvae.runs.settings import Settings
from ppvae.runs.snapshot import Snapshot

# glibc hands back to the system what is free beyond twice the largest block that it saw mapped and freed, of at most
# 32 MiB. Now that it has seen one, a step finds the memory of the step before: new pages cost more than the arithmetic.
torch.empty(2**25 - 2**16, dtype=torch.uint8, device="cpu")

ITEMS = 1024  # at most so many items are asked in one turn


@dataclass(frozen=True, eq=False)
class State:
    """A pair in training. The module and the optimiser are updated in place; ``step`` counts.

    ``estimator`` is the library's, where the stage's objective is; otherwise None. ``noise`` says what a stage draws,
    where processes share its batches. ``recordings`` are of steps that repeat, where such may be recorded.
    """

    plan: Plan
    pair: nn.ModuleDict
    optimizer: torch.optim.Optimizer
    estimator: Any
    step: int = 0
    stage: int = 0
    noise: dict[int, Any] = field(default_factory=dict)
    recordings: dict[Any, Any] | None = None


@contextmanager
def environment(settings: Settings) -> Iterator[None]:
    """Words on Pyro, the run's dtype and device as torch's defaults, and no handlers of others, within the block.

    One thread at a time is in such a block, of either backend; random numbers go on after it as if it had not been.
    """
    with (
        turn(),
        ppl.running("pyro"),
        emptied(*STACKS),
        torch.random.fork_rng(),
        precision.whole(),
        defaults(getattr(torch, settings.dtype), device(settings.device)),
    ):
        yield


def join(settings: Settings) -> None:
    """Meet the processes that were launched with this one."""
    processes.join()


def own(size: int) -> slice:
    """The rows of a batch of so many items that are to be fed to this process."""
    return processes.own(size)


def put(arrays: Mapping[str, np.ndarray], settings: Settings | None = None) -> dict[str, torch.Tensor]:
    """Arrays on the device: floats of the run's dtype, and booleans as they are."""
    dtype = torch.get_default_dtype()
    return {k: torch.as_tensor(v, dtype=None if v.dtype == bool else dtype) for k, v in arrays.items()}


def put_steps(arrays: Mapping[str, np.ndarray], settings: Settings) -> dict[str, torch.Tensor]:
    """Arrays of this process's share of some steps, ``(steps, items, ...)``, on the device."""
    return put(arrays, settings)


def init(plan: Plan) -> State:
    """The state before the first step.

    Raises:
        ValueError: the guide has a site that the objective cannot differentiate, or Pyro lacks the estimator, or the
            optimiser cannot train the pair.
    """
    settings = plan.settings
    processes.check_shares(min(settings.batch_size, plan.items), plan.sites.subsampled)
    for made in plan.estimators():
        made.build("pyro", infer, settings.particles)
    for site in sorted(plan.sites.discrete):
        if len(plan.estimators()) < plan.stages:
            raise ValueError(
                f"the objective differentiates through draws, which the guide's site {site!r} does not allow; "
                'mark it infer={"enumerate": "parallel"}, or train with objective="elbo" and without weights'
            )
    pair = plan.vae.pair.to(device(settings.device), getattr(torch, settings.dtype))
    in_torch.check(plan, pair)
    return enter(State(plan, pair, in_torch.made(plan, pair, 0), None), 0)


def enter(state: State, stage: int) -> State:
    """The state at the beginning of a stage of the objective; the optimiser remembers nothing of the one before."""
    plan, objective = state.plan, state.plan.objective(stage)
    estimator = None
    if isinstance(objective, Estimator):
        estimator = objective.build("pyro", infer, plan.settings.particles)
    optimizer = in_torch.made(plan, state.pair, stage)
    recordings: dict[Any, Any] | None = {} if recorded.pays(plan, state.pair, estimator or objective) else None
    return replace(state, stage=stage, estimator=estimator, optimizer=optimizer, recordings=recordings)


def step(state: State, batch: Batch, pace: Pace) -> tuple[State, Info]:
    """One gradient step on a batch, of which a process among several takes its share."""
    state = replace(state, recordings=None)  # who writes the loop may change the pair between steps
    return _step(state, rows_of(batch, processes.own(batch.size)), pace, batch.size)


def _step(state: State, batch: Batch, pace: Pace, size: int) -> tuple[State, Info]:
    """One gradient step on this process's share of a batch of so many items; what it tells stays on the device."""
    if not state.pair.training:
        state.pair.train()
    noise = _noise(state, batch, size)
    seed(state.plan.settings.seed, state.step)
    parameters = [p for group in state.optimizer.param_groups for p in group["params"]]
    for parameter in parameters:
        parameter.grad = None
    shares = _differentiated(state, batch, pace.beta, parameters, noise)
    if processes.joined():
        shares = averaged(parameters, shares, batch.size / size)
    norm = in_torch.update(state.plan, state.optimizer, pace)
    return replace(state, step=state.step + 1), Info(shares, norm)


def _noise(state: State, batch: Batch, size: int) -> Any:
    """A context within which this process draws what one process draws for its rows."""
    if not processes.joined():
        return nullcontext()
    if state.stage not in state.noise:
        numbers = np.arange(3) % batch.size  # of rows
        trials = {count: rows_of(batch, numbers[:count]) for count in (2, 3)}
        beta = state.plan.settings.beta
        state.noise[state.stage] = random_operations.places(lambda count: loss_by_site(state, trials[count], beta))
    return shared_noise.drawing(state.noise[state.stage], processes.own(size), size)


def _differentiated(
    state: State, batch: Batch, beta: float, parameters: list[nn.Parameter], noise: Any
) -> dict[str, torch.Tensor]:
    """Each site's share, once the gradient of the loss is at the parameters."""
    if state.estimator is not None and not estimators.by_site(state.estimator):
        with noise, precision.products(state.plan.settings):
            return estimators.differentiated(state.estimator, state.pair, batch, state.plan.sites, parameters)
    if state.recordings is not None and parameters:
        loss_of = partial(loss_by_site, state, beta=beta)
        shares = recorded.differentiated(state.recordings, (state.stage, beta), loss_of, batch, parameters)
        if shares is not None:
            return shares
    with noise:
        loss, shares = loss_by_site(state, batch, beta)
    if parameters and loss.requires_grad:  # which no text that uses none of them gives
        loss.backward(inputs=parameters)
    return shares


def loss_by_site(state: State, batch: Batch, beta: float) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """The loss and each site's share of the objective, in nats per item; the loss can be differentiated by site."""
    with precision.products(state.plan.settings):
        if state.estimator is not None:
            return estimators.loss_by_site(state.estimator, state.pair, batch, state.plan.sites, beta)
        objective: Any = state.plan.objective(state.stage)
        batch = state.plan.weighed(batch)
        particles = state.plan.particles(state.stage)
        drawn = [objective(state.pair["model"], state.pair["guide"], batch, beta) for _ in range(particles)]
    shares = {name: share / particles for name, share in per_item(added(*drawn), batch).items()}
    return -sum(shares.values()), {name: share.detach() for name, share in shares.items()}


def compile_epoch(state: State, arrays: Any, observed: Any, rows: np.ndarray, places: np.ndarray, pace: Pace) -> None:
    """Nothing: torch runs eagerly."""


def epoch(
    state: State,
    arrays: Mapping[str, Any],
    observed: Mapping[str, Any],
    rows: np.ndarray,
    places: np.ndarray,
    pace: Pace,
) -> tuple[State, Info]:
    """One step for each row of ``rows``, ``(steps, batch)``; what they tell is ``(steps,)``.

    Rows are those of this process's share of each batch; ``places`` says where in the arrays they stand, each row or
    each step.

    Each step is a turn of its own, so that other threads need not wait for the end of the epoch.
    """
    first, infos = next(iter(arrays.values())), []
    size = min(state.plan.settings.batch_size, state.plan.items)
    numbers = (torch.as_tensor(each, device=first.device) for each in (rows, places))
    for i, (index, place) in enumerate(zip(*numbers, strict=True)):
        with environment(state.plan.settings), pyro.validation_enabled(False):
            batch = Batch(
                {name: array[place] for name, array in arrays.items()},
                {name: mask[place] for name, mask in observed.items()},
                state.plan.items,
                index=index,
            )
            now = Pace(pace.rate_factor[i], float(pace.beta[i]), [rates[i] for rates in pace.rates])
            state, info = _step(state, batch, now, size)
        infos.append(info)
    return state, _told(infos)


def _told(infos: list[Info]) -> Info:
    """What several steps tell, ``(steps,)`` each, in one copy from the device."""
    rows = torch.stack([torch.stack([*info.shares.values(), info.gradient_norm]) for info in infos]).cpu().numpy()
    return Info(dict(zip(infos[0].shares, rows.T, strict=False)), rows[:, -1])


def validate(state: State, arrays: Mapping[str, Any], observed: Mapping[str, Any], draw: int) -> float:
    """The loss on other items, in nats per item, without training; ``draw`` numbers its random draws."""
    state.pair.eval()
    seed(state.plan.settings.seed, draw, 1)
    with torch.no_grad(), pyro.validation_enabled(False):
        loss, _ = loss_by_site(state, Batch(arrays, observed, state.plan.items), state.plan.settings.beta)
    return loss.item()


def close(state: State) -> None:
    """Nothing: nothing was compiled."""


def export(state: State) -> Snapshot:
    """Weights and optimiser state as numpy arrays."""
    return Snapshot(
        weights={name: in_torch.numpy(p) for name, p in state.pair.state_dict(keep_vars=False).items()},
        step=state.step,
        **in_torch.exported(state.plan.settings, state.optimizer, state.pair),
    )


def restore(state: State, snapshot: Snapshot) -> State:
    """The state with the weights and optimiser state of a snapshot from either backend."""
    state.pair.load_state_dict({k: torch.as_tensor(v.copy()) for k, v in snapshot.weights.items()})
    stage, count = state.plan.reached(snapshot.step)
    state = enter(state, stage)
    in_torch.restored(state.plan, state.optimizer, state.pair, snapshot, count)
    return replace(state, step=snapshot.step)
