"""Experts: products and mixtures of diagonal Gaussian experts, as pure maths over (loc, scale, present).

Experts are stacked: ``loc`` and ``scale`` have shape ``(modality, items, latent)``, ``present`` is boolean of shape
``(modality, items)``. An item with nothing present gets the standard normal prior.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

from ppvae.language.ppl import dist, distribution, items, ops

NEVER = -1e9  # the log weight of what must not be chosen: finite, as NumPyro asks of logits


def subsets(modalities: int) -> list[list[bool]]:
    """All non-empty subsets, as booleans ``(2^modalities - 1, modalities)``."""
    return [list(row) for row in itertools.product([False, True], repeat=modalities) if any(row)]


def members(modalities: int) -> Any:
    """The same as zeros and ones, computed where they are used: a GPU is waited for while a list of them is sent."""
    float_dtype = items().float_dtype()
    number = ops.arange(1, 2**modalities, dtype=float_dtype)[:, None]
    return ops.floor(number * 0.5 ** ops.arange(modalities - 1, -1, -1, dtype=float_dtype)) % 2


def random_subsets(count: int, modalities: int) -> Any:
    """Non-empty subsets, each as likely as any other: zeros and ones ``(count, modalities)``.

    Members are drawn one by one, so that no list of all subsets is made. That the first member is m, given that none
    came before, has the share of the subsets which begin with m among those which begin there or later. Shares are
    computed where they are used, too.
    """
    after = modalities - 1 - ops.arange(modalities, dtype=items().float_dtype())
    first = ops.bernoulli(1 / (2 - 0.5**after) + ops.zeros((count, 1)))
    later = ops.bernoulli(ops.full((count, modalities), 0.5))
    return ops.where(ops.cumsum(first, 1) > first, later, first)


def products(loc: Any, scale: Any, present: Any, members: Any, prior: bool) -> tuple[Any, Any]:
    """The product of the experts in each subset that are present: ``q ∝ p(z)^[prior] ∏ q_m`` (Hinton 2002).

    ``members`` is ``(subset, modality)``, zeros and ones; returns loc and scale ``(subset, items, latent)``. Works on
    log precisions relative to the sharpest expert, so that scales may differ by many orders of magnitude. What an
    absent expert says, infinite or not a number, moves neither value nor gradient.
    """
    precision, loc, top = _relative(loc, scale, present)
    return gaussian(_added(members, precision), _added(members, precision * loc), top, prior)


def _added(members: Any, each: Any) -> Any:
    """Sums ``(subset, items, latent)`` over the members of each subset; XLA turns no table in their gradient."""
    return ops.reshape(members @ ops.reshape(each, (len(each), -1)), (-1, *each.shape[1:]))


def shared_products(loc: Any, scale: Any, present: Any, members: Any) -> tuple[Any, Any]:
    """For each subset the product of what it shares with what is present; of all present where it shares nothing.

    Takes and returns what :func:`products` does, and needs no list of all subsets.
    """
    part_loc, part_scale = products(loc, scale, present, members, prior=False)
    whole_loc, whole_scale = product(loc, scale, present, prior=False)
    empty = (ops.einsum("sm,mi->si", members, ops.where(present, 1.0, 0.0)) == 0)[..., None]
    return ops.where(empty, whole_loc, part_loc), ops.where(empty, whole_scale, part_scale)


def product(loc: Any, scale: Any, present: Any, prior: bool = True) -> tuple[Any, Any]:
    """The product of the experts present (and the prior): loc and scale ``(items, latent)``."""
    if len(loc) == 1 and not prior:
        loc, scale = singly(loc, scale, present)
        return loc[0], scale[0]
    precision, loc, top = _relative(loc, scale, present)
    return gaussian(ops.sum(precision, 0), ops.sum(precision * loc, 0), top, prior)


def generalised_product(loc: Any, scale: Any, present: Any, logits: Any, prior: bool = True) -> tuple[Any, Any]:
    """``q ∝ p(z)^[prior] ∏ q_m^a_m``, the powers a softmax over those present (Cao & Fleet 2014).

    ``logits`` broadcast against ``loc``; returns loc and scale ``(items, latent)``.
    """
    log_power = ops.log_softmax(ops.where(present[..., None], logits, NEVER), 0)
    precision, loc, top = _relative(loc, scale, present, log_power)
    return gaussian(ops.sum(precision, 0), ops.sum(precision * loc, 0), top, prior)


def singly(loc: Any, scale: Any, present: Any) -> tuple[Any, Any]:
    """Location and scale of each expert alone, ``(modality, items, latent)``: 0 and 1 where it is absent."""
    there = present[..., None]
    return ops.where(there, loc, 0.0), ops.where(there, scale, 1.0)


def _relative(loc: Any, scale: Any, present: Any, log_power: Any = None) -> tuple[Any, Any, Any]:
    """Precisions and locations, zero where absent, and the log of the unit that precisions are in."""
    there = present[..., None]
    log_precision = -2.0 * ops.log(ops.where(there, scale, math.inf))
    if log_power is not None:
        log_precision = log_power + log_precision
    top = ops.clamp(ops.amax(ops.detach(log_precision), 0), min=0.0)
    return ops.exp(log_precision - top), ops.where(there, loc, 0.0), top


def gaussian(total: Any, weighted: Any, top: Any, prior: bool) -> tuple[Any, Any]:
    """Location and scale, given sums of precisions and of precision-weighted locations; the prior where all is zero."""
    alone = ops.exp(-top)
    total = total + (alone if prior else ops.where(total == 0, alone, 0.0))
    return weighted / total, ops.rsqrt(total) * ops.exp(-0.5 * top)


def mixture(loc: Any, scale: Any, weights: Any = None, family: Any = None, *, logits: Any = None) -> Any:
    """The mixture ``Σ_k w_k q_k`` of diagonal Gaussians or Laplaces, a distribution over ``(items,)`` vectors.

    A component is drawn per item and per draw; ``log_prob`` is the mixture's. Gradients of draws flow through the
    chosen component alone: they are unbiased where the weights hold no parameter. See :mod:`ppvae.parts.pools` for
    weights that do.

    Args:
        loc, scale: ``(component, items, latent)``, or with any other batch shape in place of the items.
        weights: ``(component, items)``, summing to one over components.
        family: ``dist.Laplace``, or the normal distribution by default.
        logits: the weights' logs, instead of them.
    """
    family = family or items().Normal
    logits = ops.log(weights) if logits is None else logits
    known = moments(loc, scale, ops.exp(logits), family(0.0, 1.0).variance)
    loc, scale, logits = ops.moveaxis(loc, 0, -2), ops.moveaxis(scale, 0, -2), ops.moveaxis(logits, 0, -1)
    components, latent = loc.shape[-2:]

    def sample(draw: Any) -> Any:
        which = draw(dist.Categorical(logits=ops.clamp(ops.detach(logits), min=NEVER)))
        chosen = ops.one_hot(which, components) * ops.ones_like(loc[..., :, 0])  # type: ignore[attr-defined]
        noise = draw(family(ops.zeros_like(loc[..., 0, :]), 1.0))
        pick = "...k,...kl->...l"
        return ops.einsum(pick, chosen, loc) + ops.einsum(pick, chosen, scale) * noise

    def log_prob(z: Any) -> Any:
        each = family(loc, scale).to_event(1).log_prob(z[..., None, :])
        return ops.logsumexp(each + logits, -1)

    return distribution(sample, log_prob, loc.shape[:-2], (latent,), *known)


def moments(loc: Any, scale: Any, weights: Any, unit: Any = 1.0) -> tuple[Any, Any]:
    """Mean and variance ``(items, latent)`` of a mixture whose components have variance ``unit * scale²``."""
    weights = weights[..., None]
    mean = ops.sum(weights * loc, 0)
    return mean, ops.sum(weights * (unit * scale**2 + (loc - mean) ** 2), 0)


def present_subsets(present: Any, members: Any) -> Any:
    """Which subsets hold only modalities that are present: booleans ``(subset, items)``.

    ``members`` is ``(subset, modality)``, zeros and ones. Where nothing is present every subset is allowed: its
    product is the prior.
    """
    absent = ops.where(present, 0.0, 1.0)
    missing = ops.einsum("sm,mi->si", members, absent)
    return (missing == 0) | ~ops.any(present, 0)


def uniform(allowed: Any) -> Any:
    """Equal weights over what is allowed, ``(component, items)`` booleans; they sum to one over components."""
    chosen = ops.where(allowed, 1.0, 0.0)
    return chosen / ops.sum(chosen, 0)


def evenly(present: Any) -> Any:
    """Equal weights of the experts that are present, ``(modality, items)`` booleans; of all where none is."""
    return uniform(present | ~ops.any(present, 0))
