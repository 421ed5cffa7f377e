"""Inference gaps: how far the ELBO lies below the evidence, and why.

Where the bound loses is told apart as Cremer, Li & Duvenaud 2018 ("Inference suboptimality in variational
autoencoders") do: the approximation gap is what the best diagonal Gaussian of each item loses, the amortisation gap
what the guide's network loses against that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import optax

from ppvae.data.dataset import Dataset
from ppvae.diagnostics.evidence import Evidence, evidence
from ppvae.inference import subset_questions
from ppvae.inference.fitted import Fitted
from ppvae.inference.questions import Question
from ppvae.inference.unconstrained import unconstrained
from ppvae.language.batch import Batch

RATE = 0.05  # of Adam, in units of the guide's deviations
INNER = 8  # draws a step


@dataclass(frozen=True, eq=False)
class Gaps:
    """Bounds of each item's evidence, in nats, ``(items,)``.

    Attributes:
        evidence: ``log p(x_S)``.
        best: the ELBO of the item's own best diagonal Gaussian.
        amortised: the ELBO of the guide.
    """

    evidence: np.ndarray
    best: np.ndarray
    amortised: np.ndarray

    @property
    def approximation(self) -> np.ndarray:
        """What a diagonal Gaussian cannot reach."""
        return self.evidence - self.best

    @property
    def amortisation(self) -> np.ndarray:
        """What the guide's network does not reach; below zero where the guide is richer than a diagonal Gaussian."""
        return self.best - self.amortised

    @property
    def verdict(self) -> str:
        """Which gap is wider, and so what would help."""
        form, network = self.approximation.mean(), self.amortisation.mean()
        cure = "a richer posterior family" if form > network else "a larger or longer trained encoder"
        total = f"{form + network:.2f} nats per item below the evidence"
        return f"the ELBO lies {total}: {form:.2f} approximation, {network:.2f} amortisation; {cure} would help most"


def gaps(
    fitted: Fitted,
    data: Dataset,
    given: Sequence[str] | None = None,
    steps: int = 500,
    draws: int = 1000,
    known: Evidence | None = None,
    seed: int = 0,
) -> Gaps:
    """Approximation and amortisation gap of each item.

    Args:
        fitted: the pair; its latents must be continuous.
        data: the items.
        given: the modalities that count.
        steps: of the optimiser of each item's own Gaussian, which starts from the guide.
        draws: of each bound.
        known: the evidence, such as :func:`ppvae.diagnostics.annealing.ais` finds it; by default importance sampled.
        seed: of the draws.
    """
    question = Question(_refitted(steps), subset_questions.checked_draws(draws))
    best = subset_questions.ask(fitted.to("numpyro"), question, data, given, seed)["bounds"]
    amortised = subset_questions.ask(fitted, Question(subset_questions.log_weights, draws), data, given, seed)[
        "log_weights"
    ]
    known = known or evidence(fitted, data, given, draws, seed)
    return Gaps(known.values, best.mean(0, dtype=np.float64), amortised.mean(0, dtype=np.float64))


@cache
def _refitted(steps: int) -> Callable[..., dict[str, Any]]:
    """The question of an item's own best diagonal Gaussian: ``log p − log q`` at its draws.

    The gradient is that of the path alone ("sticking the landing", Roeder et al. 2017): it vanishes at an exact fit.
    """

    def refitted(model: Any, guide: Any, batch: Batch, draws: int) -> dict[str, Any]:
        item = unconstrained(model, guide, batch)
        start, inner, outer = jax.random.split(numpyro.prng_key(), 3)
        centre, scale = item.spread(start)
        optimizer = optax.adam(optax.cosine_decay_schedule(RATE, steps))

        def bound(own: tuple[Any, Any], fixed: tuple[Any, Any], key: Any) -> Any:
            noise = jax.random.normal(key, centre.shape, centre.dtype)
            vector = centre + scale * (own[0] + jnp.exp(own[1]) * noise)
            z = (vector - centre) / scale
            log_q = jax.scipy.stats.norm.logpdf(z, fixed[0], jnp.exp(fixed[1])) - jnp.log(scale)
            return item.joint(vector) - log_q.sum()

        def loss(own: tuple[Any, Any], keys: Any) -> Any:
            return -jax.vmap(lambda key: bound(own, jax.lax.stop_gradient(own), key))(keys).mean()

        def climb(state: tuple[Any, Any], key: Any) -> tuple[tuple[Any, Any], None]:
            own, moments = state
            update, moments = optimizer.update(jax.grad(loss)(own, jax.random.split(key, INNER)), moments)
            return (optax.apply_updates(own, update), moments), None

        own = (jnp.zeros_like(centre), jnp.zeros_like(centre))
        (own, _), _ = jax.lax.scan(climb, (own, optimizer.init(own)), jax.random.split(inner, steps))
        return {"bounds": jax.vmap(lambda key: bound(own, own, key))(jax.random.split(outer, draws))[:, None]}

    return refitted


@dataclass(frozen=True, eq=False)
class Missing:
    """What inference from fewer modalities costs the bound of everything, in nats.

    Attributes:
        given: the subsets.
        bounds: ``E log p(X, z) − log q(z | x_S)`` for z of q(z | x_S), ``(subsets, items)``; NaN for an item that has
            nothing of S.
        whole: the ELBO, with S everything, ``(items,)``.
    """

    given: tuple[tuple[str, ...], ...]
    bounds: np.ndarray
    whole: np.ndarray

    @property
    def gaps(self) -> np.ndarray:
        """ELBO minus bound, ``(subsets, items)``: ``KL(q(z | x_S) ‖ p(z | X))`` less the ELBO's own gap."""
        return self.whole - self.bounds

    @property
    def verdict(self) -> str:
        """The mean gap of each subset."""
        means = zip(self.given, np.nanmean(self.gaps, axis=1), strict=True)
        return "the ELBO of everything falls by " + "; ".join(
            f"{gap:.2f} nats per item given {subset_questions.label(subset)}" for subset, gap in means
        )


def missing(
    fitted: Fitted,
    data: Dataset,
    subsets: Sequence[Sequence[str]] | None = None,
    draws: int = 100,
    seed: int = 0,
) -> Missing:
    """The missing-modality gap of each subset: by default of each modality alone."""
    names = subset_questions.explained(fitted, data)
    chosen = tuple((name,) for name in names) if subsets is None else tuple(tuple(subset) for subset in subsets)
    question = Question(subset_questions.bounds, draws)
    found = [
        subset_questions.ask(fitted, question, data, given, seed)["bounds"].mean(0, dtype=np.float64)
        for given in (*chosen, None)
    ]
    seen = np.stack([subset_questions.showing(data, subset) for subset in chosen])
    return Missing(chosen, np.where(seen, found[:-1], np.nan), found[-1])
