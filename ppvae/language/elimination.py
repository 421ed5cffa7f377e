"""Elimination: discrete latents summed out one after the other, so that a chain of them costs its length."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from ppvae.language.ppl import ops


class Hidden(NamedTuple):
    """A latent that takes all of its values along ``axis``, counted from the right, and its log probabilities."""

    axis: int
    log_prob: Any


def conditionals(hidden: Sequence[Hidden], factors: Sequence[Any], inner: int) -> list[Any]:
    """``log p(factor_i | factors before it)`` where factors depend on hidden latents, which are summed out.

    A latent that no factor depends on, not through another either, sums to one and is left out. Latents are summed out
    as soon as nothing later depends on them: the forward algorithm, where they form a chain.

    Args:
        hidden: in the order in which they are drawn, each after those that it depends on.
        factors: log probabilities ``(..., *inner)``, along the axes of what they depend on and 1 along others.
        inner: the number of dimensions that stay, those on the right.
    """
    waiting, pending, found, before = list(hidden), [], [], 0.0
    for place, factor in enumerate(factors):
        wanted = axes([factor], inner)
        for latent in reversed(hidden):
            wanted |= axes([latent.log_prob], inner) if latent.axis in wanted else set()
        pending += [factor, *(latent.log_prob for latent in waiting if latent.axis in wanted)]
        waiting = [latent for latent in waiting if latent.axis not in wanted]
        later = axes([*factors[place + 1 :], *(latent.log_prob for latent in waiting)], inner)
        pending = eliminated(pending, axes(pending, inner) - later, inner)
        total = sum(eliminated(pending, later, inner))
        total = total.reshape(total.shape[total.ndim - inner :])
        found.append(total - before)
        before = total
    return found


def eliminated(factors: Sequence[Any], over: set[int], inner: int) -> list[Any]:
    """Factors whose product is that of the given ones, summed over some axes: the cheapest first."""
    left = list(factors)
    while common := over & axes(left, inner):
        axis = min(sorted(common, reverse=True), key=lambda axis: len(axes(_along(left, axis), inner)))
        bound = _along(left, axis)
        left = [factor for factor in left if all(factor is not other for other in bound)]
        left.append(ops.logsumexp(sum(bound), axis, keepdim=True))
    return left


def axes(factors: Sequence[Any], inner: int) -> set[int]:
    """The axes left of the last ``inner`` along which one of the factors has several entries, from the right."""
    return {axis for factor in factors for axis in range(-factor.ndim, -inner) if factor.shape[axis] > 1}


def _along(factors: Sequence[Any], axis: int) -> list[Any]:
    return [factor for factor in factors if factor.ndim >= -axis and factor.shape[axis] > 1]
