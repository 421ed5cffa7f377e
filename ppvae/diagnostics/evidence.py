"""Evidence: log densities of what was measured, latents integrated out, with their errors and k-hat.

Given the weights, items are independent: leaving an item out changes nothing, and the log density of a new item is its
evidence. What can be left out with effect is a modality of an item; :func:`leave_one_modality_out` does that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp

from ppvae.data.dataset import Dataset
from ppvae.inference import subset_questions
from ppvae.inference.arviz import THRESHOLD, psis
from ppvae.inference.fitted import Fitted
from ppvae.inference.log_means import log_mean, other_seed
from ppvae.inference.questions import Question


@dataclass(frozen=True, eq=False)
class Evidence:
    """A log density of each item, in nats.

    Attributes:
        what: whose density, in words.
        values: ``(items,)``; NaN where an item has not what is asked for.
        errors: Monte Carlo standard errors, ``(items,)``; meaningless where k-hat is above 0.7.
        khat: the Pareto shape of the importance weights, ``(items,)``: −inf where they are all alike, NaN without
            a value or after annealing.
    """

    what: str
    values: np.ndarray
    errors: np.ndarray
    khat: np.ndarray

    @property
    def mean(self) -> tuple[float, float]:
        """The mean over items, and its standard error over items."""
        seen = self.values[~np.isnan(self.values)]
        return float(seen.mean()), float(seen.std(ddof=1) / np.sqrt(len(seen))) if len(seen) > 1 else np.nan

    @property
    def verdict(self) -> str:
        """The mean, and for how many items it cannot be relied on."""
        seen = ~np.isnan(self.values)
        bad = int((self.khat[seen] > THRESHOLD).sum())
        mean, error = self.mean
        trust = (
            f"{bad} of {seen.sum()} items have k-hat above {THRESHOLD}: not to be relied on" if bad else "k-hat is good"
        )
        known = not np.isnan(self.khat[seen]).all()
        return f"{self.what}: {mean:.2f} ± {error:.2f} nats per item" + (f"; {trust}" if known else "")


def evidence(
    fitted: Fitted, data: Dataset, given: Sequence[str] | None = None, particles: int = 1000, seed: int = 0
) -> Evidence:
    """``log p(x_given)`` of what each item has of it: the log mean of importance weights (Burda et al. 2016)."""
    return _where(estimate(fitted, data, given, particles, seed), subset_questions.showing(data, given))


def estimate(fitted: Fitted, data: Dataset, given: Sequence[str] | None, particles: int, seed: int) -> Evidence:
    """The evidence, with that of nothing for the items that have nothing of it."""
    question = Question(subset_questions.log_weights, particles)
    weights = subset_questions.ask(fitted, question, data, given, seed)["log_weights"].astype(np.float64)
    values, errors = log_mean(weights)
    return Evidence(f"log p({subset_questions.label(given)})", values, errors, psis(weights)[1])


def conditional(
    fitted: Fitted,
    data: Dataset,
    ask: Sequence[str],
    given: Sequence[str],
    particles: int = 1000,
    seed: int = 0,
) -> Evidence:
    """``log p(x_ask | x_given) = log p(x_ask, x_given) − log p(x_given)``, each with its own proposals.

    Items that have nothing of ``ask`` are NaN.
    """
    given = [name for name in fitted.known(given) if name not in ask]
    both = estimate(fitted, data, [*fitted.asked(ask), *given], particles, seed)
    rest = estimate(fitted, data, given, particles, other_seed(seed))
    seen = np.any([data.present(name) for name in ask], 0)
    return _combined(f"log p({', '.join(ask)} | {subset_questions.label(given)})", [both], [rest], seen)


def pointwise_information(
    fitted: Fitted, data: Dataset, one: str, other: str, particles: int = 1000, seed: int = 0
) -> Evidence:
    """``log p(x_a, x_b) − log p(x_a) − log p(x_b)`` of each item that has both: their mutual information, pointwise."""
    both = estimate(fitted, data, fitted.asked([one, other]), particles, seed)
    alone = [estimate(fitted, data, [name], particles, other_seed(seed, n)) for n, name in enumerate((one, other))]
    seen = data.present(one) & data.present(other)
    return _combined(f"pointwise information of {one} and {other}", [both], alone, seen)


def leave_one_modality_out(
    fitted: Fitted, data: Dataset, ask: Sequence[str] | None = None, draws: int = 1000, seed: int = 0
) -> dict[str, Evidence]:
    """``log p(x_m | x_∖m)`` of each modality, from draws of the posterior given everything.

    Leave-one-out by Pareto-smoothed importance sampling (Vehtari, Gelman & Gabry 2017), with modalities of an item for
    observations: draws of q(z | X) weigh ``p(x_∖m, z) / q(z | X)``, so that the guide need not be exact. k-hat is that
    of these weights; where it is above 0.7 use :func:`conditional`, which draws anew. Items without m are NaN.
    """
    chosen = subset_questions.chosen(fitted, data, ask)
    found = subset_questions.ask(fitted, Question(subset_questions.terms, draws), data, None, seed)
    likes = {n: v.astype(np.float64) for n, v in subset_questions.beginning("log_like ", found).items()}
    joint = found["log_joint"].astype(np.float64) - found["log_guide"]
    return {name: _left_out(name, joint, likes[name], data.present(name)) for name in chosen}


def _left_out(name: str, joint: np.ndarray, like: np.ndarray, seen: np.ndarray) -> Evidence:
    smooth, khat = psis(joint - like)
    values = logsumexp(smooth + like, axis=0)
    errors = np.sqrt((np.exp(smooth) ** 2 * np.expm1(like - values) ** 2).sum(0))
    return _where(Evidence(f"log p({name} | the other modalities)", values, errors, khat), seen)


def _combined(what: str, plus: Sequence[Evidence], minus: Sequence[Evidence], seen: np.ndarray) -> Evidence:
    """The sum of independent estimates less that of others; k-hat is the worst."""
    parts = [*plus, *minus]
    values = sum(part.values for part in plus) - sum(part.values for part in minus)
    errors = np.sqrt(sum(part.errors**2 for part in parts))
    return _where(Evidence(what, np.asarray(values), errors, np.max([part.khat for part in parts], 0)), seen)


def _where(found: Evidence, seen: np.ndarray) -> Evidence:
    return Evidence(found.what, *(np.where(seen, a, np.nan) for a in (found.values, found.errors, found.khat)))


@dataclass(frozen=True, eq=False)
class ModelComparison:
    """Fitted pairs on the same items.

    Attributes:
        names: of the pairs, best first.
        elpd: the evidence of each item under each pair, ``(pairs, items)``, in nats: its expected log predictive
            density, and its pointwise ``log_likelihood`` with the latents integrated out.
        weights: stacking weights, ``(pairs,)``: those of the mixture of pairs that predicts the items best.
        khat: of each estimate, ``(pairs, items)``.
    """

    names: tuple[str, ...]
    elpd: np.ndarray
    weights: np.ndarray
    khat: np.ndarray

    @property
    def differences(self) -> np.ndarray:
        """How much better the first is than each pair, in nats per item, and the standard error: ``(pairs, 2)``."""
        lead = self.elpd[0] - self.elpd
        return np.stack([lead.mean(1), lead.std(1, ddof=1) / np.sqrt(lead.shape[1])], 1)

    @property
    def verdict(self) -> str:
        """Which is best, and whether by more than two standard errors."""
        if len(self.names) == 1:
            return f"{self.names[0]} stands alone at {self.elpd[0].mean():.2f} nats per item"
        lead, error = self.differences[1]
        clear = "" if lead > 2 * error else ", which is not clear"
        weight = f"its stacking weight is {self.weights[0]:.2f}"
        return f"{self.names[0]} leads {self.names[1]} by {lead:.2f} ± {error:.2f} nats per item{clear}; {weight}"


def compare(
    fits: Mapping[str, Fitted],
    data: Dataset,
    given: Sequence[str] | None = None,
    particles: int = 1000,
    seed: int = 0,
) -> ModelComparison:
    """Compare pairs by the evidence of items that none was trained on, and stack them (Yao et al. 2018)."""
    found = {name: evidence(fitted, data, given, particles, seed) for name, fitted in fits.items()}
    names = sorted(found, key=lambda name: -found[name].values.mean())
    elpd = np.stack([found[name].values for name in names])
    return ModelComparison(tuple(names), elpd, stacking(elpd), np.stack([found[name].khat for name in names]))


def stacking(elpd: np.ndarray, tolerance: float = 1e-10, steps: int = 100_000) -> np.ndarray:
    """The weights w that maximise ``Σ_i log Σ_k w_k exp(elpd_ki)``, ``(pairs, items) -> (pairs,)``.

    The objective is concave, and EM steps climb it.

    Raises:
        FloatingPointError: it was not reached in so many steps.
    """
    likes = np.exp(elpd - elpd.max(0))
    weights = np.full(len(likes), 1 / len(likes))
    for _ in range(steps):
        gain = (likes / (weights @ likes)).mean(1)
        if gain.max() < 1 + tolerance:  # no direction climbs faster than the weights' own
            return weights
        weights = weights * gain / (weights @ gain)
    raise FloatingPointError(f"stacking weights did not settle in {steps} steps")
