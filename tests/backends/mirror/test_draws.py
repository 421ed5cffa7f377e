"""Random functions in a network's text: torch's shapes, dtypes and moments, from the program's key."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mirror_oracle import parameters
from torch import nn

from ppvae.backends import mirror
from ppvae.backends.mirror import MirrorError

N = 20_000
ONES, HALVES = torch.ones(N), torch.full((N,), 0.3)
CHANCES = torch.tensor([0.1, 0.2, 0.7])


class Of(nn.Module):
    """A network whose forward is a function of its input."""

    def __init__(self, body: Any) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: torch.Tensor) -> Any:
        return self.body(x)


def drawn(body: Any, x: torch.Tensor, seed: int = 0) -> np.ndarray:
    net = Of(body)
    return np.asarray(mirror.forward(net, parameters(net, True, seed), jnp.asarray(x.numpy())))


DRAWS = {
    "rand": lambda x: torch.rand(N),
    "randn": lambda x: torch.randn((N,)),
    "randn of a dtype": lambda x: torch.randn(N, 1, dtype=torch.float32, device=x.device),
    "randint": lambda x: torch.randint(5, (N,)),
    "randint between": lambda x: torch.randint(2, 5, size=(N,)),
    "randint by names": lambda x: torch.randint(low=2, high=9, size=(N,)),
    "normal of numbers": lambda x: torch.normal(1.0, 2.0, (N,)),
    "normal of arrays": lambda x: torch.normal(x, 3 * x),
    "normal of an array": lambda x: torch.normal(mean=x),
    "rand_like": lambda x: torch.rand_like(x),
    "randn_like": lambda x: torch.randn_like(x),
    "randint_like": lambda x: torch.randint_like(x, 7),
    "bernoulli": lambda x: torch.bernoulli(0.3 * x),
    "bernoulli method": lambda x: (x * 0.4).bernoulli(),
    "poisson": lambda x: torch.poisson(4 * x),
    "multinomial": lambda x: torch.multinomial(CHANCES, N, True),
    "multinomial of rows": lambda x: torch.multinomial(x[:2, None] * CHANCES, N, replacement=True).t(),
    "normal_": lambda x: torch.empty(N).normal_(1.0, 2.0),
    "uniform_": lambda x: x.clone().uniform_(-1, 3),
    "uniform_ by names": lambda x: torch.empty(N).uniform_(to=3),
    "exponential_": lambda x: (x * 0).exponential_(2.0),
    "bernoulli_": lambda x: torch.zeros(N).bernoulli_(0.2),
    "log_normal_": lambda x: torch.zeros(N).log_normal_(0.0, 0.5),
    "dropout": lambda x: F.dropout(x, 0.2),
    "gumbel_softmax": lambda x: F.gumbel_softmax(torch.log(x[:, None] * CHANCES), hard=True),
}


@pytest.mark.parametrize("name", DRAWS)
def test_draws_have_torchs_shape_dtype_and_moments(name: str) -> None:
    torch.manual_seed(0)
    theirs = DRAWS[name](ONES).numpy()
    ours = drawn(DRAWS[name], ONES)
    assert ours.shape == theirs.shape
    assert ours.dtype.kind == theirs.dtype.kind
    # five standard errors of the difference, which a wrong parameter exceeds many times over
    error = 5 * theirs.std(0) * np.sqrt(2 / N) + 0.01
    np.testing.assert_array_less(np.abs(ours.mean(0) - theirs.mean(0)), error + 1e-9)
    assert abs(ours.std() / theirs.std() - 1) < 0.1
    assert ours.min() >= theirs.min() - 3 * theirs.std()


def test_every_call_and_every_seed_draws_anew_and_a_seed_repeats() -> None:
    twice = drawn(lambda x: torch.stack([torch.randn(3), torch.zeros(3).normal_()]), ONES)
    assert len(np.unique(twice)) == 6
    assert (drawn(lambda x: torch.randn(3), ONES) == drawn(lambda x: torch.randn(3), ONES)).all()
    assert (drawn(lambda x: torch.randn(3), ONES, seed=1) != twice[0]).all()


def test_permutations_and_draws_without_replacement_repeat_nothing() -> None:
    assert sorted(drawn(lambda x: torch.randperm(9), ONES)) == list(range(9))
    firsts = [drawn(lambda x: torch.multinomial(CHANCES, 2), ONES, seed) for seed in range(200)]
    assert all(len(set(pair)) == 2 for pair in firsts)
    assert abs(np.mean([pair[0] == 2 for pair in firsts]) - 0.7) < 0.15


def test_gradients_pass_through_no_draw_but_the_relaxed_one() -> None:
    def gradient(body: Any) -> jax.Array:
        net = Of(body)
        return jax.grad(lambda x: mirror.forward(net, parameters(net, True, 0), x).sum())(jnp.ones(4))

    assert (gradient(lambda x: torch.normal(x, x)) == 0).all()
    assert (gradient(lambda x: torch.bernoulli(0.5 * x)) == 0).all()
    assert (gradient(lambda x: F.gumbel_softmax(x, hard=True)[:2]) != 0).any()


@pytest.mark.parametrize("body", [lambda x: torch.zeros(3).random_(), lambda x: x.geometric_(0.5)])
def test_what_is_not_drawn_is_refused_by_name(body: Any) -> None:
    with pytest.raises(MirrorError, match=r"random_|geometric_"):
        drawn(body, ONES)


def test_generators_are_refused() -> None:
    with pytest.raises(MirrorError):
        drawn(lambda x: torch.rand(3, generator=torch.Generator()), ONES)


def test_what_has_no_chance_is_never_drawn() -> None:
    chances = torch.tensor([0.0, 0.5, 0.0, 1.5, 0.0])
    assert set(np.unique(drawn(lambda x: torch.multinomial(chances, 4000, True), ONES, 0))) == {1, 3}
