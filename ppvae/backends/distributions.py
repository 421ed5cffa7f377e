"""Distributions: every name in ``pyro.distributions``, and what stands for it on NumPyro.

``python -m ppvae.backends.distributions > docs/distributions.md`` writes the table.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Any

import numpyro.distributions as nd
import pyro.distributions as pd
import torch

from ppvae.backends import translations as to
from ppvae.backends.spoken import Vocabulary

# NumPyro's own class takes Pyro's arguments in Pyro's order.
SAME = """AsymmetricLaplace Beta BetaBinomial Cauchy Chi2 Delta Dirichlet Distribution Exponential
ExpandedDistribution FoldedDistribution Gamma Gumbel HalfCauchy HalfNormal ImproperUniform InverseGamma
Kumaraswamy Laplace LogNormal Logistic LowRankMultivariateNormal MaskedDistribution MultivariateNormal
MultivariateStudentT Normal Pareto ProjectedNormal SineBivariateVonMises SineSkewed SoftLaplace StudentT
TransformedDistribution Uniform VonMises Weibull"""

# Pyro's name: who translates, and the class of NumPyro's that it builds.
TRANSLATED: dict[str, tuple[Any, str]] = {
    "Bernoulli": (to.bernoulli, "BernoulliProbs, BernoulliLogits"),
    "Binomial": (to.binomial, "BinomialProbs, BinomialLogits"),
    "Categorical": (to.categorical, "CategoricalProbs, CategoricalLogits"),
    "DirichletMultinomial": (to.dirichlet_multinomial, "DirichletMultinomial"),
    "GammaPoisson": (to.GammaPoisson, "GammaPoisson"),
    "Geometric": (to.geometric, "GeometricProbs, GeometricLogits"),
    "Independent": (to.independent, "Independent"),
    "LKJ": (to.lkj, "LKJ"),
    "LKJCholesky": (to.lkj_cholesky, "LKJCholesky"),
    "LogisticNormal": (to.logistic_normal, "TransformedDistribution"),
    "MixtureSameFamily": (to.mixture_same_family, "MixtureSameFamily"),
    "Multinomial": (to.multinomial, "MultinomialProbs, MultinomialLogits"),
    "NegativeBinomial": (to.negative_binomial, "NegativeBinomialLogits"),
    "OneHotCategorical": (to.one_hot_categorical, "MultinomialProbs, MultinomialLogits"),
    "OrderedLogistic": (to.OrderedLogistic, "OrderedLogistic"),
    "Poisson": (to.Poisson, "Poisson"),
    "RelaxedBernoulli": (to.relaxed_bernoulli, "RelaxedBernoulliLogits"),
    "Unit": (to.unit, "Unit"),
    "Wishart": (to.wishart, "Wishart"),
    "ZeroInflatedDistribution": (to.zero_inflated, "ZeroInflatedProbs, ZeroInflatedLogits"),
    "ZeroInflatedNegativeBinomial": (to.zero_inflated_negative_binomial, "ZeroInflatedProbs, ZeroInflatedLogits"),
    "ZeroInflatedPoisson": (to.zero_inflated_poisson, "ZeroInflatedProbs, ZeroInflatedLogits"),
}

NOTES = {
    "Beta": "JAX's log beta function is right to 4e-7",
    "BetaBinomial": "JAX's log beta function is right to 4e-7",
    "Cauchy": "variance: infinite on Pyro, undefined on NumPyro",
    "Categorical": "values of any dtype",
    "DirichletMultinomial": "`is_sparse` has no effect on NumPyro",
    "GammaPoisson": "JAX's log beta function is right to 4e-7",
    "MixtureSameFamily": "on NumPyro the components' support may not depend on their parameters",
    "NegativeBinomial": "no `probs` attribute on NumPyro",
    "OneHotCategorical": "a multinomial of one draw",
    "OrderedLogistic": "values of any dtype",
    "Poisson": "draws are floats, and normal where the rate is a million or more",
    "SineSkewed": "Pyro's Bessel function, under VonMises, is right to 1e-7",
    "Unit": "`has_rsample` has no effect on NumPyro",
    "VonMises": "Pyro's Bessel function is right to 1e-7",
}

# NumPyro's LowerCholesky transforms take a vector where torch's take a matrix, so they are not the same.
TRANSFORMS_SAME = """AbsTransform CatTransform CholeskyTransform ComposeTransform CorrCholeskyTransform
CorrMatrixCholeskyTransform DiscreteCosineTransform ExpTransform HaarTransform IndependentTransform
LowerCholeskyAffine OrderedTransform PowerTransform SigmoidTransform SimplexToOrderedTransform SoftplusTransform
StickBreakingTransform Transform biject_to"""

TRANSFORMS = {"AffineTransform": to.affine, "ReshapeTransform": to.reshape, "TanhTransform": to.TanhTransform}

CONSTRAINTS = """Constraint boolean cat corr_cholesky corr_matrix dependent dependent_property greater_than
greater_than_eq independent integer_interval interval is_dependent less_than lower_cholesky multinomial nonnegative
nonnegative_integer ordered_vector positive positive_definite positive_integer positive_ordered_vector
positive_semidefinite real real_vector simplex softplus_lower_cholesky softplus_positive sphere unit_interval"""


def _same(module: Any, names: str) -> dict[str, Any]:
    return {name: getattr(module, name) for name in names.split()}


def _namespace() -> Vocabulary:
    transforms = Vocabulary(**_same(nd.transforms, TRANSFORMS_SAME), **TRANSFORMS)
    constraints = Vocabulary(**_same(nd.constraints, CONSTRAINTS))
    kl = Vocabulary(kl_divergence=nd.kl_divergence)
    translated = {name: builder for name, (builder, _) in TRANSLATED.items()}
    return Vocabulary(**_same(nd, SAME), **translated, transforms=transforms, constraints=constraints, kl=kl)


NAMESPACE = _namespace()


def names() -> list[str]:
    """Every distribution in ``pyro.distributions``."""
    kind = torch.distributions.Distribution, pd.Distribution
    return sorted(name for name, held in vars(pd).items() if inspect.isclass(held) and issubclass(held, kind))


def how(name: str) -> str:
    """Is a distribution of Pyro's ``same``, ``translated`` or ``absent`` on NumPyro?"""
    return "same" if name in SAME.split() else "translated" if name in TRANSLATED else "absent"


