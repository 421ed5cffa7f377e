"""JAX networks: the views of an item as a practised user of JAX would write them, on weights of torch's shapes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax_bounds import HALF_LOG_TAU

from ppvae.language.tokens import PADDING, START

Arrays = Mapping[str, jax.Array]
Layers = Sequence[tuple[jax.Array, jax.Array]]
PICTURES = ("NCHW", "OIHW", "NCHW")


@dataclass(frozen=True)
class View:
    """Functions of one view: what networks see, the expert ``encode(params, x)``, ``log_likelihood(params, x, z)``."""

    seen: Callable[[jax.Array], jax.Array]
    encode: Callable[[Any, jax.Array], jax.Array]
    log_likelihood: Callable[[Any, jax.Array, jax.Array], jax.Array]


def mlp(layers: Layers, x: jax.Array) -> jax.Array:
    """Linear layers with ReLU between them; weights are ``(in, out)``."""
    for weight, bias in layers[:-1]:
        x = jax.nn.relu(x @ weight + bias)
    weight, bias = layers[-1]
    return x @ weight + bias


def normal(
    encode: Callable[[Layers, jax.Array], jax.Array],
    decode: Callable[[Layers, jax.Array], jax.Array],
    center: jax.Array,
    spread: jax.Array,
) -> View:
    """A view of numbers, its normal likelihood of a learned scale."""

    def log_likelihood(params: Any, x: jax.Array, z: jax.Array) -> jax.Array:
        y = decode(params["decoder"], z.reshape(-1, z.shape[-1])).reshape(*z.shape[:-1], *center.shape)
        log_scale = params["log_scale"]
        each = 0.5 * ((x - y) * jnp.exp(-log_scale)) ** 2 + log_scale + jnp.log(spread) + HALF_LOG_TAU
        return -each.sum(range(z.ndim - 1, each.ndim))

    return View(lambda x: (x - center) / spread, lambda params, x: encode(params["encoder"], x), log_likelihood)


def text() -> View:
    """A view of tokens, read and written by GRUs."""

    def read(params: Any, x: jax.Array) -> jax.Array:
        p = params["encoder"]
        states = gru(p, p["embedding.weight"][x], jnp.zeros((len(x), p["recurrent.weight_hh_l0"].shape[1])))
        last = (x != PADDING).sum(-1) - 1
        return states[jnp.arange(len(x)), last] @ p["head.weight"].T + p["head.bias"]

    def log_likelihood(params: Any, x: jax.Array, z: jax.Array) -> jax.Array:
        p = params["decoder"]
        before = jnp.pad(x[:, :-1], ((0, 0), (1, 0)), constant_values=START)
        beside = jnp.broadcast_to(z[:, None], (*x.shape, z.shape[-1]))
        first = jnp.tanh(z @ p["start.weight"].T + p["start.bias"])
        states = gru(p, jnp.concatenate([p["embedding.weight"][before], beside], -1), first)
        logits = states @ p["logits.weight"].T + p["logits.bias"]
        logits = jax.nn.log_softmax(logits.at[..., jnp.array([PADDING, START])].set(-jnp.inf))
        each = jnp.take_along_axis(logits, x[..., None], -1)[..., 0]
        return jnp.where(x == PADDING, 0.0, each).sum(-1)

    return View(lambda x: x.astype(int), read, log_likelihood)


def gru(p: Arrays, x: jax.Array, first: jax.Array) -> jax.Array:
    """The states of a gated recurrent network after each place of ``(items, places, inputs)``."""
    inputs = x.swapaxes(0, 1) @ p["recurrent.weight_ih_l0"].T + p["recurrent.bias_ih_l0"]
    weight, bias = p["recurrent.weight_hh_l0"].T, p["recurrent.bias_hh_l0"]

    def step(state: jax.Array, now: jax.Array) -> tuple[jax.Array, jax.Array]:
        (r, i, n), (hidden_r, hidden_i, hidden_n) = (jnp.split(each, 3, -1) for each in (now, state @ weight + bias))
        keep = jax.nn.sigmoid(i + hidden_i)
        state = keep * state + (1 - keep) * jnp.tanh(n + jax.nn.sigmoid(r + hidden_r) * hidden_n)
        return state, state

    return jax.lax.scan(step, first, inputs)[1].swapaxes(0, 1)


def halved(layers: Layers, x: jax.Array) -> jax.Array:
    """Of pictures: convolutions that halve them, then an MLP."""
    convolutions = [layer for layer in layers if layer[0].ndim == 4]
    for weight, bias in convolutions:
        x = jax.lax.conv_general_dilated(x, weight, (2, 2), [(1, 1), (1, 1)], dimension_numbers=PICTURES)
        x = jax.nn.relu(x + bias[:, None, None])
    return mlp(layers[len(convolutions) :], x.reshape(len(x), -1))


def doubled(layers: Layers, z: jax.Array) -> jax.Array:
    """What undoes it, up to 28 pixels: an MLP, then transposed convolutions from three by three places."""
    transposed = [layer for layer in layers if layer[0].ndim == 4]
    x = mlp(layers[: -len(transposed)], z).reshape(len(z), -1, 3, 3)
    for (weight, bias), odd in zip(transposed, (1, 0, 0), strict=True):
        sides, kernel = [(2, 2 + odd)] * 2, weight.swapaxes(0, 1)[..., ::-1, ::-1]
        x = jax.lax.conv_general_dilated(
            jax.nn.relu(x), kernel, (1, 1), sides, lhs_dilation=(2, 2), dimension_numbers=PICTURES
        )
        x = x + bias[:, None, None]
    return x


def layers(network: Any) -> list[tuple[jax.Array, jax.Array]]:
    """Weights and biases of a torch network's layers, in order; a linear layer's weights are ``(in, out)``."""
    flat = [array(p) for p in network.parameters()]
    return [(w.T if w.ndim == 2 else w, bias) for w, bias in zip(flat[::2], flat[1::2], strict=True)]


def named(network: Any) -> dict[str, jax.Array]:
    """A torch network's parameters by name."""
    return {name: array(p) for name, p in network.named_parameters()}


def array(tensor: Any) -> jax.Array:
    """A copy of a torch tensor."""
    return jnp.array(tensor.detach().numpy())
