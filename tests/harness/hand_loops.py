"""Loops written by hand over a library's own estimator and optimiser, in double precision: the oracle of training."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
import numpyro.infer
import optax
import pyro.infer
import torch
from torch import nn

from ppvae import VAE, Dataset, Program, dist
from ppvae import pyro as words
from ppvae.backends import mirror
from ppvae.backends import numpyro as numpyro_engine
from ppvae.backends import pyro as pyro_engine
from ppvae.language.batch import Batch
from ppvae.runs.settings import Settings
from ppvae.training.epochs import order

BATCH = 8
Weights = dict[str, np.ndarray]


class Scores(Program):
    """z ~ N(0, I);  x ~ N(loadings(z), 1)."""

    def __init__(self) -> None:
        super().__init__()
        self.loadings = nn.Linear(2, 3)

    def forward(self, batch: Batch) -> None:
        with batch.plate():
            z = words.sample("z", dist.Normal(0.0, 1.0).expand([2]).to_event(1))
            words.sample("x", dist.Normal(self.loadings(z), 1.0).to_event(1), obs=batch.get("x"))


class Guess(Program):
    """q(z | x) = N(loc(x), scale)."""

    def __init__(self) -> None:
        super().__init__()
        self.loc, self.log_scale = nn.Linear(3, 2), nn.Parameter(torch.zeros(2))

    def forward(self, batch: Batch) -> None:
        with batch.plate():
            words.sample("z", dist.Normal(self.loc(batch.get("x")), self.log_scale.exp()).to_event(1))


def pair(objective: Any = "elbo") -> VAE:
    torch.manual_seed(0)
    return VAE(Scores(), Guess(), objective)


def data() -> Dataset:
    return Dataset({"x": np.random.default_rng(0).normal(size=(24, 3))})


def options(backend: str, epochs: int = 2, **more: Any) -> dict[str, Any]:
    """Those of ``fit`` that a loop by hand follows."""
    return {"backend": backend, "epochs": epochs, "batch_size": BATCH, "dtype": "float64", "seed": 3, **more}


def batches(settings: Settings) -> list[Batch]:
    epochs = range(int(settings.epochs))
    return [Batch({"x": data().arrays["x"][r]}, total=24) for e in epochs for r in order(settings, 24, e)]


def in_torch(
    make: Callable[[Mapping[str, nn.Parameter]], torch.optim.Optimizer],
    estimator: Any = None,
    epochs: int = 2,
) -> Weights:
    """The weights after Pyro's estimator and torch's optimiser; a group's ``rate`` may be a function of the epoch."""
    settings = Settings(**options("pyro", epochs))
    trained = copy.deepcopy(pair()).pair.double()
    optimizer = make(dict(trained.named_parameters()))
    estimator = estimator or pyro.infer.Trace_ELBO()
    with pyro_engine.environment(settings):
        for step, batch in enumerate(batches(settings)):
            pyro_engine.seed(settings.seed, step)
            for group in optimizer.param_groups:
                rate = group.get("rate", group["lr"])
                group["lr"] = rate(step / 3) if callable(rate) else rate
            optimizer.zero_grad()
            if hasattr(estimator, "differentiable_loss"):
                estimator.differentiable_loss(*trained.values(), batch).backward()
            else:
                estimator.loss_and_grads(*trained.values(), batch)
            for parameter in trained.parameters():
                parameter.grad /= 24
            optimizer.step()
    return {name: p.detach().numpy() for name, p in trained.named_parameters()}


def in_optax(optimizer: optax.GradientTransformation, estimator: Any = None, epochs: int = 2) -> Weights:
    """The weights after NumPyro's estimator and optax's optimiser."""
    settings = Settings(**options("numpyro", epochs))
    own = copy.deepcopy(pair()).pair.double()
    estimator = estimator or numpyro.infer.Trace_ELBO()

    optimizer = optax.with_extra_args_support(optimizer)

    def loss(params: Any, key: Any, x: Any) -> Any:
        programs = numpyro_engine.programs(own, params, mirror.aliases(own))
        return estimator.loss(key, {}, *programs, Batch({"x": x}, total=24)) / 24

    @jax.jit
    def moved(params: Any, moments: Any, key: Any, x: Any) -> Any:
        value, gradient = jax.value_and_grad(loss)(params, key, x)
        updates, moments = optimizer.update(gradient, moments, params, value=value)
        return optax.apply_updates(params, updates), moments

    with numpyro_engine.environment(settings):
        params = mirror.arrays(own)
        moments = optimizer.init(params)
        for step, batch in enumerate(batches(settings)):
            key = jax.random.fold_in(jax.random.key(np.uint32(settings.seed)), step)
            params, moments = moved(params, moments, key, batch.arrays["x"])
    return {name: np.asarray(array) for name, array in params.items()}


def assert_close(weights: Mapping[str, Any], expected: Weights, rtol: float = 1e-9) -> None:
    assert weights.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_allclose(weights[name], array, rtol=rtol, atol=1e-12, err_msg=name)
