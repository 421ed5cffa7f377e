"""Bags of embeddings: sums, means and maxima of rows of a table."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import torch.nn.functional as F

from ppvae.backends.mirror.functions.arguments import mirrors, refuse

Optional = jax.Array | None


@mirrors(F.embedding_bag)
def embedding_bag(
    input: jax.Array,
    weight: jax.Array,
    offsets: Optional = None,
    max_norm: float | None = None,
    norm_type: float = 2,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    sparse: bool = False,
    per_sample_weights: Optional = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> jax.Array:
    """Bags are the rows of ``input``, or runs of a vector that begin at ``offsets``; empty ones give zeros."""
    refuse(max_norm is not None, "embedding_bag(max_norm=) changes its weight in place; normalise the rows instead")
    refuse(scale_grad_by_freq, "embedding_bag(scale_grad_by_freq=True) has no mirror")
    indices, bag, bags = _bags(input, offsets, include_last_offset)
    kept = jnp.ones(indices.shape, bool) if padding_idx is None else indices != padding_idx % len(weight)
    rows = weight[indices]
    if per_sample_weights is not None:
        rows = rows * per_sample_weights.reshape(-1, 1)
    return _pooled(rows, kept, bag, bags, mode)


def _bags(input: jax.Array, offsets: Optional, closed: bool) -> tuple[jax.Array, jax.Array, int]:
    """The indices in one row, the bag of each, and the number of bags."""
    if input.ndim == 2:
        return input.reshape(-1), jnp.repeat(jnp.arange(len(input)), input.shape[1]), len(input)
    assert offsets is not None, "torch asks for offsets with a vector of indices"
    starts = offsets[:-1] if closed else offsets
    bag = jnp.searchsorted(starts, jnp.arange(len(input)), side="right") - 1
    return input, bag, len(starts)


def _pooled(rows: jax.Array, kept: jax.Array, bag: jax.Array, bags: int, mode: str) -> jax.Array:
    count = jax.ops.segment_sum(kept.astype(rows.dtype), bag, bags)[:, None]
    if mode == "max":
        top = jax.ops.segment_max(jnp.where(kept[:, None], rows, -jnp.inf), bag, bags)
        return jnp.where(count > 0, top, 0)
    total = jax.ops.segment_sum(jnp.where(kept[:, None], rows, 0), bag, bags)
    return total if mode == "sum" else total / jnp.maximum(count, 1)
