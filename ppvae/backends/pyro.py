"""Pyro: training a pair with Pyro's estimators and one torch optimiser."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyro
import torch
from pyro import infer
from pyro.infer.trace_elbo import _compute_log_r
from pyro.infer.util import is_identically_zero
from torch import nn

from ppvae.backends.pyro_words import STACKS
from ppvae.backends.stacks import emptied
from ppvae.language import ppl
from ppvae.language.batch import Batch
from ppvae.language.turns import turn
from ppvae.objectives.elbo import added, per_item
from ppvae.objectives.library import ESTIMATORS, tempered
from ppvae.runs.plan import Pace, Plan, part, torch_dtype
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

ITEMS = 64  # at most so many items are asked in one turn, one after the other


@dataclass(frozen=True, eq=False)
class State:
    """A pair in training. The module and the optimiser are updated in place; ``step`` counts.

    ``estimator`` is the library's, where the stage's objective is; otherwise None.
    """

    plan: Plan
    pair: nn.ModuleDict
    optimizer: torch.optim.Optimizer
    estimator: Any
    step: int = 0
    stage: int = 0


@contextmanager
def environment(settings: Settings) -> Iterator[None]:
    """Words on Pyro, the run's dtype and device as torch's defaults, and no handlers of others, within the block.

    One thread at a time is in such a block, of either backend; random numbers go on after it as if it had not been.
    """
    place = device(settings.device)
    entered = nullcontext() if place.type == "cpu" else place  # as a context, a device slows every call of torch
    with (
        turn(),
        ppl.running("pyro"),
        emptied(*STACKS),
        torch_dtype(getattr(torch, settings.dtype)),
        torch.random.fork_rng(),
        entered,
    ):
        yield


def device(name: str) -> torch.device:
    """The torch device for ``auto``, ``cpu``, ``cuda`` or ``gpu``."""
    if name == "cpu" or (name == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise ValueError(f"device {name!r} was asked for, but torch sees no GPU; use device='auto'")
    return torch.device("cuda")


def put(arrays: Mapping[str, np.ndarray]) -> dict[str, torch.Tensor]:
    """Arrays on the device: floats of the run's dtype, and booleans as they are."""
    dtype = torch.get_default_dtype()
    return {k: torch.as_tensor(v, dtype=None if v.dtype == bool else dtype) for k, v in arrays.items()}


def init(plan: Plan) -> State:
    """The state before the first step.

    Raises:
        ValueError: the guide has a site that the objective cannot differentiate.
    """
    settings = plan.settings
    for site in plan.sites.discrete:
        if not all(isinstance(plan.objective(number), str) for number in range(plan.stages)):
            raise ValueError(
                f"the objective differentiates through draws, which the guide's site {site!r} does not allow; "
                'mark it infer={"enumerate": "parallel"}, or train with objective="elbo"'
            )
    pair = plan.vae.pair.to(device(settings.device), getattr(torch, settings.dtype))
    return enter(State(plan, pair, _optimizer(plan, pair, 0), None), 0)


def _optimizer(plan: Plan, pair: nn.ModuleDict, stage: int) -> torch.optim.Optimizer:
    """A fresh optimiser of the parameters that do not rest in a stage."""
    settings = plan.settings
    make, options, _ = OPTIMIZERS[settings.optimizer]
    named = [(name, p) for name, p in pair.named_parameters() if p.requires_grad and not plan.rests(name, stage)]
    # One group for each rate, not for each part: the fused optimiser is called once for each group.
    rates = sorted({settings.rate(part(name)) for name, _ in named})
    groups = [{"params": [p for name, p in named if settings.rate(part(name)) == rate], "rate": rate} for rate in rates]
    return make(groups, lr=settings.lr, **options)


def enter(state: State, stage: int) -> State:
    """The state at the beginning of a stage of the objective; the optimiser remembers nothing of the one before."""
    objective, estimator = state.plan.objective(stage), None
    if isinstance(objective, str):
        estimator = getattr(infer, ESTIMATORS[objective])(num_particles=state.plan.settings.particles)
    return replace(state, stage=stage, estimator=estimator, optimizer=_optimizer(state.plan, state.pair, stage))


