"""Experts: products and mixtures of diagonal Gaussians, as pure maths over (loc, scale, present).

Experts are stacked: ``loc`` and ``scale`` have shape ``(modality, items, latent)``, ``present`` is boolean of shape
``(modality, items)``. An item with nothing present gets the standard normal prior.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

from ppvae.ppl import dist, distribution, ops


def subsets(modalities: int) -> list[list[bool]]:
    """All non-empty subsets, as booleans ``(2^modalities - 1, modalities)``."""
    return [list(row) for row in itertools.product([False, True], repeat=modalities) if any(row)]


def products(loc: Any, scale: Any, present: Any, members: Any, prior: bool) -> tuple[Any, Any]:
    """The product of the experts in each subset that are present: ``q ∝ p(z)^[prior] ∏ q_m`` (Hinton 2002).

    ``members`` is ``(subset, modality)``, zeros and ones; returns loc and scale ``(subset, items, latent)``. Works on
    log precisions relative to the sharpest expert, so that scales may differ by many orders of magnitude. What an
    absent expert says, infinite or not a number, moves neither value nor gradient.
    """
    precision, loc, top = _relative(loc, scale, present)
    total = ops.einsum("sm,mil->sil", members, precision)
    return _joint(total, ops.einsum("sm,mil->sil", members, precision * loc), top, prior)


def product(loc: Any, scale: Any, present: Any, prior: bool = True) -> tuple[Any, Any]:
    """The product of the experts present (and the prior): loc and scale ``(items, latent)``."""
    precision, loc, top = _relative(loc, scale, present)
    return _joint(ops.sum(precision, 0), ops.sum(precision * loc, 0), top, prior)


def _relative(loc: Any, scale: Any, present: Any) -> tuple[Any, Any, Any]:
    """Precisions and locations, zero where absent, and the log of the unit that precisions are in."""
    there = present[..., None]
    log_precision = -2.0 * ops.log(ops.where(there, scale, math.inf))
    top = ops.detach(ops.clamp(ops.amax(log_precision, 0), min=0.0))
    return ops.exp(log_precision - top), ops.where(there, loc, 0.0), top


def _joint(total: Any, weighted: Any, top: Any, prior: bool) -> tuple[Any, Any]:
    """Location and scale, given sums of precisions and of precision-weighted locations; the prior where all is zero."""
    alone = ops.exp(-top)
    total = total + (alone if prior else ops.where(total == 0, alone, 0.0))
    return weighted / total, ops.rsqrt(total) * ops.exp(-0.5 * top)


def mixture(loc: Any, scale: Any, weights: Any) -> Any:
    """The mixture of diagonal Gaussians ``Σ_k w_k N(loc_k, scale_k²)``, a distribution over ``(items,)`` vectors.

    ``loc`` and ``scale`` are ``(component, items, latent)``, ``weights`` ``(component, items)``, summing to one over
    components. A component is drawn per item and per draw; ``log_prob`` is the mixture's. Gradients flow through the
    chosen component, which is unbiased because the weights hold no parameter.
    """
    loc, scale = ops.moveaxis(loc, 0, -2), ops.moveaxis(scale, 0, -2)
    weights = ops.moveaxis(weights, 0, -1)
    components, latent = loc.shape[-2:]

    def sample(draw: Any) -> Any:
        which = draw(dist.Categorical(probs=weights))
        chosen = ops.one_hot(which, components) * ops.ones_like(loc[..., :, 0])  # type: ignore[attr-defined]
        noise = draw(dist.Normal(ops.zeros_like(loc[..., 0, :]), 1.0))
        pick = "...k,...kl->...l"
        return ops.einsum(pick, chosen, loc) + ops.einsum(pick, chosen, scale) * noise

    def log_prob(z: Any) -> Any:
        each = dist.Normal(loc, scale).log_prob(z[..., None, :]).sum(-1)
        return ops.logsumexp(each + ops.log(weights), -1)

    return distribution(sample, log_prob, loc.shape[:-2], (latent,))


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
