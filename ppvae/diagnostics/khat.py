"""k-hat: how far each item's posterior can be trusted, for any subset of the modalities."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp

from ppvae.data.dataset import Dataset
from ppvae.inference import arviz, subset_questions
from ppvae.inference.arviz import THRESHOLD
from ppvae.inference.fitted import Fitted
from ppvae.inference.questions import Question


@dataclass(frozen=True, eq=False)
class KHat:
    """What importance sampling from q(z | x_S) says of p(x_S, z), for every subset S and item.

    Attributes:
        subsets: the names in each subset S.
        khat: Pareto k-hat ``(subset, item)``: −inf where the guide is exact, +inf where a weight is not a number.
        log_evidence: ``log p(x_S)`` ``(subset, item)``, importance weighted without smoothing, in nats.
        elbo: the mean log weight ``(subset, item)``, in nats. All three are NaN where the item has nothing of S.
        draws: particles behind each of them.
    """

    subsets: tuple[tuple[str, ...], ...]
    khat: np.ndarray
    log_evidence: np.ndarray
    elbo: np.ndarray
    draws: int

    @property
    def names(self) -> list[str]:
        """The subsets as text, ``"pix+fou"``."""
        return ["+".join(subset) or "nothing" for subset in self.subsets]

    @property
    def share(self) -> dict[str, float]:
        """For each subset, the share of the items that have something of it whose k-hat is above 0.7; NaN for none."""
        above, known = (self.khat > THRESHOLD).sum(1), (~np.isnan(self.khat)).sum(1)
        shares = np.where(known, above / np.maximum(known, 1), np.nan)
        return dict(zip(self.names, shares.tolist(), strict=True))


def khat(
    fitted: Fitted,
    data: Dataset,
    subsets: Iterable[Sequence[str]] | None = None,
    draws: int = 1000,
    seed: int = 0,
) -> KHat:
    """k-hat of the guide for every item and subset of modalities, with the evidence from the same weights.

    The diagnostic of Yao et al. (2018, "Yes, but did it work?: Evaluating variational inference"), with PSIS by ArviZ.

    Args:
        fitted: the pair, on either backend.
        data: the items; an item is judged on what it has of each subset, and alone.
        subsets: lists of names; by default each modality that the model explains alone, and all.
        draws: particles, 25 or more.
        seed: of the draws.

    Raises:
        ValueError: a subset names what the run or the data do not have, or there are fewer than 25 draws.
    """
    chosen = tuple(
        tuple(subset)
        for subset in (alone_and_all(subset_questions.explained(fitted, data)) if subsets is None else subsets)
    )
    question = Question(subset_questions.log_weights, draws)
    found = np.stack(
        [_summed(subset_questions.ask(fitted, question, data, subset, seed)["log_weights"]) for subset in chosen], 1
    )
    seen = np.stack([subset_questions.showing(data, subset) for subset in chosen])
    khat, evidence, elbo = np.where(seen, found, np.nan)
    return KHat(chosen, khat, evidence, elbo, draws)


def _summed(log_weights: np.ndarray) -> np.ndarray:
    """k-hat, log evidence and ELBO of each item, ``(3, items)``; the weights are let go."""
    weights = log_weights.astype(np.float64)
    evidence = logsumexp(weights, axis=0) - np.log(len(weights))
    return np.stack([arviz.psis(weights)[1], evidence, weights.mean(0)])


def alone_and_all(names: Sequence[str]) -> list[tuple[str, ...]]:
    """Each name alone, and all together."""
    return list(dict.fromkeys([*((name,) for name in names), tuple(names)]))
