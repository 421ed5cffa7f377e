"""NumPyro: training a pair's mirror with NumPyro's estimators; an epoch is one compiled ``lax.scan``."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import optax
import torch
from numpyro import infer

from ppvae.backends import mirror
from ppvae.backends.answers.in_jax import Arrays, programs
from ppvae.backends.answers.in_jax import each_item as each_item
from ppvae.backends.devices import in_jax, in_torch, jax_faults, keys
from ppvae.backends.devices.compiling import compiled
from ppvae.backends.devices.in_jax import join as join
from ppvae.backends.devices.in_jax import put as put
from ppvae.backends.devices.in_jax import put_steps as put_steps
from ppvae.backends.devices.in_jax import together
from ppvae.backends.devices.leftovers import give_back
from ppvae.backends.mirror.running.program import Mirror
from ppvae.backends.numpyro_items import boxed
from ppvae.backends.numpyro_words import STACKS
from ppvae.backends.optimizers import in_optax
from ppvae.backends.precision.in_jax import products
from ppvae.backends.stacks import emptied
from ppvae.language import ppl
from ppvae.language.batch import Batch
from ppvae.language.pieces import pooled
from ppvae.language.turns import turn
from ppvae.objectives import Estimator
from ppvae.objectives.elbo import per_item
from ppvae.objectives.library import tempered
from ppvae.objectives.multisample import BOUND
from ppvae.runs.plan import Info, Pace, Plan
from ppvae.runs.settings import Settings
from ppvae.runs.snapshot import Snapshot

jax_faults.warn()  # when this file is imported, which the first run on NumPyro does

ITEMS = 32768  # at most so many items are asked in one turn of the words


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class State:
    """A pair in training; its arrays change from step to step or run to run, the rest is fixed."""

    params: Arrays
    moments: Any
    step: jax.Array
    seed: jax.Array
    fixed: Arrays
    run: Run = field(metadata={"static": True})
    stage: int = field(default=0, metadata={"static": True})

    @property
    def plan(self) -> Plan:
        """The pair and how it is trained."""
        return self.run.plan


@dataclass(frozen=True, eq=False)
class Run:
    """What does not change in training: the plan, the names of tied weights, and the compiled functions."""

    plan: Plan
    aliases: Mapping[str, str]
    optimizer: optax.GradientTransformation
    compiled: dict[Any, Any] = field(default_factory=dict)


@contextmanager
def environment(settings: Settings) -> Iterator[None]:
    """Words on NumPyro, the run's dtype and device as JAX's defaults, and no handlers of others, within the block.

    One thread at a time is in such a block, of either backend: programs use torch's default dtype on NumPyro too.
    """
    with (
        turn(),
        ppl.running("numpyro"),
        emptied(*STACKS),
        in_torch.defaults(getattr(torch, settings.dtype)),
        in_jax.defaults(settings),
    ):
        yield


def own(size: int) -> slice:
    """The rows of a batch of so many items that are to be fed to this process: all, which devices divide."""
    return slice(size)


def init(plan: Plan) -> State:
    """The state before the first step.

    Raises:
        ValueError: the guide has a site that the estimator cannot differentiate, or NumPyro lacks the estimator, or the
            optimiser cannot train the pair, or the devices cannot share a batch.
    """
    in_jax.check(plan.settings, plan.items)
    built = [type(made.build("numpyro", infer, plan.settings.particles)) for made in plan.estimators()]
    for site in sorted(plan.sites.discrete) if built != [infer.TraceGraph_ELBO] * plan.stages else ():
        raise ValueError(
            f"NumPyro cannot differentiate the guide's site {site!r} by reparameterisation; use backend='pyro' or the "
            "objective TraceGraph_ELBO"
        )
    pair = plan.vae.pair
    trained = {name for name, p in pair.named_parameters() if p.requires_grad}
    arrays = mirror.arrays(pair)
    params = {name: array for name, array in arrays.items() if name in trained}
    optimizer = in_optax.made(plan.settings)
    in_optax.check(plan.settings, optimizer, params)
    run = Run(plan, mirror.aliases(pair), optimizer)
    fixed = {name: array for name, array in arrays.items() if name not in trained}
    count, seed = jax.device_put((np.int32(0), np.uint32(plan.settings.seed)))
    return State(params, in_optax.fresh(plan.settings, optimizer, params), count, seed, fixed, run)


def enter(state: State, stage: int) -> State:
    """The state at the beginning of a stage of the objective; the optimiser remembers nothing of the one before."""
    return replace(state, stage=stage, moments=in_optax.fresh(state.plan.settings, state.run.optimizer, state.params))


def step(state: State, batch: Batch, pace: Pace) -> tuple[State, Info]:
    """One gradient step; what it tells stays on the device."""
    names = tuple(sorted(batch.arrays)), batch.total, state.stage, mirror.times_changed(state.plan.vae.pair)
    if names not in state.run.compiled:
        state.run.compiled[names] = jax.jit(lambda s, a, o, i, p: _step(s, Batch(a, o, batch.total, index=i), p))
    stepped = state.run.compiled[names](state, put_all(batch.arrays), put_all(batch.observed or {}), batch.index, pace)
    mirror.look_again(state.plan.vae.pair)
    return stepped


def put_all(arrays: Mapping[str, Any]) -> Arrays:
    """Arrays of any kind on the device."""
    return put({name: np.asarray(array) for name, array in arrays.items()})


def _step(state: State, batch: Batch, pace: Pace) -> tuple[State, Info]:
    plan, run = state.plan, state.run
    here, seen, index = in_jax.divided(plan.settings, (batch.arrays, batch.observed, batch.index))
    batch = replace(batch, arrays=here, observed=seen, index=index)
    key = jax.random.fold_in(keys.key(state.seed), state.step)
    gradient = jax.grad(loss_by_site, has_aux=True)
    grads, shares = gradient(state.params, state, batch, pace.beta, key, training=True)
    resting = {name for name in grads if plan.rests(name, state.stage)}
    grads |= {name: jnp.zeros_like(grads[name]) for name in resting}
    grads, norm = in_optax.clipped(plan.settings, grads)
    updates, moments = run.optimizer.update(grads, state.moments, state.params, value=-sum(shares.values()))
    params = in_optax.moved(plan, pace, state.params, updates, resting, norm)
    return replace(state, params=params, moments=moments, step=state.step + 1), Info(shares, norm)


def loss_by_site(
    params: Arrays, state: State, batch: Batch, beta: Any, key: jax.Array, training: bool
) -> tuple[jax.Array, Arrays]:
    """The loss to differentiate and each site's share of the objective, in nats per item."""
    plan, objective = state.plan, state.plan.objective(state.stage)
    pair = programs(plan.vae.pair, {**state.fixed, **params}, state.run.aliases, training)
    with products(plan.settings):
        if isinstance(objective, Estimator):
            losses: dict[str, Any] = _library_losses(objective, plan.settings.particles, pair, batch, key)
            shares = {name: -loss / plan.sites.items(batch) for name, loss in losses.items()}
            shares = pooled(tempered(shares, plan.sites.latents, beta), batch.arrays)
        else:
            batch = plan.weighed(batch)
            keys = jax.random.split(key, plan.particles(state.stage))
            drawn = jax.vmap(partial(_own_shares, objective, pair, batch, beta))(keys)
            shares = {name: share.mean() for name, share in drawn.items()}
    return -sum(shares.values()), shares


