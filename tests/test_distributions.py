"""Each distribution says the same on both backends: density, moments, shapes, and floats as values."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import pytest
import torch

from ppvae import dist, ppl
from ppvae.backends import distributions

torch.set_default_dtype(torch.float32)

ARRAYS = {
    "real": [-0.7, 0.3, 1.9],
    "shift": [0.4, -1.1, 0.2],
    "pos": [0.6, 1.4, 2.3],
    "more": [1.7, 0.9, 3.1],
    "unit": [0.15, 0.5, 0.8],
    "angle": [-2.0, 0.4, 1.5],
    "rows": [[-0.3, 0.8, 0.1, -1.2], [1.1, 0.0, -0.4, 0.6], [0.2, 0.2, -2.0, 0.9]],
    "weights": [[1.0, 2.0, 3.0, 0.5], [0.1, 0.2, 0.3, 0.4], [5.0, 1.0, 1.0, 1.0]],
    "cuts": [-1.0, 0.2, 1.4],
    "tril": [[[1.0, 0.0], [0.3, 0.8]], [[0.5, 0.0], [-0.4, 1.2]], [[2.0, 0.0], [0.9, 0.7]]],
    "pairs": [[0.1, -0.4], [1.0, 2.0], [-1.5, 0.3]],
    "half": [0.5, 1.5, 2.5],
    "one": 1.0,
    "half_turn": [[0.2, -0.3], [0.1, 0.4], [-0.2, 0.3]],
}


def bag(array: Callable[[Any], Any]) -> SimpleNamespace:
    return SimpleNamespace(**{name: array(values) for name, values in ARRAYS.items()})


def torch_bag() -> SimpleNamespace:
    return bag(lambda values: torch.tensor(values, dtype=torch.float64))


def jax_bag() -> SimpleNamespace:
    return bag(lambda values: jnp.asarray(values, dtype=jnp.float64))


Case = Callable[[SimpleNamespace], Any]
CASES: dict[str, list[Case]] = {
    "AsymmetricLaplace": [lambda v: dist.AsymmetricLaplace(v.real, v.pos, asymmetry=v.more)],
    "Bernoulli": [lambda v: dist.Bernoulli(v.unit), lambda v: dist.Bernoulli(logits=v.real)],
    "Beta": [lambda v: dist.Beta(v.pos, concentration0=v.more)],
    "BetaBinomial": [lambda v: dist.BetaBinomial(v.pos, v.more, total_count=5)],
    "Binomial": [lambda v: dist.Binomial(7, v.unit), lambda v: dist.Binomial(7, logits=v.real)],
    "Categorical": [
        lambda v: dist.Categorical(v.weights),
        lambda v: dist.Categorical(logits=v.rows),
    ],
    "Cauchy": [lambda v: dist.Cauchy(v.real, scale=v.pos)],
    "Chi2": [lambda v: dist.Chi2(df=v.pos)],
    "Delta": [
        lambda v: dist.Delta(v.real, log_density=v.shift),
        lambda v: dist.Delta(v.rows, v.real, event_dim=1),
    ],
    "Dirichlet": [lambda v: dist.Dirichlet(concentration=v.weights)],
    "DirichletMultinomial": [
        lambda v: dist.DirichletMultinomial(v.weights, 6),
        lambda v: dist.DirichletMultinomial(v.weights, 6, is_sparse=True),
    ],
    "Exponential": [lambda v: dist.Exponential(rate=v.pos)],
    "FoldedDistribution": [lambda v: dist.FoldedDistribution(dist.Normal(v.real, v.pos))],
    "Gamma": [lambda v: dist.Gamma(v.pos, rate=v.more)],
    "GammaPoisson": [lambda v: dist.GammaPoisson(v.pos, rate=v.more)],
    "Geometric": [lambda v: dist.Geometric(v.unit), lambda v: dist.Geometric(logits=v.real)],
    "Gumbel": [lambda v: dist.Gumbel(v.real, v.pos)],
    "HalfCauchy": [lambda v: dist.HalfCauchy(scale=v.pos)],
    "HalfNormal": [lambda v: dist.HalfNormal(scale=v.pos)],
    "ImproperUniform": [lambda v: dist.ImproperUniform(dist.constraints.real, (3,), (4,))],
    "Independent": [
        lambda v: dist.Independent(base_distribution=dist.Normal(v.rows, v.one), reinterpreted_batch_ndims=1)
    ],
    "InverseGamma": [lambda v: dist.InverseGamma(v.more + 2, rate=v.pos)],
    "Kumaraswamy": [lambda v: dist.Kumaraswamy(v.pos, v.more)],
    "LKJ": [lambda v: dist.LKJ(dim=3, concentration=v.pos)],
    "LKJCholesky": [lambda v: dist.LKJCholesky(dim=3, concentration=v.pos)],
    "Laplace": [lambda v: dist.Laplace(v.real, scale=v.pos)],
    "LogNormal": [lambda v: dist.LogNormal(v.real, v.pos)],
    "Logistic": [lambda v: dist.Logistic(v.real, v.pos)],
    "LogisticNormal": [lambda v: dist.LogisticNormal(v.rows, v.weights)],
    "LowRankMultivariateNormal": [
        lambda v: dist.LowRankMultivariateNormal(v.pairs, v.pairs[..., None], cov_diag=v.pairs**2 + 0.5)
    ],
    "MixtureSameFamily": [
        lambda v: dist.MixtureSameFamily(
            mixture_distribution=dist.Categorical(v.weights),
            component_distribution=dist.Normal(v.rows, v.weights),
        ),
        lambda v: dist.MixtureSameFamily(
            dist.Categorical(logits=v.rows), dist.Normal(v.rows[..., None], v.weights[..., None]).to_event(1)
        ),
    ],
    "Multinomial": [
        lambda v: dist.Multinomial(6, v.weights),
        lambda v: dist.Multinomial(6, logits=v.rows),
    ],
    "MultivariateNormal": [
        lambda v: dist.MultivariateNormal(v.pairs, v.tril @ v.tril.swapaxes(-1, -2)),
        lambda v: dist.MultivariateNormal(v.pairs, precision_matrix=v.tril @ v.tril.swapaxes(-1, -2)),
        lambda v: dist.MultivariateNormal(v.pairs, scale_tril=abs_diagonal(v.tril)),
    ],
    "MultivariateStudentT": [lambda v: dist.MultivariateStudentT(v.pos + 2, v.pairs, scale_tril=v.tril)],
    "NegativeBinomial": [
        lambda v: dist.NegativeBinomial(v.pos, v.unit),
        lambda v: dist.NegativeBinomial(total_count=v.pos, logits=v.real),
    ],
    "Normal": [lambda v: dist.Normal(v.real, scale=v.pos)],
    "OneHotCategorical": [
        lambda v: dist.OneHotCategorical(v.weights),
        lambda v: dist.OneHotCategorical(logits=v.rows),
    ],
    "OrderedLogistic": [lambda v: dist.OrderedLogistic(v.real, cutpoints=v.cuts)],
    "Pareto": [lambda v: dist.Pareto(v.pos, alpha=v.more)],
    "Poisson": [lambda v: dist.Poisson(rate=v.pos), lambda v: dist.Poisson(v.pos, is_sparse=True)],
    "ProjectedNormal": [
        lambda v: dist.ProjectedNormal(v.pairs),
        lambda v: dist.ProjectedNormal(v.rows[:, :3]),
    ],
    "RelaxedBernoulli": [
        lambda v: dist.RelaxedBernoulli(v.half, v.unit),
        lambda v: dist.RelaxedBernoulli(temperature=v.half, logits=v.real),
    ],
    "SineBivariateVonMises": [
        lambda v: dist.SineBivariateVonMises(v.angle, v.real, v.pos + 2, v.more + 2, correlation=v.shift)
    ],
    "SineSkewed": [
        lambda v: dist.SineSkewed(dist.VonMises(v.half_turn, v.one).to_event(1), v.half_turn),
    ],
    "SoftLaplace": [lambda v: dist.SoftLaplace(v.real, v.pos)],
    "StudentT": [lambda v: dist.StudentT(v.pos + 2, v.real, scale=v.more)],
    "TransformedDistribution": [
        lambda v: dist.TransformedDistribution(dist.Normal(v.real, v.pos), dist.transforms.ExpTransform()),
        lambda v: dist.TransformedDistribution(
            dist.Normal(v.real, v.pos),
            [dist.transforms.AffineTransform(v.shift, v.more), dist.transforms.SigmoidTransform()],
        ),
    ],
    "Uniform": [lambda v: dist.Uniform(v.real - v.pos, high=v.real)],
    "Unit": [lambda v: dist.Unit(v.real), lambda v: dist.Unit(log_factor=v.real, has_rsample=True)],
    "VonMises": [lambda v: dist.VonMises(v.angle, concentration=v.pos)],
    "Weibull": [lambda v: dist.Weibull(v.pos, v.more)],
    "Wishart": [
        lambda v: dist.Wishart(v.pos + 3, v.tril @ v.tril.swapaxes(-1, -2)),
        lambda v: dist.Wishart(v.pos + 3, precision_matrix=v.tril @ v.tril.swapaxes(-1, -2)),
        lambda v: dist.Wishart(df=v.pos + 3, scale_tril=v.tril),
    ],
    "ZeroInflatedDistribution": [
        lambda v: dist.ZeroInflatedDistribution(dist.Poisson(v.pos), gate=v.unit),
        lambda v: dist.ZeroInflatedDistribution(dist.Geometric(v.unit), gate_logits=v.real),
    ],
    "ZeroInflatedNegativeBinomial": [
        lambda v: dist.ZeroInflatedNegativeBinomial(v.pos, probs=v.unit, gate=v.unit),
        lambda v: dist.ZeroInflatedNegativeBinomial(v.pos, logits=v.real, gate_logits=v.shift),
    ],
    "ZeroInflatedPoisson": [
        lambda v: dist.ZeroInflatedPoisson(v.pos, gate=v.unit),
        lambda v: dist.ZeroInflatedPoisson(v.pos, gate_logits=v.shift),
    ],
}


def abs_diagonal(tril: Any) -> Any:
    return tril
