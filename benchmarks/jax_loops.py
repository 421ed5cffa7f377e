"""JAX: the loops that a practised user of JAX would write by hand, and ppvae's on NumPyro beside them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from cases import LEARNING_RATE, Case

from ppvae.backends import numpyro as engine
from ppvae.runs.plan import Pace
from ppvae.training.epochs import order
from ppvae.training.fit import init

Arrays = Mapping[str, jax.Array]
HALF_LOG_TAU = 0.5 * math.log(2 * math.pi)


def mlp(layers: Sequence[tuple[jax.Array, jax.Array]], x: jax.Array) -> jax.Array:
    """Linear layers with ReLU between them."""
    for weight, bias in layers[:-1]:
        x = jax.nn.relu(x @ weight + bias)
    weight, bias = layers[-1]
    return x @ weight + bias


def mvae_loss(params: Any, batch: Arrays, key: jax.Array, center: Arrays, spread: Arrays) -> jax.Array:
    """The negative ELBO in nats per item of the MVAE, at one draw."""
    x = {name: (value - center[name]) / spread[name] for name, value in batch.items()}
    experts = jnp.stack([mlp(params["encoders"][name], x[name]) for name in x])
    loc, log_scale = jnp.split(experts, 2, -1)
    precision = jnp.exp(-2 * log_scale)
    total = 1 + precision.sum(0)
    scale = jax.lax.rsqrt(total)
    noise = jax.random.normal(key, scale.shape)
    z = (precision * loc).sum(0) / total + scale * noise
    elbo = 0.5 * (noise**2 - z**2).sum() + jnp.log(scale).sum()
    for name, value in x.items():
        log_scale = params["log_scale"][name]
        residual = (value - mlp(params["decoders"][name], z)) * jnp.exp(-log_scale)
        elbo -= (0.5 * residual**2 + log_scale + jnp.log(spread[name]) + HALF_LOG_TAU).sum()
    return -elbo / len(noise)


def vae_loss(params: Any, batch: Arrays, key: jax.Array) -> jax.Array:
    """The negative ELBO in nats per item of a VAE for one binary image, at one draw."""
    x = batch["image"]
    loc, log_scale = jnp.split(mlp(params["encoder"], x), 2, -1)
    noise = jax.random.normal(key, loc.shape)
    z = loc + jnp.exp(log_scale) * noise
    divergence = 0.5 * (z**2 - noise**2).sum() - log_scale.sum()
    return (divergence + optax.sigmoid_binary_cross_entropy(mlp(params["decoder"], z), x).sum()) / len(x)


def hand_epoch(loss: Callable[..., jax.Array], optimizer: optax.GradientTransformation) -> Callable[..., Any]:
    """``epoch(params, memory, arrays, rows, keys)``, compiled; returns the first two and the losses."""

    def epoch(params: Any, memory: Any, arrays: Arrays, rows: jax.Array, keys: jax.Array) -> tuple[Any, Any, jax.Array]:
        def step(carry: tuple[Any, Any], now: tuple[jax.Array, jax.Array]) -> tuple[tuple[Any, Any], jax.Array]:
            (params, memory), (index, key) = carry, now
            batch = {name: array[index] for name, array in arrays.items()}
            value, gradient = jax.value_and_grad(loss)(params, batch, key)
            updates, memory = optimizer.update(gradient, memory)
            return (optax.apply_updates(params, updates), memory), value

        (params, memory), losses = jax.lax.scan(step, (params, memory), (rows, keys))
        return params, memory, losses

    return jax.jit(epoch, donate_argnums=(0, 1))


class Loops:
    """Both loops over the same rows, from the same weights."""

    def __init__(self, name: str, case: Case, clock: Callable[[], float], device: str) -> None:
        self.state = init(case.vae, case.data, **case.options("numpyro", device))
        self.settings = self.state.plan.settings
        self.rows = order(self.settings, len(case.data), 0)
        self.arrays = engine.put(case.data.arrays)
        loss, self.params = hand_written(name, case)
        optimizer = optax.adam(LEARNING_RATE)
        self.memory = optimizer.init(self.params)
        self.epoch = hand_epoch(loss, optimizer)
        self.first_step_seconds = self._first_step(clock)

    def _first_step(self, clock: Callable[[], float]) -> float:
        """Seconds that the first step takes beyond any other: tracing and compiling ppvae's epoch."""
        begin = clock()
        engine.compile_epoch(self.state, self.arrays, {}, self.rows, self.rows, self._pace())
        return clock() - begin

    def _pace(self) -> Pace:
        ones = np.ones(len(self.rows), np.float32)
        return Pace(ones, ones)

    def hand(self, keys: jax.Array | None = None) -> np.ndarray:
        """The hand-written loop, for an epoch."""
        keys = jax.random.split(jax.random.key(0), len(self.rows)) if keys is None else keys
        rows = jnp.asarray(self.rows)
        self.params, self.memory, losses = self.epoch(self.params, self.memory, self.arrays, rows, keys)
        return np.asarray(losses)

    def ours(self) -> np.ndarray:
        """ppvae's loop, for an epoch."""
        self.state, info = engine.epoch(self.state, self.arrays, {}, self.rows, self.rows, self._pace())
        return -np.sum(list(info.shares.values()), axis=0)

    def check(self, steps: int = 3) -> float:
        """The largest relative difference of the losses of the first steps, at the same noise."""
        root = jax.random.key(self.settings.seed)
        keys = jax.vmap(lambda i: guide_key(jax.random.fold_in(root, i)))(jnp.arange(len(self.rows)))
        hand, ours = self.hand(keys), self.ours()
        return float(np.max(np.abs(hand - ours)[:steps] / np.abs(hand)[:steps]))


def guide_key(key: jax.Array) -> jax.Array:
    """The key of the guide's first draw, given that of the estimator: NumPyro gives one to the site, and torch's text
    of the site's distribution takes its first from that."""
    _, guide = jax.random.split(key)
    _, site = jax.random.split(guide)
    return jax.random.split(site)[1]


def hand_written(name: str, case: Case) -> tuple[Callable[..., jax.Array], Any]:
    """The hand-written loss of a case, and ppvae's weights in its layout."""
    encoders, decoders = case.vae.guide.encoders.networks, case.vae.model.likelihoods
    if name == "vae":
        return vae_loss, {"encoder": layers(encoders["image"]), "decoder": layers(decoders["image"].decoder)}
    params = {
        "encoders": {name: layers(network) for name, network in encoders.items()},
        "decoders": {name: layers(likelihood.decoder) for name, likelihood in decoders.items()},
        "log_scale": {name: array(likelihood.log_scale) for name, likelihood in decoders.items()},
    }
    center = {m.name: jnp.asarray(m.center) for m in case.data.modalities or ()}
    spread = {m.name: jnp.asarray(m.spread) for m in case.data.modalities or ()}
    return partial(mvae_loss, center=center, spread=spread), params


def layers(network: Any) -> list[tuple[jax.Array, jax.Array]]:
    """Weights ``(in, out)`` and biases of a torch network's linear layers, in order."""
    flat = [array(p) for p in network.parameters()]
    return [(weight.T, bias) for weight, bias in zip(flat[::2], flat[1::2], strict=True)]


def array(tensor: Any) -> jax.Array:
    """A copy of a torch tensor."""
    return jnp.array(tensor.detach().numpy())