def _library_losses(
    objective: Estimator, particles: int, pair: tuple[Mirror, Mirror], batch: Batch, key: jax.Array
) -> Arrays:
    """The loss by one of NumPyro's estimators, by site where it is the plain ELBO."""
    estimator = objective.build("numpyro", infer, particles)
    if not objective.by_site:
        return {BOUND: estimator.loss(key, {}, boxed(pair[0]), pair[1], batch)}
    estimator = copy.copy(estimator)
    estimator.sum_sites = False
    return estimator.loss(key, {}, *pair, batch)


def _own_shares(objective: Any, pair: tuple[Mirror, Mirror], batch: Batch, beta: Any, key: jax.Array) -> Arrays:
    """One estimate of an objective of ppvae's own."""
    with numpyro.handlers.seed(rng_seed=key):
        return per_item(objective(*pair, batch, beta), batch)


def compile_epoch(
    state: State, arrays: Arrays, observed: Arrays, rows: np.ndarray, places: np.ndarray, pace: Pace
) -> None:
    """Compile an epoch of this shape, of which the texts alone are a turn; JAX holds it as long as the run's lambda."""
    with environment(state.plan.settings):
        inputs = _everywhere(state, arrays, observed, rows, places, pace)
        state.run.compiled["around", state.stage] = mirror.times_changed(state.plan.vae.pair)
        lowered = jax.jit(lambda *given: _epoch(*given), donate_argnums=0).lower(*inputs)
    with in_jax.defaults(state.plan.settings):
        state.run.compiled["epoch", state.stage] = compiled(lowered, state.plan)
    give_back()


