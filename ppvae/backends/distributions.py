"""Distributions: every name in ``pyro.distributions``, and what stands for it on NumPyro.

``python -m ppvae.backends.distributions > docs/distributions.md`` writes the table.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpyro.distributions as nd
import pyro.distributions as pd
import torch

from ppvae.backends import translations as to


@dataclass(frozen=True)
class Row:
    """One name: the NumPyro object that answers to it (None where there is none), and a note."""

    name: str
    numpyro: Any
    note: str = ""

    @property
    def how(self) -> str:
        """``same``, ``translated`` or ``absent``."""
        if self.numpyro is None:
            return "absent"
        return "translated" if self.numpyro.__module__.startswith("ppvae") else "same"


# NumPyro's own class takes Pyro's arguments in Pyro's order.
SAME = """AsymmetricLaplace Beta BetaBinomial Cauchy Chi2 Delta Dirichlet Distribution Exponential
ExpandedDistribution FoldedDistribution Gamma GammaPoisson Gumbel HalfCauchy HalfNormal ImproperUniform InverseGamma
Kumaraswamy Laplace LogNormal Logistic LowRankMultivariateNormal MaskedDistribution MultivariateNormal
MultivariateStudentT Normal Pareto Poisson ProjectedNormal SineBivariateVonMises SineSkewed SoftLaplace StudentT
TransformedDistribution Uniform VonMises Weibull"""

TRANSLATED = {
    "Bernoulli": to.bernoulli,
    "Binomial": to.binomial,
    "Categorical": to.categorical,
    "DirichletMultinomial": to.dirichlet_multinomial,
    "Geometric": to.geometric,
    "Independent": to.independent,
    "LKJ": to.lkj,
    "LKJCholesky": to.lkj_cholesky,
    "LogisticNormal": to.logistic_normal,
    "MixtureSameFamily": to.mixture_same_family,
    "Multinomial": to.multinomial,
    "NegativeBinomial": to.negative_binomial,
    "OneHotCategorical": to.one_hot_categorical,
    "OrderedLogistic": to.OrderedLogistic,
    "RelaxedBernoulli": to.relaxed_bernoulli,
    "Unit": to.unit,
    "Wishart": to.wishart,
    "ZeroInflatedDistribution": to.zero_inflated,
    "ZeroInflatedNegativeBinomial": to.zero_inflated_negative_binomial,
    "ZeroInflatedPoisson": to.zero_inflated_poisson,
}

NOTES = {
    "Delta": "a number or an array on NumPyro, an array on Pyro",
}

TRANSFORMS_SAME = """AbsTransform CatTransform CholeskyTransform ComposeTransform CorrCholeskyTransform
CorrMatrixCholeskyTransform DiscreteCosineTransform ExpTransform HaarTransform IndependentTransform LowerCholeskyAffine
LowerCholeskyTransform OrderedTransform PowerTransform SigmoidTransform SimplexToOrderedTransform
SoftplusLowerCholeskyTransform SoftplusTransform StickBreakingTransform Transform biject_to"""

TRANSFORMS = {"AffineTransform": to.affine, "ReshapeTransform": to.reshape, "TanhTransform": to.TanhTransform}

CONSTRAINTS = """Constraint boolean cat corr_cholesky corr_matrix dependent dependent_property greater_than
greater_than_eq independent integer_interval interval is_dependent less_than lower_cholesky multinomial nonnegative
nonnegative_integer ordered_vector positive positive_definite positive_integer positive_ordered_vector
positive_semidefinite real real_vector simplex softplus_lower_cholesky softplus_positive sphere unit_interval"""


def _same(module: Any, names: str) -> dict[str, Any]:
    return {name: getattr(module, name) for name in names.split()}


def namespace() -> SimpleNamespace:
    """What ``dist`` stands for on NumPyro."""
    transforms = SimpleNamespace(**_same(nd.transforms, TRANSFORMS_SAME), **TRANSFORMS)
    constraints = SimpleNamespace(**_same(nd.constraints, CONSTRAINTS))
    return SimpleNamespace(
        **_same(nd, SAME),
        **TRANSLATED,
        transforms=transforms,
        constraints=constraints,
        kl=SimpleNamespace(kl_divergence=nd.kl_divergence),
    )
