"""Layers as functions: linear maps, normalisation, embedding, padding and attention."""

# ruff: noqa: D103 - what a rule computes is said by the torch function that it stands for

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import torch
import torch.nn.functional as F

from ppvae.backends.devices.in_jax import on_cpu
from ppvae.backends.mirror.functions.arguments import alike, mirrors, namesakes, refuse, within
from ppvae.backends.mirror.functions.norms import vector_norm
from ppvae.backends.precision.in_jax import product

Optional = jax.Array | None

_PAD_MODES = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}


@mirrors(F.linear)
def linear(input: jax.Array, weight: jax.Array, bias: Optional = None) -> jax.Array:
    alike(input, weight, bias)
    y = product(_each_row, input, weight)
    return y if bias is None else y + bias


def _each_row(x: jax.Array, w: jax.Array) -> jax.Array:
    """``x @ w.T``.

    The gradient at ``w`` of a table reads columns in place on a CPU; if a row has a multiple of 256 numbers, those of
    a column fall into few lines of its cache. With an axis more XLA copies it first, for a faster library.
    """
    return jnp.matmul(x[None], w.T)[0] if x.ndim == 2 and len(w) % 256 == 0 and on_cpu() else jnp.matmul(x, w.T)


@mirrors(*namesakes("bilinear"))
def bilinear(input1: jax.Array, input2: jax.Array, weight: jax.Array, bias: Optional = None) -> jax.Array:
    alike(input1, input2, weight, bias)
    y = jnp.einsum("...i,kij,...j->...k", input1, weight, input2)
    return y if bias is None else y + bias


@mirrors(F.normalize)
def normalize(input: jax.Array, p: float = 2.0, dim: Any = 1, eps: float = 1e-12, out: None = None) -> jax.Array:
    return input / jnp.maximum(vector_norm(input, p, dim, True), eps)


def _standardised(x: jax.Array, axis: tuple[int, ...], eps: float) -> jax.Array:
    centred = x - jnp.mean(x, axis, keepdims=True)
    return centred * jax.lax.rsqrt(jnp.mean(centred**2, axis, keepdims=True) + eps)


def _affine(x: jax.Array, weight: Optional, bias: Optional = None) -> jax.Array:
    alike(x, weight, bias)
    x = x if weight is None else x * weight
    return x if bias is None else x + bias


@mirrors(*namesakes("layer_norm"))
def layer_norm(
    input: jax.Array,
    normalized_shape: Sequence[int],
    weight: Optional = None,
    bias: Optional = None,
    eps: float = 1e-05,
) -> jax.Array:
    return _affine(_standardised(input, _last(input, normalized_shape), eps), weight, bias)


def _last(input: jax.Array, shape: Sequence[int]) -> tuple[int, ...]:
    """The axes that end in ``shape``."""
    shape = tuple(shape)
    if input.shape[-len(shape) :] != shape:
        raise ValueError(f"normalized_shape is {shape}, but the input's shape is {input.shape}")
    return tuple(range(-len(shape), 0))


@mirrors(*namesakes("rms_norm"))
def rms_norm(
    input: jax.Array, normalized_shape: Sequence[int], weight: Optional = None, eps: float | None = None
) -> jax.Array:
    """Without ``eps`` it is the machine's."""
    margin = float(jnp.finfo(input.dtype).eps) if eps is None else eps
    square = jnp.mean(input**2, _last(input, normalized_shape), keepdims=True)
    return _affine(input * jax.lax.rsqrt(square + margin), weight)


@mirrors(*namesakes("group_norm"))
def group_norm(
    input: jax.Array, num_groups: int, weight: Optional = None, bias: Optional = None, eps: float = 1e-05
) -> jax.Array:
    """Groups of the channels (dim 1); weight and bias have one entry a channel."""
    groups = input.reshape(input.shape[0], num_groups, -1)
    y = _standardised(groups, (-1,), eps).reshape(input.shape)
    channels = (-1,) + (1,) * (input.ndim - 2)
    return _affine(y, *(None if a is None else a.reshape(channels) for a in (weight, bias)))


