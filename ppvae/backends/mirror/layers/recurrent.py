"""Recurrent networks: RNN, GRU and LSTM, and their cells, with one ``lax.scan`` for each layer and direction."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from torch import nn
from torch.nn.utils.rnn import PackedSequence

from ppvae.backends.mirror.functions.arguments import refuse
from ppvae.backends.mirror.layers.dropout import dropout
from ppvae.backends.mirror.running.parameters import Parameters
from ppvae.backends.mirror.running.tables import layer

State = Any  # the hidden state, and for an LSTM a pair of it and the cell
Gates = Callable[[jax.Array, jax.Array, State], State]


def _gru(x: jax.Array, recurred: jax.Array, h: jax.Array) -> jax.Array:
    (xr, xz, xn), (hr, hz, hn) = jnp.split(x, 3, -1), jnp.split(recurred, 3, -1)
    update = jax.nn.sigmoid(xz + hz)
    return (1 - update) * jnp.tanh(xn + jax.nn.sigmoid(xr + hr) * hn) + update * h


def _lstm(x: jax.Array, recurred: jax.Array, state: State) -> State:
    enter, forget, new, leave = jnp.split(x + recurred, 4, -1)
    cell = jax.nn.sigmoid(forget) * state[1] + jax.nn.sigmoid(enter) * jnp.tanh(new)
    return jax.nn.sigmoid(leave) * jnp.tanh(cell), cell


def _simple(nonlinearity: str) -> Gates:
    squash = {"tanh": jnp.tanh, "relu": jax.nn.relu}[nonlinearity]
    return lambda x, recurred, h: squash(x + recurred)


def _gates(module: Any) -> Gates:
    if isinstance(module, (nn.GRU, nn.GRUCell)):
        return _gru
    return _lstm if isinstance(module, (nn.LSTM, nn.LSTMCell)) else _simple(module.nonlinearity)


def _hidden(state: State) -> jax.Array:
    return state[0] if isinstance(state, tuple) else state


def _linear(p: Parameters, kind: str, name: str, x: jax.Array) -> jax.Array:
    bias = p.get(f"bias_{kind}{name}")
    y = x @ p[f"weight_{kind}{name}"].T
    return y if bias is None else y + bias


def _step(module: Any, p: Parameters, name: str, x: jax.Array, state: State) -> State:
    """One step from gates that the input already has been led to."""
    state = _gates(module)(x, _linear(p, "hh", name, _hidden(state)), state)
    projection = p.get(f"weight_hr{name}")
    return state if projection is None else (state[0] @ projection.T, state[1])


@layer(nn.RNNCell, nn.GRUCell, nn.LSTMCell)
def cell(module: Any, p: Parameters, input: jax.Array, hx: State = None) -> State:
    """``(items, in)`` or ``(in,)`` to the next state; without ``hx`` from zero."""
    if hx is None:
        zero = jnp.zeros((*input.shape[:-1], module.hidden_size), input.dtype)
        hx = (zero, zero) if isinstance(module, nn.LSTMCell) else zero
    return _step(module, p, "", _linear(p, "ih", "", input), hx)


@layer(nn.RNN, nn.GRU, nn.LSTM)
def recurrent(module: Any, p: Parameters, input: jax.Array, hx: State = None) -> tuple[jax.Array, State]:
    """``(steps, items, in)``, with ``batch_first`` ``(items, steps, in)``, or ``(steps, in)``."""
    refuse(isinstance(input, PackedSequence | tuple), "packed sequences have no mirror: pad, and mask what follows")
    single = input.ndim == 2
    turned = module.batch_first and not single
    x = input[:, None] if single else jnp.swapaxes(input, 0, 1) if turned else input
    start = _start(module, x) if hx is None else jax.tree.map(lambda h: h[:, None] if single else h, hx)
    y, last = _layers(module, p, x, start)
    if single:
        return y[:, 0], jax.tree.map(lambda h: h[:, 0], last)
    return jnp.swapaxes(y, 0, 1) if turned else y, last


def _start(module: Any, x: jax.Array) -> State:
    depth = module.num_layers * (1 + module.bidirectional)
    h = jnp.zeros((depth, x.shape[1], module.proj_size or module.hidden_size), x.dtype)
    if not isinstance(module, nn.LSTM):
        return h
    return h, jnp.zeros((depth, x.shape[1], module.hidden_size), x.dtype)


def _layers(module: Any, p: Parameters, x: jax.Array, start: State) -> tuple[jax.Array, State]:
    suffixes = ["", "_reverse"] if module.bidirectional else [""]
    last = []
    for depth in range(module.num_layers):
        if depth:
            x = dropout(p.key, x, module.dropout, p.training)
        states = [_at(start, depth * len(suffixes) + side) for side in range(len(suffixes))]
        runs = [_scan(module, p, f"_l{depth}{suffix}", x, h) for suffix, h in zip(suffixes, states, strict=True)]
        last += [end for end, _ in runs]
        x = jnp.concatenate([y for _, y in runs], -1)
    return x, jax.tree.map(lambda *states: jnp.stack(states), *last)


def _at(state: State, index: int) -> State:
    return jax.tree.map(lambda h: h[index], state)


def _scan(module: Any, p: Parameters, name: str, x: jax.Array, start: State) -> tuple[State, jax.Array]:
    """The last state, and the hidden states of all steps."""

    def step(state: State, x: jax.Array) -> tuple[State, jax.Array]:
        state = _step(module, p, name, x, state)
        return state, _hidden(state)

    return jax.lax.scan(step, start, _linear(p, "ih", name, x), reverse=name.endswith("_reverse"))
