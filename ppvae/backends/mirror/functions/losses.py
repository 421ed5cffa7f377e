"""Losses of ``torch.nn.functional``: averaged over every element unless ``reduction`` says otherwise."""

# ruff: noqa: D103 - what a rule computes is said by the torch function that it stands for

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import jax.scipy.special as special
import torch.nn.functional as F

from ppvae.backends.mirror.functions.activations import softplus
from ppvae.backends.mirror.functions.arguments import is_floating, mirrors, refuse, within
from ppvae.backends.mirror.functions.elementwise import magnitude

Optional = jax.Array | None


def reduced(loss: jax.Array, reduction: str, size_average: Any = None, reduce: Any = None) -> jax.Array:
    """The mean or the sum over all elements, or the losses as they are."""
    refuse(size_average is not None or reduce is not None, "size_average and reduce are deprecated; use reduction")
    if reduction == "none":
        return loss
    if reduction not in ("mean", "sum"):
        raise ValueError(f"{reduction} is not a valid value for reduction")
    return loss.mean() if reduction == "mean" else loss.sum()


def _weighted(loss: jax.Array, weight: Optional) -> jax.Array:
    return loss if weight is None else loss * weight


def _weighted_mean(loss: jax.Array, weight: Optional, reduction: str, legacy: tuple[Any, Any]) -> jax.Array:
    """The mean of a weighted error is over the sum of the weights; Huber's alone is over the elements."""
    if weight is None or reduction != "mean":
        return reduced(_weighted(loss, weight), reduction, *legacy)
    return jnp.sum(loss * weight) / jnp.sum(jnp.broadcast_to(weight, loss.shape))


@mirrors(F.mse_loss)
def mse_loss(
    input: jax.Array,
    target: jax.Array,
    size_average: None = None,
    reduce: None = None,
    reduction: str = "mean",
    weight: Optional = None,
) -> jax.Array:
    return _weighted_mean((input - target) ** 2, weight, reduction, (size_average, reduce))


@mirrors(F.l1_loss)
def l1_loss(
    input: jax.Array,
    target: jax.Array,
    size_average: None = None,
    reduce: None = None,
    reduction: str = "mean",
    weight: Optional = None,
) -> jax.Array:
    return _weighted_mean(magnitude(input - target), weight, reduction, (size_average, reduce))


@mirrors(F.huber_loss)
def huber_loss(
    input: jax.Array, target: jax.Array, reduction: str = "mean", delta: float = 1.0, weight: Optional = None
) -> jax.Array:
    return reduced(_weighted(delta * _smooth_abs(input - target, delta), weight), reduction)


@mirrors(F.smooth_l1_loss)
def smooth_l1_loss(
    input: jax.Array,
    target: jax.Array,
    size_average: None = None,
    reduce: None = None,
    reduction: str = "mean",
    beta: float = 1.0,
) -> jax.Array:
    error = input - target
    return reduced(_smooth_abs(error, beta) if beta else magnitude(error), reduction, size_average, reduce)


def _smooth_abs(error: jax.Array, width: float) -> jax.Array:
    """The modulus, with a parabola within ``width`` of zero."""
    size = magnitude(error)
    return jnp.where(size < width, 0.5 * error**2 / width, size - 0.5 * width)


@jax.custom_jvp
def _cross_entropy_of_bits(p: jax.Array, target: jax.Array) -> jax.Array:
    log_p, log_q = (jnp.maximum(x, -100) for x in (jnp.log(p), jnp.log1p(-p)))
    return -(target * log_p + (1 - target) * log_q)


@_cross_entropy_of_bits.defjvp
def _cross_entropy_of_bits_jvp(primals: Any, tangents: Any) -> tuple[jax.Array, jax.Array]:
    """The logarithms are cut at -100, but the gradient is that of the uncut ones, kept finite."""
    (p, target), (dp, dtarget) = primals, tangents
    slope = (p - target) / jnp.maximum(p * (1 - p), 1e-12)
    return _cross_entropy_of_bits(p, target), slope * dp + (jnp.log1p(-p) - jnp.log(p)) * dtarget


@mirrors(F.binary_cross_entropy)
def binary_cross_entropy(
    input: jax.Array,
    target: jax.Array,
    weight: Optional = None,
    size_average: None = None,
    reduce: None = None,
    reduction: str = "mean",
) -> jax.Array:
    return reduced(_weighted(_cross_entropy_of_bits(input, target), weight), reduction, size_average, reduce)


@mirrors(F.binary_cross_entropy_with_logits)
def binary_cross_entropy_with_logits(
    input: jax.Array,
    target: jax.Array,
    weight: Optional = None,
    size_average: None = None,
    reduce: None = None,
    reduction: str = "mean",
    pos_weight: Optional = None,
) -> jax.Array:
    positive = 1 if pos_weight is None else 1 + (pos_weight - 1) * target
    loss = (1 - target) * input - positive * jax.nn.log_sigmoid(input)
    return reduced(_weighted(loss, weight), reduction, size_average, reduce)


