"""Attention: multi-head attention as torch computes it, and the stacks of a Transformer."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import torch.nn.functional as F
from torch import nn

from ppvae.backends.mirror.functions.arguments import refuse
from ppvae.backends.mirror.layers.dropout import dropout
from ppvae.backends.mirror.layers.functional import linear, scaled_dot_product_attention
from ppvae.backends.mirror.running.interpret import forward
from ppvae.backends.mirror.running.parameters import Parameters
from ppvae.backends.mirror.running.tables import Key, layer, random_function
from ppvae.backends.precision.in_jax import product

Optional = jax.Array | None


@random_function(F.multi_head_attention_forward)
def multi_head_attention(
    draw: Key,
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    embed_dim_to_check: int,
    num_heads: int,
    in_proj_weight: Optional,
    in_proj_bias: Optional,
    bias_k: Optional,
    bias_v: Optional,
    add_zero_attn: bool,
    dropout_p: float,
    out_proj_weight: jax.Array,
    out_proj_bias: Optional,
    training: bool = True,
    key_padding_mask: Optional = None,
    need_weights: bool = True,
    attn_mask: Optional = None,
    use_separate_proj_weight: bool = False,
    q_proj_weight: Optional = None,
    k_proj_weight: Optional = None,
    v_proj_weight: Optional = None,
    static_k: Optional = None,
    static_v: Optional = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
) -> tuple[jax.Array, Optional]:
    """``(steps, items, features)``, or without items; the weights are ``(items, [heads,] steps, sources)``."""
    refuse(static_k is not None or static_v is not None, "multi_head_attention_forward(static_k=) has no mirror")
    refuse(is_causal and attn_mask is None, "attention with is_causal=True needs its attn_mask as well")
    single = query.ndim == 2
    if single:
        query, key, value = (x[:, None] for x in (query, key, value))
    kernels: Any = (q_proj_weight, k_proj_weight, v_proj_weight)
    if in_proj_weight is not None and not use_separate_proj_weight:
        kernels = jnp.split(in_proj_weight, 3)
    biases: Any = (None,) * 3 if in_proj_bias is None else jnp.split(in_proj_bias, 3)
    q, k, v = (linear(x, w, b) for x, w, b in zip((query, key, value), kernels, biases, strict=True))
    extra: list[Any] = [(bias_k, bias_v)] if bias_k is not None else []
    extra += [(jnp.zeros((1, 1, k.shape[-1]), k.dtype),) * 2] if add_zero_attn else []
    for more_k, more_v in extra:
        k, v = _longer(k, more_k), _longer(v, more_v)
    q, k, v = (_heads(x, num_heads) for x in (q, k, v))
    mask = _mask(attn_mask, key_padding_mask, q, key.shape[0], len(extra))
    y, weights = _attend(draw, q, k, v, mask, dropout_p if training else 0.0, need_weights)
    y = linear(y.transpose(2, 0, 1, 3).reshape(query.shape[0], query.shape[1], -1), out_proj_weight, out_proj_bias)
    if weights is not None and average_attn_weights:
        weights = weights.mean(1)
    if single:
        return y[:, 0], None if weights is None else weights[0]
    return y, weights


def _longer(x: jax.Array, more: jax.Array) -> jax.Array:
    return jnp.concatenate([x, jnp.broadcast_to(more, (1, *x.shape[1:]))])


def _heads(x: jax.Array, heads: int) -> jax.Array:
    """``(steps, items, features)`` to ``(items, heads, steps, features / heads)``."""
    return x.reshape(*x.shape[:2], heads, -1).transpose(1, 2, 0, 3)


def _mask(mask: Optional, padding: Optional, q: jax.Array, sources: int, extra: int) -> jax.Array:
    """What is added to the logits: both masks, and zeros for sources that the layer itself adds."""
    items, heads, steps, _ = q.shape
    total = jnp.zeros((1, 1, 1, sources), q.dtype)
    if mask is not None:
        shape = (1, 1) if mask.ndim == 2 else (items, heads)
        total = total + _additive(mask, q).reshape(*shape, steps, sources)
    if padding is not None:
        total = total + _additive(padding, q).reshape(-1, 1, 1, sources)
    return jnp.pad(total, [(0, 0)] * 3 + [(0, extra)])


def _additive(mask: jax.Array, like: jax.Array) -> jax.Array:
    """In the masks of attention layers, unlike in ``scaled_dot_product_attention``, True hides."""
    return jnp.where(mask, -jnp.inf, 0).astype(like.dtype) if mask.dtype == bool else mask


def _attend(
    draw: Key, q: jax.Array, k: jax.Array, v: jax.Array, mask: jax.Array, rate: float, need_weights: bool
) -> tuple[jax.Array, Optional]:
    """A query that may look at nothing gets NaN where torch returns weights, and zeros where it does not."""
    if not need_weights and rate == 0:
        return scaled_dot_product_attention(q, k, v, mask), None
    weights = jax.nn.softmax(product(lambda q, k: q @ k.mT, q, k) / math.sqrt(q.shape[-1]) + mask, -1)
    weights = dropout(draw, weights, rate)
    return product(jnp.matmul, weights, v), weights if need_weights else None


@layer(nn.MultiheadAttention)
def multi_head_layer(
    module: Any,
    p: Parameters,
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    key_padding_mask: Optional = None,
    need_weights: bool = True,
    attn_mask: Optional = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
) -> tuple[jax.Array, Optional]:
    """``(steps, items, features)``, with ``batch_first`` ``(items, steps, features)``, or without items."""
    turned = module.batch_first and query.ndim == 3
    query, key, value = (jnp.swapaxes(x, 0, 1) if turned else x for x in (query, key, value))
    names = ("in_proj_weight", "in_proj_bias", "bias_k", "bias_v", *(f"{part}_proj_weight" for part in "qkv"))
    weights: dict[str, Any] = {name: p.get(name) for name in names}
    attend: Any = multi_head_attention
    y, shares = attend(
        p.key,
        query,
        key,
        value,
        embed_dim_to_check=module.embed_dim,
        num_heads=module.num_heads,
        add_zero_attn=module.add_zero_attn,
        dropout_p=module.dropout,
        out_proj_weight=p["out_proj.weight"],
        out_proj_bias=p.get("out_proj.bias"),
        training=p.training,
        key_padding_mask=key_padding_mask,
        need_weights=need_weights,
        attn_mask=attn_mask,
        use_separate_proj_weight=p.get("in_proj_weight") is None,
        average_attn_weights=average_attn_weights,
        is_causal=is_causal,
        **weights,
    )
    return jnp.swapaxes(y, 0, 1) if turned else y, shares


class _Called(nn.Module):
    """A function as a module, so that it is mirrored like one."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Any) -> Any:
        return self.function(x)