def step(state: State, batch: Batch, pace: Pace) -> tuple[State, dict[str, torch.Tensor]]:
    """One gradient step; returns each site's share of minus the loss, in nats per item, on the device."""
    seed(state.plan.settings.seed, state.step)
    if not state.pair.training:
        state.pair.train()
    loss, shares = loss_by_site(state, batch, pace.beta)
    state.optimizer.zero_grad(set_to_none=True)
    loss.backward(inputs=[p for group in state.optimizer.param_groups for p in group["params"]])
    _update(state, float(pace.rate_factor))
    return replace(state, step=state.step + 1), shares


def _update(state: State, rate_factor: float) -> None:
    settings = state.plan.settings
    for group in state.optimizer.param_groups:
        group["lr"] = group["rate"] * rate_factor
    if settings.clip is not None:
        nn.utils.clip_grad_norm_([p for g in state.optimizer.param_groups for p in g["params"]], settings.clip)
    state.optimizer.step()


def loss_by_site(state: State, batch: Batch, beta: float) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """The loss to differentiate and each site's share of the objective, in nats per item."""
    if state.estimator is not None:
        return _library_loss(state, batch, beta)
    objective: Any = state.plan.objective(state.stage)
    particles = state.plan.settings.particles
    drawn = [objective(state.pair["model"], state.pair["guide"], batch, beta) for _ in range(particles)]
    shares = {name: share / particles for name, share in per_item(added(*drawn), batch).items()}
    return -sum(shares.values()), {name: share.detach() for name, share in shares.items()}


def _library_loss(state: State, batch: Batch, beta: float) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """The loss of one of Pyro's estimators.

    The traces are the estimator's own; only the sums are ours, because Pyro's move every site's figure to the host.
    """
    analytic = isinstance(state.estimator, infer.TraceMeanField_ELBO)
    sums: dict[str, torch.Tensor] = {}
    score: torch.Tensor | float = 0.0
    for model, guide in state.estimator._get_traces(*state.pair.values(), (batch,), {}):
        for name, share in _shares(model, guide, analytic).items():
            sums[name] = sums[name] + share if name in sums else share
        score = score + _score_terms(model, guide)
    scale = 1.0 / (state.estimator.num_particles * state.plan.sites.items(batch))
    sums = tempered(sums, state.plan.sites.latents, beta)
    loss = -(sum(sums.values()) + score) * scale
    return loss, {name: share.detach() * scale for name, share in sums.items()}


def _shares(model: Any, guide: Any, analytic: bool) -> dict[str, torch.Tensor]:
    shares = {}
    for name, site in model.nodes.items():
        if site["type"] == "sample":
            q = guide.nodes.get(name)
            shares[name] = site["log_prob_sum"] if q is None else _latent_share(q, site, analytic)
    return shares


def _latent_share(q: Any, p: Any, analytic: bool) -> torch.Tensor:
    """log p − log q at a latent site, or −KL(q ‖ p) where that is wanted and the two distributions have a formula."""
    sampled = p["log_prob_sum"] - q["log_prob_sum"]
    if not analytic:
        return sampled
    try:
        kl = torch.distributions.kl_divergence(q["fn"], p["fn"])
    except NotImplementedError:
        return sampled
    return -pyro.distributions.util.scale_and_mask(kl, q["scale"], q["mask"]).sum()


def _score_terms(model: Any, guide: Any) -> torch.Tensor | float:
    """The score-function surrogate of latent sites that cannot be reparameterised."""
    terms = [s for s in guide.nodes.values() if s["type"] == "sample" and not _reparameterised(s)]
    if not terms:
        return 0.0
    log_r = _compute_log_r(model, guide)
    return sum((log_r.sum_to(s["cond_indep_stack"]) * s["score_parts"].score_function).sum() for s in terms)


def _reparameterised(site: Any) -> bool:
    return is_identically_zero(site["score_parts"].score_function)


def seed(*entropy: int) -> None:
    """Seed torch from a tuple of integers; every step has a seed of its own, so that a run resumes anywhere."""
    word = int(np.random.SeedSequence(entropy).generate_state(1)[0])
    torch.default_generator.manual_seed(word)
    if torch.cuda.is_available():
        torch.cuda.manual_seed(word)


