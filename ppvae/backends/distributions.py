"""Distributions: every name in ``pyro.distributions``, and what stands for it on NumPyro.

``python -m ppvae.backends.distributions > docs/distributions.md`` writes the table.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpyro.distributions as nd

from ppvae.backends import translations as to


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
    "SineSkewed": "Pyro's Bessel function, under VonMises, is right to 1e-7",
    "Unit": "`has_rsample` has no effect on NumPyro",
    "VonMises": "Pyro's Bessel function is right to 1e-7",
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


def _namespace() -> SimpleNamespace:
    transforms = SimpleNamespace(**_same(nd.transforms, TRANSFORMS_SAME), **TRANSFORMS)
    constraints = SimpleNamespace(**_same(nd.constraints, CONSTRAINTS))
    kl = SimpleNamespace(kl_divergence=nd.kl_divergence)
    return SimpleNamespace(**_same(nd, SAME), **TRANSLATED, transforms=transforms, constraints=constraints, kl=kl)


NAMESPACE = _namespace()


def names(module: Any = pd, kind: type = torch.distributions.Distribution) -> list[str]:
    """The classes of a kind, and the functions, that a module of Pyro's holds."""
    return sorted(name for name, held in vars(module).items() if inspect.isclass(held) and issubclass(held, kind))


def how(name: str) -> str:
    """Is a distribution of Pyro's ``same``, ``translated`` or ``absent`` on NumPyro?"""
    return "same" if name in SAME.split() else "translated" if name in TRANSLATED else "absent"


def table() -> str:
    """The page docs/distributions.md."""
    rows = [f"| `{name}` | `{_spelling(name)}` | {_class(name)} | {NOTES.get(name, '')} |" for name in names()]
    present = [row for name, row in zip(names(), rows, strict=True) if how(name) != "absent"]
    absent = ", ".join(f"`{name}`" for name in names() if how(name) == "absent")
    listed = {"transforms": sorted([*TRANSFORMS_SAME.split(), *TRANSFORMS]), "constraints": CONSTRAINTS.split()}
    lists = "\n\n".join(f"`dist.{k}`: " + ", ".join(f"`{name}`" for name in v) + "." for k, v in listed.items())
    return PAGE.format(rows="\n".join(present), absent=absent, lists=lists)


def _spelling(name: str) -> str:
    parameters = inspect.signature(getattr(pd, name).__init__).parameters.values()
    shown = [p.replace(annotation=p.empty) for p in parameters if p.name not in ("self", "validate_args")]
    return name + str(inspect.Signature(shown))


def _class(name: str) -> str:
    return f"`{name}`" if how(name) == "same" else f"translated: {getattr(TRANSLATED[name], '__doc__')}"


PAGE = """TODO"""

if __name__ == "__main__":
    print(table(), end="")