def epoch(
    state: State, arrays: Arrays, observed: Arrays, rows: np.ndarray, places: np.ndarray, pace: Pace
) -> tuple[State, Info]:
    """One step for each row of ``rows``, ``(steps, batch)``; what they tell is ``(steps,)``.

    ``places`` says where in the arrays the rows stand, each row or each step. The state that is given is used up: the
    new one takes its memory. Where a text reads something else by now, the epoch is compiled anew.
    """
    if state.run.compiled["around", state.stage] != mirror.times_changed(state.plan.vae.pair):
        compile_epoch(state, arrays, observed, rows, places, pace)
    with in_jax.defaults(state.plan.settings), together():
        inputs = _everywhere(state, arrays, observed, rows, places, pace)
        state, info = state.run.compiled["epoch", state.stage](*inputs)
        return state, jax.tree.map(np.asarray, info)


def _everywhere(
    state: State, arrays: Arrays, observed: Arrays, rows: np.ndarray, places: np.ndarray, pace: Pace
) -> Any:
    """The inputs of an epoch on each device that takes part in it, where the data are already."""
    state, *numbers = in_jax.whole(state.plan.settings, (state, rows, places, pace))
    return state, arrays, observed, *numbers


def _epoch(
    state: State, arrays: Arrays, observed: Arrays, rows: jax.Array, places: jax.Array, pace: Pace
) -> tuple[State, Info]:
    def body(state: State, now: tuple[jax.Array, jax.Array, Pace]) -> tuple[State, Info]:
        index, place, pace = now
        here, seen = ({k: v[place] for k, v in group.items()} for group in (arrays, observed))
        batch = Batch(here, seen, state.plan.items, index=index)
        return _step(state, batch, pace)

    return jax.lax.scan(body, state, (rows, places, pace))


def validate(state: State, arrays: Arrays, observed: Arrays, draw: int) -> float:
    """The loss on other items, in nats per item, without training; ``draw`` numbers its random draws."""
    known = "validate", len(next(iter(arrays.values()))), state.stage, mirror.times_changed(state.plan.vae.pair)
    if known not in state.run.compiled:
        lowered = jax.jit(lambda *given: _validate(*given)).lower(state, arrays, observed, draw)
        state.run.compiled[known] = compiled(lowered, state.plan)
        give_back()
    with together():
        return float(state.run.compiled[known](state, arrays, observed, draw))


def _validate(state: State, arrays: Arrays, observed: Arrays, draw: jax.Array) -> jax.Array:
    key = jax.random.fold_in(jax.random.fold_in(jax.random.key(state.seed), 1), draw)
    batch, beta = Batch(arrays, observed, state.plan.items), state.plan.settings.beta
    return loss_by_site(state.params, state, batch, beta, key, training=False)[0]


def close(state: State) -> None:
    """Let go of what was compiled for a run, since JAX's caches remember the run when it is over."""
    state.run.compiled.clear()


def export(state: State) -> Snapshot:
    """Weights and optimiser state as numpy arrays."""
    if state.plan.stored:
        give_back()
    weights, kept = {**state.fixed, **state.params}, state.plan.vae.pair.state_dict()  # lasting buffers alone
    return Snapshot(
        weights={name: np.array(weights[first]) for name, first in state.run.aliases.items() if name in kept},
        step=int(state.step),
        **in_optax.exported(state.plan.settings, state.moments),
    )


def restore(state: State, snapshot: Snapshot) -> State:
    """The state with the weights and optimiser state of a snapshot from either backend."""
    fresh = {n: jax.device_put(snapshot.weights.get(n, a).copy()) for n, a in {**state.fixed, **state.params}.items()}
    stage, count = state.plan.reached(snapshot.step)
    return replace(
        state,
        params={name: fresh[name] for name in state.params},
        fixed={name: fresh[name] for name in state.fixed},
        moments=in_optax.restored(state.plan.settings, state.moments, snapshot, count),
        step=jax.device_put(np.int32(snapshot.step)),
        stage=stage,
    )