@mirrors(F.instance_norm)
def instance_norm(
    input: jax.Array,
    running_mean: None = None,
    running_var: None = None,
    weight: Optional = None,
    bias: Optional = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-05,
) -> jax.Array:
    running = running_mean is not None or running_var is not None or not use_input_stats
    refuse(running, "instance_norm() is mirrored without running statistics, which SVI cannot own")
    return group_norm(input, input.shape[1], weight, bias, eps)


@mirrors(F.embedding)
def embedding(
    input: jax.Array,
    weight: jax.Array,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> jax.Array:
    """Rows of ``weight``; the row at ``padding_idx`` gets no gradient."""
    refuse(max_norm is not None, "embedding(max_norm=) changes its weight in place; normalise the rows instead")
    refuse(scale_grad_by_freq, "embedding(scale_grad_by_freq=True) has no mirror")
    rows = jnp.take(weight, within(input, len(weight)), 0)
    if padding_idx is None:
        return rows
    padding = (input == padding_idx % weight.shape[0])[..., None]
    return jnp.where(padding, jax.lax.stop_gradient(rows), rows)


@mirrors(torch.embedding)
def torch_embedding(weight: jax.Array, indices: jax.Array, padding_idx: int = -1) -> jax.Array:
    """``torch.embedding``: arguments the other way round, and no padding for -1."""
    return embedding(indices, weight, None if padding_idx == -1 else padding_idx)


@mirrors(F.pad)
def pad(input: jax.Array, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> jax.Array:
    """Pairs (before, after) from the last dim backwards; negative widths crop."""
    pairs = [(0, 0)] * (input.ndim - len(pad) // 2) + list(zip(pad[::2], pad[1::2], strict=True))[::-1]
    if mode == "constant":
        zero = jnp.asarray(0 if value is None else value, input.dtype)
        return jax.lax.pad(input, zero, [(low, high, 0) for low, high in pairs])
    spare = input.ndim - len(pad) // 2
    refuse(spare not in (1, 2), f"pad({mode!r}) leaves one dim or two alone, and here {spare}")
    limit = {"reflect": 1, "circular": 0}.get(mode, -math.inf)
    for size, pair in zip(input.shape, pairs, strict=True):
        refuse(max(pair) > size - limit, f"pad({mode!r}) by {pair} is wider than the input's {size}")
    wider = jnp.pad(input, [(max(low, 0), max(high, 0)) for low, high in pairs], _PAD_MODES[mode])
    return wider[
        tuple(slice(max(-low, 0), n + min(high, 0)) for n, (low, high) in zip(wider.shape, pairs, strict=True))
    ]


@mirrors(F.scaled_dot_product_attention)
def scaled_dot_product_attention(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    attn_mask: Optional = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> jax.Array:
    """True in a boolean mask means "look at it"; a query that may look at nothing gets zeros."""
    refuse(dropout_p, "scaled_dot_product_attention(dropout_p > 0) draws at random; use a Dropout layer")
    refuse(is_causal and attn_mask is not None, "give attn_mask or is_causal, not both")
    if enable_gqa:
        key, value = (jnp.repeat(x, query.shape[-3] // x.shape[-3], -3) for x in (key, value))
    scale = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    logits = product(lambda q, k: jnp.matmul(q, k.mT), query, key) * scale
    if is_causal:
        attn_mask = jnp.tril(jnp.ones(logits.shape[-2:], bool))
    if attn_mask is not None:
        logits = jnp.where(attn_mask, logits, -jnp.inf) if attn_mask.dtype == bool else logits + attn_mask
    return product(jnp.matmul, _safe_softmax(logits), value)


def _safe_softmax(logits: jax.Array) -> jax.Array:
    top = jax.lax.stop_gradient(jnp.max(logits, -1, keepdims=True))
    weights = jnp.exp(logits - jnp.where(jnp.isneginf(top), 0, top))
    total = jnp.sum(weights, -1, keepdims=True)
    return weights / jnp.where(total == 0, 1, total)
