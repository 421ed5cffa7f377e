"""Margin losses: what falls short of a margin is counted, and nothing else."""

# ruff: noqa: D103 - what a rule computes is said by the torch function that it stands for

from __future__ import annotations

import jax
import jax.numpy as jnp
import torch.nn.functional as F

from ppvae.backends.mirror.functions.arguments import mirrors, refuse
from ppvae.backends.mirror.functions.elementwise import clamp
from ppvae.backends.mirror.functions.losses import reduced
from ppvae.backends.mirror.functions.norms import cosine_similarity, pairwise_distance


@mirrors(F.margin_ranking_loss)
def margin_ranking_loss(
    input1: jax.Array,
    input2: jax.Array,
    target: jax.Array,
    margin: float = 0,
    size_average: None = None,
    reduce: None = None,
    reduction: str = "mean",
) -> jax.Array:
    return reduced(_hinge(margin - target * (input1 - input2)), reduction, size_average, reduce)


@mirrors(F.hinge_embedding_loss)
def hinge_embedding_loss(
    input: jax.Array,
    target: jax.Array,
    margin: float = 1.0,
    size_average: None = None,
    reduce: None = None,
    reduction: str = "mean",
) -> jax.Array:
    far = jnp.where(target == 1, 0, _hinge(margin - input))
    return reduced(far + jnp.where(target == -1, 0, input), reduction, size_average, reduce)


@mirrors(F.cosine_embedding_loss)
def cosine_embedding_loss(
    input1: jax.Array,
    input2: jax.Array,
    target: jax.Array,
    margin: float = 0,
    size_average: None = None,
    reduce: None = None,
    reduction: str = "mean",
) -> jax.Array:
    cosine = cosine_similarity(input1, input2, -1)
    loss = jnp.where(target == 1, 1 - cosine, jnp.where(target == -1, _hinge(cosine - margin), 0))
    return reduced(loss, reduction, size_average, reduce)


@mirrors(F.triplet_margin_loss)
def triplet_margin_loss(
    anchor: jax.Array,
    positive: jax.Array,
    negative: jax.Array,
    margin: float = 1.0,
    p: float = 2,
    eps: float = 1e-06,
    swap: bool = False,
    size_average: None = None,
    reduce: None = None,
    reduction: str = "mean",
) -> jax.Array:
    refuse(swap, "triplet_margin_loss(swap=True) has no mirror")
    near, far = (pairwise_distance(anchor, other, p, eps) for other in (positive, negative))
    return reduced(_hinge(margin + near - far), reduction, size_average, reduce)


def _hinge(x: jax.Array) -> jax.Array:
    """The positive part, whose gradient passes at zero."""
    return clamp(x, 0)