def compile_epoch(state: State, arrays: Any, observed: Any, rows: np.ndarray, pace: Pace) -> None:
    """Nothing: torch runs eagerly."""


def epoch(
    state: State, arrays: Mapping[str, Any], observed: Mapping[str, Any], rows: np.ndarray, pace: Pace
) -> tuple[State, dict[str, np.ndarray]]:
    """One step for each row of ``rows``, ``(steps, batch)``; returns the shares ``(steps,)``.

    Each step is a turn of its own, so that other threads need not wait for the end of the epoch.
    """
    first, infos = next(iter(arrays.values())), []
    for i, index in enumerate(torch.as_tensor(rows, device=first.device)):
        with environment(state.plan.settings), pyro.validation_enabled(False):
            batch = Batch(
                {name: array[index] for name, array in arrays.items()},
                {name: mask[index] for name, mask in observed.items()},
                len(first),
                index=index,
            )
            state, info = step(state, batch, Pace(pace.rate_factor[i], float(pace.beta[i])))
        infos.append(info)
    return state, {name: torch.stack([info[name] for info in infos]).cpu().numpy() for name in infos[0]}


def validate(state: State, arrays: Mapping[str, Any], observed: Mapping[str, Any], draw: int) -> float:
    """The loss on other items, in nats per item, without training; ``draw`` numbers its random draws."""
    state.pair.eval()
    seed(state.plan.settings.seed, draw, 1)
    with torch.no_grad(), pyro.validation_enabled(False):
        loss, _ = loss_by_site(state, Batch(arrays, observed, state.plan.items), state.plan.settings.beta)
    return loss.item()


def export(state: State) -> Snapshot:
    """Weights and optimiser state as numpy arrays."""
    named = [(name, p) for name, p in state.pair.named_parameters() if p.requires_grad]
    _, _, moments = OPTIMIZERS[state.plan.settings.optimizer]
    kept = state.optimizer.state
    return Snapshot(
        weights={name: _numpy(p) for name, p in state.pair.state_dict(keep_vars=False).items()},
        moments={
            ours: {name: _numpy(kept.get(p, {}).get(theirs, torch.zeros_like(p))) for name, p in named}
            for ours, theirs in moments.items()
        },
        step=state.step,
    )


def restore(state: State, snapshot: Snapshot) -> State:
    """The state with the weights and optimiser state of a snapshot from either backend."""
    state.pair.load_state_dict({k: torch.as_tensor(v.copy()) for k, v in snapshot.weights.items()})
    stage, count = state.plan.reached(snapshot.step)
    state = enter(state, stage)
    _, _, moments = OPTIMIZERS[state.plan.settings.optimizer]
    for name, p in state.pair.named_parameters():
        if moments and count and p.requires_grad and not state.plan.rests(name, stage):
            entries = {theirs: torch.as_tensor(snapshot.moments[ours][name].copy()) for ours, theirs in moments.items()}
            state.optimizer.state[p] = {"step": torch.tensor(float(count)), **entries}
    return replace(state, step=snapshot.step)


def _numpy(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().cpu().numpy().copy()


def each_item(
    pair: nn.ModuleDict,
    question: Any,
    arrays: Mapping[str, Any],
    observed: Mapping[str, Any],
    keys: np.ndarray,
    rows: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """``question(model, guide, batch)`` for every item alone, seeded by the item's key; joined on axis 1."""
    place = torch.empty(()).device
    pair.to(place).eval()
    answers = []
    with torch.no_grad(), pyro.validation_enabled(False):
        for i, key in enumerate(keys):
            seed(*(int(word) for word in key))
            one = slice(i, i + 1)
            here, seen = ({name: array[one] for name, array in group.items()} for group in (arrays, observed))
            batch = Batch(here, seen, 1, 1, index=None if rows is None else rows[one])
            answers.append(question(pair["model"], pair["guide"], batch))
    return {name: torch.cat([a[name] for a in answers], 1).cpu().numpy() for name in answers[0]}