def _part(module: Any, p: Parameters, name: str, x: jax.Array) -> jax.Array:
    part = getattr(module, name)
    return forward(part if isinstance(part, nn.Module) else _Called(part), p.child(name), x)


def _attended(
    module: Any, p: Parameters, name: str, x: jax.Array, source: Optional, mask: Optional, padding: Optional
) -> jax.Array:
    """Attention to ``source``, or without one to ``x`` itself, and the dropout that follows it."""
    source = x if source is None else source
    options = {"attn_mask": mask, "key_padding_mask": padding, "need_weights": False}
    y = forward(getattr(module, name), p.child(name), x, source, source, **options)[0]
    return _part(module, p, "dropout1" if name == "self_attn" else "dropout2", y)


def _fed(module: Any, p: Parameters, last: str, x: jax.Array) -> jax.Array:
    for name in ("linear1", "activation", "dropout", "linear2", last):
        x = _part(module, p, name, x)
    return x


def _residual(module: Any, p: Parameters, norm: str, block: Any, x: jax.Array) -> jax.Array:
    if module.norm_first:
        return x + block(_part(module, p, norm, x))
    return _part(module, p, norm, x + block(x))


@layer(nn.TransformerEncoderLayer)
def encoder_layer(
    module: Any,
    p: Parameters,
    src: jax.Array,
    src_mask: Optional = None,
    src_key_padding_mask: Optional = None,
    is_causal: bool = False,
) -> jax.Array:
    """Self-attention, then the feed-forward block."""
    masks = (src_mask, src_key_padding_mask)
    x = _residual(module, p, "norm1", lambda x: _attended(module, p, "self_attn", x, None, *masks), src)
    return _residual(module, p, "norm2", lambda x: _fed(module, p, "dropout2", x), x)


@layer(nn.TransformerDecoderLayer)
def decoder_layer(
    module: Any,
    p: Parameters,
    tgt: jax.Array,
    memory: jax.Array,
    tgt_mask: Optional = None,
    memory_mask: Optional = None,
    tgt_key_padding_mask: Optional = None,
    memory_key_padding_mask: Optional = None,
    tgt_is_causal: bool = False,
    memory_is_causal: bool = False,
) -> jax.Array:
    """Self-attention, attention to the memory, then the feed-forward block."""
    own, its = (tgt_mask, tgt_key_padding_mask), (memory_mask, memory_key_padding_mask)
    x = _residual(module, p, "norm1", lambda x: _attended(module, p, "self_attn", x, None, *own), tgt)
    x = _residual(module, p, "norm2", lambda x: _attended(module, p, "multihead_attn", x, memory, *its), x)
    return _residual(module, p, "norm3", lambda x: _fed(module, p, "dropout3", x), x)


@layer(nn.TransformerEncoder)
def transformer_encoder(
    module: Any,
    p: Parameters,
    src: jax.Array,
    mask: Optional = None,
    src_key_padding_mask: Optional = None,
    is_causal: bool | None = None,
) -> jax.Array:
    """The layers in turn; ``is_causal`` only ever hints at what the mask says."""
    for index, block in enumerate(module.layers):
        at = p.child(f"layers.{index}")
        src = forward(block, at, src, src_mask=mask, src_key_padding_mask=src_key_padding_mask)
    return src if module.norm is None else forward(module.norm, p.child("norm"), src)


@layer(nn.TransformerDecoder)
def transformer_decoder(
    module: Any,
    p: Parameters,
    tgt: jax.Array,
    memory: jax.Array,
    tgt_mask: Optional = None,
    memory_mask: Optional = None,
    tgt_key_padding_mask: Optional = None,
    memory_key_padding_mask: Optional = None,
    tgt_is_causal: bool | None = None,
    memory_is_causal: bool = False,
) -> jax.Array:
    """The layers in turn."""
    masks = (tgt_mask, memory_mask, tgt_key_padding_mask, memory_key_padding_mask)
    for index, block in enumerate(module.layers):
        tgt = forward(block, p.child(f"layers.{index}"), tgt, memory, *masks)
    return tgt if module.norm is None else forward(module.norm, p.child("norm"), tgt)