@mirrors(F.nll_loss)
def nll_loss(
    input: jax.Array,
    target: jax.Array,
    weight: Optional = None,
    size_average: None = None,
    ignore_index: int = -100,
    reduce: None = None,
    reduction: str = "mean",
) -> jax.Array:
    """Classes lie along dim 1, or along the only dim; a mean is over the weights of the classes counted."""
    axis = min(input.ndim - 1, 1)
    counted = target != ignore_index
    index = within(jnp.where(counted, target, 0), input.shape[axis])
    picked = jnp.take_along_axis(input, jnp.expand_dims(index, axis), axis).squeeze(axis)
    weights = jnp.where(counted, 1 if weight is None else weight[index], 0).astype(input.dtype)
    loss = -jnp.where(counted, picked, 0) * weights
    if reduction == "mean":
        return reduced(loss, "sum", size_average, reduce) / weights.sum()
    return reduced(loss, reduction, size_average, reduce)


@mirrors(F.cross_entropy)
def cross_entropy(
    input: jax.Array,
    target: jax.Array,
    weight: Optional = None,
    size_average: None = None,
    ignore_index: int = -100,
    reduce: None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> jax.Array:
    """The target is one class per row, or the probabilities of all of them."""
    axis = min(input.ndim - 1, 1)
    log_p = jax.nn.log_softmax(input, axis)
    classes = input.shape[axis]
    channels = [-1 if d == axis else 1 for d in range(input.ndim)]
    weighted = log_p if weight is None else log_p * weight.reshape(channels)
    if is_floating(target):
        smoothed = target * (1 - label_smoothing) + label_smoothing / classes
        loss = -jnp.sum(smoothed * weighted, axis)
        total = reduced(loss, "sum" if reduction == "mean" else reduction, size_average, reduce)
        return total / loss.size if reduction == "mean" else total
    sharp = nll_loss(log_p, target, weight, size_average, ignore_index, reduce, reduction)
    if not label_smoothing:
        return sharp
    counted = target != ignore_index
    even = jnp.where(counted, -jnp.sum(weighted, axis), 0)
    if reduction == "mean":
        share = counted if weight is None else jnp.where(counted, weight[jnp.where(counted, target, 0)], 0)
        even = even.sum() / share.sum()
    else:
        even = reduced(even, reduction)
    return (1 - label_smoothing) * sharp + label_smoothing / classes * even


@mirrors(F.kl_div)
def kl_div(
    input: jax.Array,
    target: jax.Array,
    size_average: None = None,
    reduce: None = None,
    reduction: str = "mean",
    log_target: bool = False,
) -> jax.Array:
    """``input`` holds log-probabilities; "mean" is over elements, "batchmean" over the first dim."""
    cross = (jnp.exp(target) if log_target else target) * input
    entropy = jnp.exp(target) * target if log_target else special.xlogy(target, target)
    if reduction == "batchmean":
        return (entropy - cross).sum() / (input.shape[0] if input.ndim else 1)
    return reduced(entropy - cross, reduction, size_average, reduce)


@mirrors(F.gaussian_nll_loss)
def gaussian_nll_loss(
    input: jax.Array,
    target: jax.Array,
    var: Any,
    full: bool = False,
    eps: float = 1e-06,
    reduction: str = "mean",
) -> jax.Array:
    """A variance below ``eps`` is raised to it, while its gradient passes as if it were not."""
    var = jnp.broadcast_to(jnp.asarray(var, input.dtype), input.shape) if jnp.ndim(var) == 0 else var
    if var.shape != input.shape and var.shape == input.shape[:-1]:
        var = var[..., None]
    var = var + jax.lax.stop_gradient(jnp.maximum(var, eps) - var)
    loss = 0.5 * (jnp.log(var) + (input - target) ** 2 / var)
    return reduced(loss + 0.5 * math.log(2 * math.pi) if full else loss, reduction)


@mirrors(F.poisson_nll_loss)
def poisson_nll_loss(
    input: jax.Array,
    target: jax.Array,
    log_input: bool = True,
    full: bool = False,
    size_average: None = None,
    eps: float = 1e-08,
    reduce: None = None,
    reduction: str = "mean",
) -> jax.Array:
    """``full`` adds Stirling's approximation where the target is above 1."""
    loss = jnp.exp(input) - target * input if log_input else input - target * jnp.log(input + eps)
    if full:
        count = jnp.where(target > 1, target, 1)
        stirling = count * jnp.log(count) - count + 0.5 * jnp.log(2 * math.pi * count)
        loss = loss + jnp.where(target > 1, stirling, 0)
    return reduced(loss, reduction, size_average, reduce)


@mirrors(F.soft_margin_loss)
def soft_margin_loss(
    input: jax.Array,
    target: jax.Array,
    size_average: None = None,
    reduce: None = None,
    reduction: str = "mean",
) -> jax.Array:
    return reduced(softplus(-target * input, 1, math.inf), reduction, size_average, reduce)
