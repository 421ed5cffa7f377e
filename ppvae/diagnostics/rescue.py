"""Rescue: better draws for the items whose guide fails k-hat, by the cheapest method that passes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from ppvae.data.dataset import Dataset
from ppvae.diagnostics.samples.outside import Outside, outside
from ppvae.inference import arviz, subset_questions
from ppvae.inference.conditioned_items import ConditionedItems, conditioned
from ppvae.inference.correction import chains, ladder
from ppvae.inference.correction.ladder import Weighed
from ppvae.inference.fitted import Fitted
from ppvae.inference.unconstrained import located

UNKNOWN = "not known"


@dataclass(frozen=True, eq=False)
class Rescue:
    """Draws of each item's own latents from p(z | x_S), and how they were obtained.

    Attributes:
        how: ``(items,)``, a key of ``METHODS``: the first that passed, or the one with the lowest k-hat if none did.
        passes: booleans ``(items,)``: k-hat at most 0.7; for NUTS, every nested R-hat below 1.01. Where no method
            passed the posterior is not known, and draws are no more than a guess.
        khat: ``(items,)``, of the method that was used; NaN for NUTS, which has no weights.
        draws: site to ``(draws, items, *event)``, equally weighted.
        outside: which items the model would hardly make: their posteriors may be exact, of a model that does not fit.
    """

    how: np.ndarray
    passes: np.ndarray
    khat: np.ndarray
    draws: dict[str, np.ndarray]
    outside: Outside

    @property
    def counts(self) -> dict[str, int]:
        """How many items each method served, and of how many the posterior is ``"not known"``."""
        found = Counter(np.where(self.passes, self.how, UNKNOWN).tolist())
        return {name: found[name] for name in (*METHODS, UNKNOWN) if found[name]}


class Attempt(NamedTuple):
    """What one method makes of some items: vectors ``(items, draws, size)``, and of each item k-hat and verdict."""

    vectors: np.ndarray
    khat: np.ndarray
    passes: np.ndarray


def rescue(
    fitted: Fitted,
    data: Dataset,
    given: Sequence[str] | None = None,
    *,
    methods: Sequence[str] | None = None,
    draws: int = 1000,
    seed: int = 0,
) -> Rescue:
    """Try the guide, then one method after another on the items that have not passed yet, in the order of ``METHODS``.

    Items outside the model are flagged first.

    * ``guide``: importance resampling of ``draws`` particles from q(z | x_S).
    * ``corrected``: of as many from t distributions around the item's modes, adapted: what ``posterior="corrected"``
      stands on.
    * ``nuts``: many short chains from all of these (:mod:`ppvae.inference.correction.chains`), judged by nested R-hat.

    k-hat judges the tail of the weights that were drawn: it is blind to a mode that no particle has reached, and nested
    R-hat to one that no chain has. Where posteriors may have several, compare with
    :func:`ppvae.diagnostics.nuts.nuts`, which may miss one too.

    Args:
        fitted: the pair, trained on either backend; the methods run in JAX.
        data: the items.
        given: the names in S, all by default.
        methods: which of these to try after the guide, which always comes first; all by default.
        draws: particles of each method, and equally weighted draws to return, 1,000 at most.
        seed: of all draws; an item's rescue depends on the item and the seed alone.

    Raises:
        ValueError: no method has a name that was given, more than 1,000 draws were asked for, or a latent is discrete
            and not enumerated.
    """
    chosen, count = _chosen(methods), subset_questions.checked_draws(draws)
    about = conditioned(fitted, data, given, seed)
    strange = outside(about.fitted, data, given, seed)
    how, passes, khat = np.full(len(data), chosen[0], object), np.zeros(len(data), bool), np.full(len(data), np.inf)
    vectors: Any = None
    for name in chosen:
        rows = np.flatnonzero(~passes)
        if not len(rows):
            break
        attempt = METHODS[name](about.take(rows), count)
        vectors = np.empty((len(data), *attempt.vectors.shape[1:])) if vectors is None else vectors
        better = attempt.passes | (attempt.khat < khat[rows]) | (name == chosen[0])
        rows, kept = rows[better], np.flatnonzero(better)
        vectors[rows], khat[rows], passes[rows] = attempt.vectors[kept], attempt.khat[kept], attempt.passes[kept]
        how[rows] = name
    return Rescue(how, passes, khat, located(about, vectors), strange)


def _chosen(methods: Sequence[str] | None) -> list[str]:
    unknown = [name for name in methods or () if name not in METHODS]
    if unknown:
        raise ValueError(f"unknown method {unknown[0]!r}; choose among {', '.join(METHODS)}")
    return [name for name in METHODS if methods is None or name in methods or name == "guide"]


def resampled(rung: Callable[[ConditionedItems, int], Weighed], about: ConditionedItems, draws: int) -> Attempt:
    """Importance resampling of the particles of a rung of the ladder."""
    parts = [rung(some, draws) for some in ladder.blocks(about, draws)]
    vectors = np.concatenate([part.resampled(draws) for part in parts])[: len(about)]
    khat = np.concatenate([part.served.khat for part in parts])[: len(about)]
    return Attempt(vectors, khat, khat <= arviz.THRESHOLD)


def from_nuts(about: ConditionedItems, draws: int) -> Attempt:
    """Short chains: what they draw, thinned evenly or repeated to the number wanted."""
    vectors = chains.superchains(about)
    rhat = np.stack([arviz.nested_rhat(each).max() for each in vectors])
    merged = vectors.reshape(len(vectors), -1, vectors.shape[-1])
    every = np.linspace(0, merged.shape[1] - 1, draws).round().astype(int)
    return Attempt(merged[:, every], np.full(len(merged), np.nan), rhat < arviz.CONVERGED)


METHODS: dict[str, Callable[..., Attempt]] = {
    "guide": partial(resampled, ladder.from_guide),
    "corrected": partial(resampled, ladder.corrected),
    "nuts": from_nuts,
}
