"""Dropout draws from the program's key under training, and is the identity otherwise."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import pytest
import torch
import torch.nn.functional as F
from mirror_oracle import parameters
from torch import nn

from ppvae.backends import mirror
from ppvae.language import ppl


def run(module: nn.Module, x: jax.Array, training: bool = True, seed: int | None = 0) -> np.ndarray:
    return np.asarray(mirror.forward(module, parameters(module, training, seed), x))


class Functional(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.dropout(x, 0.3, self.training)


DROPOUTS = [nn.Dropout(0.3), nn.AlphaDropout(0.3), nn.Dropout1d(0.3), nn.FeatureAlphaDropout(0.3), Functional()]


@pytest.mark.parametrize("module", DROPOUTS, ids=repr)
def test_the_key_decides_what_is_dropped(module: nn.Module) -> None:
    x = jnp.ones((20, 30, 4))
    assert (run(module, x, seed=1) == run(module, x, seed=1)).all()
    assert (run(module, x, seed=1) != run(module, x, seed=2)).any()


@pytest.mark.parametrize("module", [*DROPOUTS, nn.RReLU()], ids=repr)
def test_without_training_no_key_is_asked_for(module: nn.Module) -> None:
    x = jnp.ones((2, 3, 4))
    assert (run(module.train(), x, training=False, seed=None) == x).all()
    assert module.training, "the module's own flag stays as it was"


def test_training_without_a_key_says_so() -> None:
    with pytest.raises(RuntimeError, match="without a key"):
        run(nn.Dropout(), jnp.ones(3), seed=None)


@pytest.mark.parametrize("module", [nn.Dropout(0.3), Functional()], ids=repr)
def test_dropout_keeps_the_mean(module: nn.Module) -> None:
    y = run(module, jnp.ones((400, 100)))
    assert set(np.unique(y)) == {np.float32(0), np.float32(1 / 0.7)}
    assert abs((y == 0).mean() - 0.3) < 0.01
    assert abs(y.mean() - 1) < 0.02


def test_alpha_dropout_keeps_mean_and_variance() -> None:
    x = jax.random.normal(jax.random.key(3), (400, 200))
    y = run(nn.AlphaDropout(0.3), x)
    assert abs(y.mean()) < 0.02
    assert abs(y.std() - 1) < 0.02


@pytest.mark.parametrize(
    ("module", "shape", "kept"),
    [
        (nn.Dropout1d(), (40, 30, 5), 2),
        (nn.Dropout1d(), (40, 5), 1),
        (nn.Dropout2d(), (20, 30, 5, 2), 2),
        (nn.Dropout3d(), (20, 30, 2, 2, 2), 2),
        (nn.FeatureAlphaDropout(), (20, 30, 5), 2),
    ],
)
def test_whole_channels_are_dropped(module: nn.Module, shape: tuple[int, ...], kept: int) -> None:
    y = run(module, jnp.ones(shape)).reshape(*shape[:kept], -1)
    assert (y == y[..., :1]).all()
    assert len(np.unique(y)) == 2


def test_rrelu_draws_its_slopes() -> None:
    y = run(nn.RReLU(0.1, 0.5), -jnp.ones(10_000))
    assert -0.5 <= y.min() < -0.49
    assert -0.11 < y.max() <= -0.1
    assert abs(y.mean() + 0.3) < 0.01
    assert (run(nn.RReLU(), jnp.ones(5)) == 1).all()


@pytest.mark.parametrize("p", [0.0, 1.0])
def test_the_extremes_equal_torch(p: float) -> None:
    x = jnp.arange(6.0)
    for module in (nn.Dropout(p), nn.AlphaDropout(p)):
        np.testing.assert_allclose(run(module, x), module.train()(torch.arange(6.0)))


def test_coins_fall_as_their_chances_say() -> None:
    with ppl.running("numpyro"), numpyro.handlers.seed(rng_seed=0):
        chances = jnp.broadcast_to(jnp.array([0.0, 0.2, 1.0]), (4000, 3))
        coins, others = ppl.ops.bernoulli(chances), ppl.ops.bernoulli(chances)
        fair = ppl.ops.bernoulli(chances, 0.5)
    assert coins.dtype == chances.dtype
    assert set(np.unique(coins)) == {0.0, 1.0}
    np.testing.assert_allclose(coins.mean(0), [0.0, 0.2, 1.0], atol=0.03)
    np.testing.assert_allclose(fair.mean(0), 0.5, atol=0.04)
    assert (coins != others).any()
