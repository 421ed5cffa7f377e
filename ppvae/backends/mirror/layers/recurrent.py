"""Recurrent networks: RNN, GRU and LSTM, and their cells, with one ``lax.scan`` for each layer and direction."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence

from ppvae.backends.mirror.functions.arguments import refuse
from ppvae.backends.mirror.layers.dropout import dropout
from ppvae.backends.mirror.running.parameters import Parameters
from ppvae.backends.mirror.running.tables import UNLIKE, function, layer

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
    """``(steps, items, in)``, with ``batch_first`` ``(items, steps, in)``, or ``(steps, in)``; or packed."""
    if isinstance(input, PackedSequence):
        return _packed(module, p, input, hx)
    single = input.ndim == 2
    turned = module.batch_first and not single
    x = input[:, None] if single else jnp.swapaxes(input, 0, 1) if turned else input
    start = _start(module, x) if hx is None else jax.tree.map(lambda h: h[:, None] if single else h, hx)
    y, last = _layers(module, p, x, start)
    if single:
        return y[:, 0], jax.tree.map(lambda h: h[:, 0], last)
    return jnp.swapaxes(y, 0, 1) if turned else y, last


def _packed(module: Any, p: Parameters, input: Any, hx: State) -> tuple[Any, State]:
    """Sequences of unequal length, in the order in which they are packed; states in that of the items."""
    there, unsorted = _there(input.data, input.batch_sizes), input.unsorted_indices
    start = _start(module, input.data) if hx is None else _reordered(hx, input.sorted_indices)
    y, last = _layers(module, p, input.data, start, there)
    return input._make([jnp.where(there, y, 0.0), *input[1:]]), _reordered(last, unsorted)


def _reordered(state: State, order: Any) -> State:
    return state if order is None else jax.tree.map(lambda h: h[:, order], state)


@function(torch._pack_padded_sequence)
def pack(input: jax.Array, lengths: jax.Array, batch_first: bool) -> tuple[jax.Array, jax.Array]:
    """All steps ``(steps, items, in)``, there or not; and how many items have a second, a third, ... of them."""
    x = jnp.swapaxes(input, 0, 1) if batch_first else input
    return x, (lengths > jnp.arange(1, len(x))[:, None]).sum(1)


@function(torch._pad_packed_sequence)
def pad(
    data: jax.Array, batch_sizes: jax.Array, batch_first: bool, padding_value: float, total_length: int
) -> tuple[jax.Array, jax.Array]:
    """All steps, with ``padding_value`` after the last of each item; and the lengths."""
    refuse(
        total_length != len(data),
        f"how long the longest sequence is, is not known: give pad_packed_sequence total_length={len(data)}",
    )
    there = _there(data, batch_sizes)
    x = jnp.where(there, data, padding_value)
    return jnp.swapaxes(x, 0, 1) if batch_first else x, there[..., 0].sum(0)


UNLIKE.update((torch._pack_padded_sequence, torch._pad_packed_sequence))


def _there(data: jax.Array, batch_sizes: jax.Array) -> jax.Array:
    """Which steps of packed sequences, the longest first, there are: ``(steps, items, 1)``; all have a first one."""
    count = jnp.concatenate([jnp.full((1,), data.shape[1], batch_sizes.dtype), batch_sizes])
    return (jnp.arange(data.shape[1]) < count[:, None])[..., None]


def _start(module: Any, x: jax.Array) -> State:
    depth = module.num_layers * (1 + module.bidirectional)
    h = jnp.zeros((depth, x.shape[1], module.proj_size or module.hidden_size), x.dtype)
    if not isinstance(module, nn.LSTM):
        return h
    return h, jnp.zeros((depth, x.shape[1], module.hidden_size), x.dtype)


def _layers(
    module: Any, p: Parameters, x: jax.Array, start: State, there: jax.Array | None = None
) -> tuple[jax.Array, State]:
    suffixes = ["", "_reverse"] if module.bidirectional else [""]
    last = []
    for depth in range(module.num_layers):
        if depth:
            x = dropout(p.key, x, module.dropout, p.training)
        states = [_at(start, depth * len(suffixes) + side) for side in range(len(suffixes))]
        runs = [_scan(module, p, f"_l{depth}{suffix}", x, h, there) for suffix, h in zip(suffixes, states, strict=True)]
        last += [end for end, _ in runs]
        x = jnp.concatenate([y for _, y in runs], -1)
    return x, jax.tree.map(lambda *states: jnp.stack(states), *last)


def _at(state: State, index: int) -> State:
    return jax.tree.map(lambda h: h[index], state)


def _scan(
    module: Any, p: Parameters, name: str, x: jax.Array, start: State, there: jax.Array | None
) -> tuple[State, jax.Array]:
    """The last state, and the hidden states of all steps; a step that is not there leaves the state as it is."""

    def step(state: State, now: Any) -> tuple[State, jax.Array]:
        new = _step(module, p, name, now[0], state)
        if now[1] is not None:
            new = jax.tree.map(lambda one, other: jnp.where(now[1], one, other), new, state)
        return new, _hidden(new)

    return jax.lax.scan(step, start, (_linear(p, "ih", name, x), there), reverse=name.endswith("_reverse"))
