"""Elimination: discrete latents summed out one after the other, so that a chain of them costs its length."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from ppvae.language.ppl import ops


class Hidden(NamedTuple):
    """A latent that takes all of its values along ``axis``, counted from the right, and its log probabilities."""

    axis: int
    log_prob: Any


def conditionals(hidden: Sequence[Hidden], factors: Sequence[Any], inner: int, plates: Sequence[int] = ()) -> list[Any]:
    """``log p(factor_i | factors before it)`` where factors depend on hidden latents, which are summed out.

    A latent that no factor depends on, not through another either, sums to one and is left out. Latents are summed out
    as soon as nothing later depends on them: the forward algorithm, where they form a chain. Those of a plate are
    summed out for each of its entries before these are multiplied (Obermeyer et al. 2019).

    Args:
        hidden: in the order in which they are drawn, each after those that it depends on.
        factors: log probabilities ``(..., *inner)``, along the axes of what they depend on and 1 along others.
        inner: the number of dimensions on the right that are no latent's; they stay, but for ``plates``.
        plates: those among them whose entries are independent factors, from the right.
    """
    waiting, pending, found, before = list(hidden), [], [], 0.0
    for place, factor in enumerate(factors):
        wanted = axes([factor], inner)
        for latent in reversed(hidden):
            wanted |= axes([latent.log_prob], inner) if latent.axis in wanted else set()
        pending += [factor, *(latent.log_prob for latent in waiting if latent.axis in wanted)]
        waiting = [latent for latent in waiting if latent.axis not in wanted]
        later = axes([*factors[place + 1 :], *(latent.log_prob for latent in waiting)], inner)
        pending = eliminated(pending, axes(pending, inner) - later, inner, plates)
        whole = eliminated(pending, later, inner, plates)
        if axes(whole, inner):
            raise ValueError(
                "two latents that are summed out lie in plates of which neither is within the other, and something "
                "depends on both: draw one of them in the guide"
            )
        total = sum(multiplied(factor, plates) for factor in whole)
        total = total.reshape(total.shape[total.ndim - inner + len(plates) :])
        found.append(total - before)
        before = total
    return found


def eliminated(factors: Sequence[Any], over: set[int], inner: int, plates: Sequence[int] = ()) -> list[Any]:
    """Factors whose product is that of the given ones, summed over some axes: the cheapest first.

    An axis that has to wait for one within a plate, which is not among them, is left.
    """
    left = list(factors)
    while common := [axis for axis in over & axes(left, inner) if _is_free(left, axis, inner, plates)]:
        axis = min(sorted(common, reverse=True), key=lambda axis: len(axes(_along(left, axis), inner)))
        bound, kept = _along(left, axis), _around(left, axis, plates)
        left = [factor for factor in left if all(factor is not other for other in bound)]
        within = [dim for dim in plates if dim not in kept]
        left.append(
            ops.logsumexp(sum(multiplied(factor, within, keepdims=True) for factor in bound), axis, keepdim=True)
        )
    return left


def multiplied(factor: Any, plates: Sequence[int], keepdims: bool = False) -> Any:
    """The product, in logs the sum, over the entries of plates."""
    there = tuple(dim for dim in plates if factor.ndim >= -dim)
    return factor.sum(axis=there, keepdims=keepdims) if there else factor


def _around(factors: Sequence[Any], axis: int, plates: Sequence[int]) -> set[int]:
    """The plates that a latent is in: those of all that depends on it, its own probabilities among these."""
    return set.intersection(*(_extended(factor, plates) for factor in _along(factors, axis)))


def _extended(factor: Any, dims: Iterable[int]) -> set[int]:
    return {dim for dim in dims if factor.ndim >= -dim and factor.shape[dim] > 1}


def _is_free(factors: Sequence[Any], axis: int, inner: int, plates: Sequence[int]) -> bool:
    """Does nothing that depends on a latent also depend on one in plates that this one is not in?"""
    bound, own = _along(factors, axis), _around(factors, axis, plates)
    return not plates or all(_around(factors, other, plates) <= own for other in axes(bound, inner))


def axes(factors: Sequence[Any], inner: int) -> set[int]:
    """The axes left of the last ``inner`` along which one of the factors has several entries, from the right."""
    return {axis for factor in factors for axis in _extended(factor, range(-factor.ndim, -inner))}


def _along(factors: Sequence[Any], axis: int) -> list[Any]:
    return [factor for factor in factors if factor.ndim >= -axis and factor.shape[axis] > 1]
