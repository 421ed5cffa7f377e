"""Elimination: what is summed out latent by latent is the sum over all of their values at once."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from scipy.special import logsumexp

from ppvae.language.elimination import Hidden, conditionals

ITEMS, VALUES = 3, 2
GRAPHS = {  # the parents of each latent, and what each factor depends on
    "one": ([()], [(0,), (0,)]),
    "chain": ([(), (0,), (1,), (2,)], [(0,), (1,), (2,), (3,)]),
    "backwards": ([(), (0,), (1,)], [(2,), (0,), (1,)]),
    "tree": ([(), (0,), (0,)], [(1,), (2,)]),
    "collider": ([(), (), (0, 1)], [(2,), (0, 1)]),
    "second order": ([(), (0,), (0, 1), (1, 2)], [(2,), (3,)]),
    "apart": ([(), ()], [(1,), (0,)]),
    "alone": ([(), (0,)], [(0,), ()]),
}


def table(rng: np.random.Generator, axes: tuple[int, ...], latents: int, normalised: int | None) -> np.ndarray:
    """Log probabilities ``(..., 1, items)`` along the axes of some latents, the first of which is rightmost."""
    shape = [VALUES if latent in axes else 1 for latent in reversed(range(latents))]
    values = rng.normal(size=(*shape, 1, ITEMS))
    if normalised is not None:
        values = values - logsumexp(values, axis=-3 - normalised, keepdims=True)
    return values[next((i for i, n in enumerate(shape) if n > 1), len(shape)) * (0,)] if shape else values


@pytest.mark.parametrize("graph", GRAPHS)
def test_each_factor_counts_given_those_before_it(graph: str) -> None:
    rng, (parents, scopes) = np.random.default_rng(0), GRAPHS[graph]
    priors = [table(rng, (i, *of), len(parents), i) for i, of in enumerate(parents)]
    factors = [table(rng, scope, len(parents), None) for scope in scopes]
    hidden = [Hidden(-3 - i, torch.as_tensor(prior)) for i, prior in enumerate(priors)]
    found = conditionals(hidden, [torch.as_tensor(factor) for factor in factors], 2)
    before = np.zeros((1, ITEMS))
    for number, value in enumerate(found):
        total = sum(priors) + sum(factors[: number + 1])
        summed = logsumexp(total.reshape(-1, 1, ITEMS), axis=0)
        np.testing.assert_allclose(value.numpy(), summed - before, rtol=1e-10, atol=1e-10)
        before = summed


def test_a_chain_costs_its_length() -> None:
    rng, steps, values = np.random.default_rng(0), 40, 3  # 3^40 paths
    transition, emitted = rng.dirichlet(np.ones(values), size=values), rng.random((steps, values))
    forward, hidden, factors = np.full(values, 1 / values), [], []
    for t in range(steps):
        forward = (forward if t == 0 else forward @ transition) * emitted[t]
        prior = transition.T if t else np.full((values, 1), 1 / values)
        hidden.append(Hidden(-3 - t, torch.as_tensor(np.log(prior)).reshape(*prior.shape, *(1,) * (t + 1))))
        factors.append(torch.as_tensor(np.log(emitted[t])).reshape(-1, *(1,) * (t + 2)))
    np.testing.assert_allclose(sum(conditionals(hidden, factors, 2)).item(), np.log(forward.sum()), rtol=1e-10)


@pytest.mark.parametrize("order", [*itertools.permutations(range(3))])
def test_latents_of_a_plate_are_summed_out_for_each_of_its_entries(order: tuple[int, ...]) -> None:
    """``g`` of an item, ``k | g`` of each word; factors of ``g``, of a word's ``k`` and ``g``, of a word's ``g``."""
    rng, words = np.random.default_rng(0), 3
    g, k = rng.normal(size=(2, 1, 1, ITEMS)), rng.normal(size=(3, 2, 1, words, ITEMS))
    g, k = g - logsumexp(g, 0, keepdims=True), k - logsumexp(k, 0, keepdims=True)
    factors = [rng.normal(size=shape) for shape in ((2, 1, 1, ITEMS), (3, 2, 1, words, ITEMS), (2, 1, words, ITEMS))]
    hidden = [Hidden(-4, torch.as_tensor(g)), Hidden(-5, torch.as_tensor(k))]
    found = conditionals(hidden, [torch.as_tensor(factors[i]) for i in order], 3, (-2,))
    before = np.zeros((1, ITEMS))
    for number, value in enumerate(found):
        seen, paths = [factors[i] for i in order[: number + 1]], []
        for label, path in itertools.product(range(2), itertools.product(range(3), repeat=words)):
            each = g[label, 0, 0] + sum(k[topic, label, 0, word] for word, topic in enumerate(path))
            for factor in seen:
                if factor.shape[1] == 2:
                    each = each + sum(factor[topic, label, 0, word] for word, topic in enumerate(path))
                else:
                    each = each + factor[label, 0].sum(0)
            paths.append(each)
        summed = logsumexp(paths, axis=0)[None]
        np.testing.assert_allclose(value.numpy(), summed - before, rtol=1e-10, atol=1e-10)
        before = summed