def page() -> str:
    """The text of docs/distributions.md."""
    transforms = sorted([*TRANSFORMS_SAME.split(), *TRANSFORMS])
    return PAGE.format(
        rows="\n".join(_row(name) for name in names() if how(name) != "absent"),
        absent=_listed(name for name in names() if how(name) == "absent"),
        transforms=_listed(transforms),
        missing_transforms=_listed(name for name in pd.transforms.__all__ if name not in transforms),
        constraints=_listed(CONSTRAINTS.split()),
        missing_constraints=_listed(name for name in pd.constraints.__all__ if name not in CONSTRAINTS.split()),
    )


def _row(name: str) -> str:
    parameters = inspect.signature(getattr(pd, name).__init__).parameters.values()
    taken = [
        p.replace(annotation=p.empty) for p in parameters if p.name not in ("self", "args", "kwargs", "validate_args")
    ]
    built = name if how(name) == "same" else TRANSLATED[name][1]
    return f"| {name} | `{name}{inspect.Signature(taken)}` | {_listed(built.split(', '))} | {NOTES.get(name, '')} |"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


PAGE = """\
# Distributions

Programs name distributions as Pyro does, with Pyro's arguments; this page says what stands for each on NumPyro.
It is written by `python -m ppvae.backends.distributions > docs/distributions.md`; a test compares the two.

Values may be floats everywhere: observed arrays reach programs so on both backends. Probabilities that do not sum to
one are normalised, as torch does. At the very edge (a category of probability zero, a Bernoulli of probability zero)
torch clamps to about -16 nats in single precision where NumPyro may answer minus infinity; give logits there.
`.to_event`, `.expand`, `.mask`, `.log_prob`, `.mean`, `.variance`, `.batch_shape`, `.event_shape` and `.support` are
spelled alike; draw with `pyro.sample`, because NumPyro's own `.sample` asks for a key.

| distribution | Pyro spelling | NumPyro class | note |
|---|---|---|---|
{rows}

A density and a sampler written by hand: `ppvae.language.ppl.distribution(sample, log_prob, batch_shape, event_shape)`.

Without a counterpart on NumPyro (they run on Pyro alone): {absent}.

## Transforms

`dist.transforms` on both backends (`cache_size` is Pyro's own): {transforms}.

On Pyro alone: {missing_transforms}.

## Constraints

`dist.constraints` on both backends: {constraints}.

On Pyro alone: {missing_constraints}.
"""

if __name__ == "__main__":
    print(page(), end="")
