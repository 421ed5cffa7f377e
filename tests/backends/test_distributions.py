"""Each distribution of Pyro's says the same on both backends: densities, gradients, moments, shapes, refusals."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from ppvae.backends.distributions.page import names, page
from ppvae.backends.distributions.text import array, interpreting, spoken
from ppvae.backends.distributions.words import ABSENT
from ppvae.backends.mirror import MirrorError
from ppvae.backends.mirror.running.convert import nested
from ppvae.language import ppl
from ppvae.language.ppl import dist

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
    "counts": [5.0, 3.0, 4.0],
}


def bag(array: Callable[[Any], Any]) -> SimpleNamespace:
    return SimpleNamespace(**{name: array(values) for name, values in ARRAYS.items()})


def torch_bag() -> SimpleNamespace:
    return bag(lambda values: torch.tensor(values, dtype=torch.float64, requires_grad=True))


def jax_bag() -> dict[str, jax.Array]:
    return {name: jnp.asarray(values, dtype=jnp.float64) for name, values in ARRAYS.items()}


def gaussian(v: Any, row: int, rows: int = 0) -> Any:
    pick = slice(row, row + rows) if rows else row
    return dist.MultivariateNormal(v.pairs[pick], scale_tril=v.tril[pick].tril())


def scalar(v: Any) -> Any:
    return dist.MultivariateNormal(v.pairs[:1, :1], scale_tril=v.tril[:1, :1, :1])


def observed(v: Any) -> tuple[Any, ...]:
    noise = dist.MultivariateNormal(v.pairs[0, :1], scale_tril=v.tril[0, :1, :1])
    return gaussian(v, 1), v.pairs[2, :, None], noise


Case = Callable[[Any], Any]
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
        lambda v: dist.MultivariateNormal(v.pairs, v.tril @ v.tril.transpose(-1, -2)),
        lambda v: dist.MultivariateNormal(v.pairs, precision_matrix=v.tril @ v.tril.transpose(-1, -2)),
        lambda v: dist.MultivariateNormal(v.pairs, scale_tril=v.tril),
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
        lambda v: dist.Wishart(v.pos + 3, v.tril @ v.tril.transpose(-1, -2)),
        lambda v: dist.Wishart(v.pos + 3, precision_matrix=v.tril @ v.tril.transpose(-1, -2)),
        lambda v: dist.Wishart(df=v.pos + 3, scale_tril=v.tril.tril()),
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
    "AVFMultivariateNormal": [lambda v: dist.AVFMultivariateNormal(v.pairs[0], v.tril[0], v.pairs[:2, None, :] * 0)],
    "AffineBeta": [lambda v: dist.AffineBeta(v.pos, v.more, v.real, v.pos)],
    "ContinuousBernoulli": [
        lambda v: dist.ContinuousBernoulli(v.unit),
        lambda v: dist.ContinuousBernoulli(logits=v.real),
    ],
    "DiscreteHMM": [
        lambda v: dist.DiscreteHMM(v.rows[0], v.weights[[0, 1, 2, 0]], dist.Normal(v.rows[0], 1.0), duration=3)
    ],
    "ExtendedBetaBinomial": [lambda v: dist.ExtendedBetaBinomial(v.pos, v.more, v.counts)],
    "ExtendedBinomial": [lambda v: dist.ExtendedBinomial(v.counts, v.unit)],
    "FisherSnedecor": [lambda v: dist.FisherSnedecor(v.pos + 4, v.more + 5)],
    "GammaGaussianHMM": [
        lambda v: dist.GammaGaussianHMM(
            dist.Gamma(v.pos[0], v.more[0]), gaussian(v, 0), v.tril[1], *observed(v), duration=3
        )
    ],
    "GaussianHMM": [lambda v: dist.GaussianHMM(gaussian(v, 0), v.tril[1], *observed(v), duration=3)],
    "GaussianMRF": [
        lambda v: dist.GaussianMRF(
            gaussian(v, 0),
            dist.MultivariateNormal(v.rows, torch.diag_embed(v.weights)),
            dist.MultivariateNormal(v.rows[:, :3], torch.diag_embed(v.weights[:, :3])),
        )
    ],
    "GaussianScaleMixture": [lambda v: dist.GaussianScaleMixture(v.pos, v.real, v.more)],
    "GeneralizedPareto": [lambda v: dist.GeneralizedPareto(v.real, v.pos, v.unit / 4)],
    "IndependentHMM": [
        lambda v: dist.IndependentHMM(
            dist.GaussianHMM(
                gaussian(v, 0, 1), v.tril[1:2], gaussian(v, 1, 1), v.pairs[:1, :, None], scalar(v), duration=3
            )
        )
    ],
    "LinearHMM": [
        lambda v: dist.LinearHMM(
            dist.Normal(v.pairs[0], 1.0).to_event(1),
            v.tril[1],
            dist.Laplace(v.pairs[1], 1.0).to_event(1),
            v.pairs[2, :, None],
            dist.Normal(v.pairs[0, :1], 1.0).to_event(1),
            duration=3,
        )
    ],
    "LKJCorrCholesky": [lambda v: dist.LKJCorrCholesky(3, v.pos)],
    "LogNormalNegativeBinomial": [lambda v: dist.LogNormalNegativeBinomial(v.pos, v.real, v.more)],
    "MaskedMixture": [lambda v: dist.MaskedMixture(v.real > 0, dist.Normal(v.real, 1.0), dist.Laplace(v.real, v.pos))],
    "MixtureOfDiagNormals": [
        lambda v: dist.MixtureOfDiagNormals(v.rows.transpose(0, 1), v.weights.transpose(0, 1), v.rows[0])
    ],
    "MixtureOfDiagNormalsSharedCovariance": [
        lambda v: dist.MixtureOfDiagNormalsSharedCovariance(v.rows.transpose(0, 1), v.pos, v.rows[0])
    ],
    "OMTMultivariateNormal": [lambda v: dist.OMTMultivariateNormal(v.pairs[0], v.tril[0])],
    "OneHotCategoricalStraightThrough": [
        lambda v: dist.OneHotCategoricalStraightThrough(v.weights),
        lambda v: dist.OneHotCategoricalStraightThrough(logits=v.rows),
    ],
    "OneOneMatching": [lambda v: dist.OneOneMatching(v.rows[:, :3])],
    "OneTwoMatching": [lambda v: dist.OneTwoMatching(v.rows[:2].transpose(0, 1))],
    "Rejector": [lambda v: dist.Rejector(dist.Normal(v.real, 1.0), lambda z: -(z**2), -v.one)],
    "RelaxedBernoulliStraightThrough": [lambda v: dist.RelaxedBernoulliStraightThrough(v.half[0], v.unit)],
    "RelaxedOneHotCategorical": [
        lambda v: dist.RelaxedOneHotCategorical(v.half[0], v.weights),
        lambda v: dist.RelaxedOneHotCategorical(v.half[0], logits=v.rows),
    ],
    "RelaxedOneHotCategoricalStraightThrough": [
        lambda v: dist.RelaxedOneHotCategoricalStraightThrough(v.half[0], v.weights)
    ],
    "SkewLogistic": [lambda v: dist.SkewLogistic(v.real, v.pos, v.more)],
    "SoftAsymmetricLaplace": [lambda v: dist.SoftAsymmetricLaplace(v.real, v.pos, v.more, v.half)],
    "SpanningTree": [lambda v: dist.SpanningTree(v.rows.reshape(-1)[:6])],
    "TruncatedPolyaGamma": [lambda v: dist.TruncatedPolyaGamma(v.real)],
    "VonMises3D": [lambda v: dist.VonMises3D(v.rows[:, :3])],
}

TRANSFORMS: dict[str, tuple[Case, str]] = {
    "AffineTransform": (lambda v: dist.transforms.AffineTransform(v.real, scale=v.pos), "real"),
    "AffineTransform of events": (lambda v: dist.transforms.AffineTransform(0.5, -2.0, event_dim=1), "rows"),
    "ComposeTransform": (
        lambda v: dist.transforms.ComposeTransform(
            [dist.transforms.AffineTransform(v.real, v.pos), dist.transforms.TanhTransform()]
        ),
        "shift",
    ),
    "CorrCholeskyTransform": (lambda v: dist.transforms.CorrCholeskyTransform(), "rows3"),
    "DiscreteCosineTransform": (lambda v: dist.transforms.DiscreteCosineTransform(), "rows"),
    "ExpTransform": (lambda v: dist.transforms.ExpTransform(), "real"),
    "HaarTransform": (lambda v: dist.transforms.HaarTransform(), "rows"),
    "IndependentTransform": (
        lambda v: dist.transforms.IndependentTransform(dist.transforms.ExpTransform(), 1),
        "rows",
    ),
    "LowerCholeskyAffine": (lambda v: dist.transforms.LowerCholeskyAffine(v.pairs[0], v.tril[0]), "pairs"),
    "OrderedTransform": (lambda v: dist.transforms.OrderedTransform(), "rows"),
    "PowerTransform": (lambda v: dist.transforms.PowerTransform(v.more), "pos"),
    "ReshapeTransform": (lambda v: dist.transforms.ReshapeTransform((4,), (2, 2)), "rows"),
    "SigmoidTransform": (lambda v: dist.transforms.SigmoidTransform(), "real"),
    "SoftplusTransform": (lambda v: dist.transforms.SoftplusTransform(), "real"),
    "StickBreakingTransform": (lambda v: dist.transforms.StickBreakingTransform(), "rows"),
    "TanhTransform": (lambda v: dist.transforms.TanhTransform(), "real"),
}

# Names for the type, not for a family.
ABSTRACT = {"Distribution", "ExpandedDistribution", "ExponentialFamily", "MaskedDistribution", "TorchDistribution"}
HEAVY = {"GammaGaussianHMM", "GaussianMRF", "IndependentHMM"}  # up to 20 s each
EACH = [
    pytest.param(name, case, id=f"{name}-{i}", marks=[pytest.mark.slow] if name in HEAVY else [])
    for name, cases in CASES.items()
    for i, case in enumerate(cases)
]
FIRST = [each for each in EACH if each.id.endswith("-0")]

KNOWN = ("mean", "variance", "stddev", "mode", "has_rsample", "has_enumerate_support", "batch_shape", "event_shape")
ASKED = ("entropy", "enumerate_support")
# What picks elements by their values, or asks how large a number is: refused, and named.
REFUSED = {
    **{name: {"enumerate_support"} for name in ("BetaBinomial", "ExtendedBetaBinomial")},
    "Binomial": {"entropy"},
    "ExtendedBinomial": {"entropy", "enumerate_support"},
    "MaskedMixture": {"mean", "variance", "stddev"},
    "Multinomial": {"entropy"},
    **{name: {"mode", "enumerate_support"} for name in ("OneOneMatching", "OneTwoMatching", "SpanningTree")},
}
EDGES = (0.0, 1.0, -0.5, 0.5, 7.0)


pytestmark = [
    pytest.mark.filterwarnings("ignore:Singular sample detected"),  # torch's Wishart, which then draws again
    pytest.mark.filterwarnings("ignore:class LKJCorrCholesky"),
    pytest.mark.filterwarnings("ignore:Value out of bounds"),
]


# Each case is compiled once, as quickly as can be: operation by operation it would be compiled a hundred times.
HASTY: Any = {"xla_backend_optimization_level": "0", "xla_llvm_disable_expensive_passes": True}


@pytest.fixture(autouse=True)
def double() -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    with jax.enable_x64(True), torch.random.fork_rng():
        torch.manual_seed(3)
        yield
    torch.set_default_dtype(before)


def in_a_text(case: Case, question: Callable[[Any], Any], arrays: Any = None) -> Any:
    """``question(case(...))`` as a program's text asks it on NumPyro, on arrays."""
    with ppl.running("numpyro"), interpreting(jax.random.key(0)):
        v = SimpleNamespace(**{name: spoken(a) for name, a in (arrays or jax_bag()).items()})
        return nested(question(case(v)), array)


def on_numpyro(case: Case) -> Any:
    """The distribution as NumPyro has it, made of arrays."""
    return in_a_text(case, lambda d: d)


def drawn(d: Any) -> torch.Tensor:
    """Five draws from a distribution of Pyro's, as floats; for an improper one any values."""
    try:
        return d.sample((5,)).double().detach()
    except (NotImplementedError, AssertionError):
        return torch.as_tensor(np.random.default_rng(0).normal(size=(5, *d.batch_shape, *d.event_shape)))


def unit_vectors(name: str, values: torch.Tensor) -> torch.Tensor:
    return values / values.norm(dim=-1, keepdim=True) if name == "VonMises3D" else values


def finite(densities: Any, where: Any) -> Any:
    return where(densities.abs() < 1e300, densities, 0.0).sum()


@pytest.mark.parametrize(("name", "case"), EACH)
def test_densities_and_their_gradients_agree(name: str, case: Case) -> None:
    v = torch_bag()
    values = unit_vectors(name, drawn(case(v))).requires_grad_()
    here = answer(lambda: case(v).log_prob(values))
    if here is None or not here.requires_grad:
        pytest.skip("no density, or none with a gradient, on Pyro either")
    leaves = [*vars(v).values(), values]
    grads = torch.autograd.grad(finite(here, torch.where), leaves, allow_unused=True, materialize_grads=True)

    def total(arrays: Any, x: Any) -> Any:
        def question(d: Any) -> Any:
            density = d.log_prob(spoken(x))
            return finite(density, torch.where), density

        return in_a_text(case, question, arrays)

    gradient = jax.jit(jax.grad(total, argnums=(0, 1), has_aux=True), compiler_options=HASTY)
    (of_arrays, of_values), there = gradient(jax_bag(), jnp.asarray(values.detach()))
    np.testing.assert_allclose(there, here.detach(), rtol=1e-9, atol=1e-9)
    ours = {**of_arrays, "value": of_values}
    for label, theirs in zip((*vars(v), "value"), grads, strict=True):
        np.testing.assert_allclose(ours[label], theirs, rtol=1e-8, atol=1e-9, err_msg=f"the gradient by {label}")


@pytest.mark.parametrize(("name", "case"), EACH)
def test_what_a_distribution_knows_agrees_or_is_refused(name: str, case: Case) -> None:
    """Densities at the edge of the support and outside too, as they are without validation."""
    questions: dict[str, Any] = {known: lambda d, known=known: told(getattr(d, known)) for known in KNOWN}
    questions |= {asked: lambda d, asked=asked: getattr(d, asked)() for asked in ASKED}
    for edge in EDGES:
        questions |= {
            f"{asked} at {edge}": lambda d, asked=asked, edge=edge: getattr(d, asked)(
                torch.full((*d.batch_shape, *d.event_shape), edge)
            )
            for asked in ("log_prob", "cdf", "icdf")
        }
    with torch.no_grad():
        here = {asked: answer(partial(question, without_checks(case))) for asked, question in questions.items()}
    there: dict[str, Any] = {}

    def all_asked(arrays: Any) -> Any:
        there.update(in_a_text(case, lambda d: {n: answer(partial(q, d)) for n, q in questions.items()}, arrays))
        return {asked: said for asked, said in there.items() if isinstance(said, jax.Array)}

    there |= jax.jit(all_asked, compiler_options=HASTY)(jax_bag())
    refused = {asked for asked, found in there.items() if isinstance(found, MirrorError)}
    assert {asked.partition(" at")[0] for asked in refused if here[asked] is not None} <= REFUSED.get(name, set())
    for asked in [asked for asked, found in here.items() if found is not None and asked not in refused]:
        np.testing.assert_allclose(
            there[asked], torch.as_tensor(here[asked]).detach(), rtol=1e-9, atol=1e-9, err_msg=asked
        )


def told(found: Any) -> Any:
    """An attribute; the mode of a matching is a method."""
    return found() if callable(found) else found


def without_checks(case: Case) -> Any:
    before = torch.distributions.Distribution._validate_args
    torch.distributions.Distribution.set_default_validate_args(False)
    try:
        return case(torch_bag())
    finally:
        torch.distributions.Distribution.set_default_validate_args(before)


def answer(question: Callable[[], Any]) -> Any:
    """The answer, why the mirror refuses it, or None where torch has none."""
    try:
        return question()
    except MirrorError as refusal:
        return refusal
    except (NotImplementedError, RuntimeError, ValueError, TypeError, AttributeError, IndexError, AssertionError):
        return None


# Refused by name: draws by a torch.autograd.Function or until all are accepted, densities that pick by values.
UNDRAWN = set(
    """
    AVFMultivariateNormal GaussianScaleMixture MixtureOfDiagNormals MixtureOfDiagNormalsSharedCovariance
    OMTMultivariateNormal OneOneMatching OneTwoMatching Rejector RelaxedBernoulliStraightThrough
    RelaxedOneHotCategoricalStraightThrough SpanningTree
    """.split()  # noqa: SIM905
)


@pytest.mark.parametrize(("name", "case"), [each for each in FIRST if "Improper" not in each.id])
def test_it_is_wrapped_and_drawn_alike(name: str, case: Case) -> None:
    def wrapped(d: Any) -> dict[str, Any]:
        batch = tuple(d.batch_shape)
        kinds = {
            "itself": lambda: d,
            "expanded": lambda: d.expand((2, *batch)).to_event(1),
            "masked": lambda: d.mask(torch.ones(batch) > 0),
        }
        with torch.no_grad():
            return {kind: answer(lambda make=make: shapes(make())) for kind, make in kinds.items()}

    here = wrapped(without_checks(case))
    there = jax.eval_shape(lambda arrays: in_a_text(case, lambda d: known(wrapped(d)), arrays), jax_bag())
    for kind, parts in known(here).items():
        if parts is None:
            continue
        if there[kind] is None:
            assert name in UNDRAWN
        else:
            assert [tuple(part.shape) for part in there[kind]] == [tuple(part.shape) for part in parts]


def known(answers: dict[str, Any]) -> dict[str, Any]:
    return {kind: None if isinstance(found, MirrorError) else found for kind, found in answers.items()}


def shapes(d: Any) -> list[Any]:
    value = d()
    return [torch.zeros(d.batch_shape), torch.zeros(d.event_shape), value, d.log_prob(value.double())]


@pytest.mark.parametrize("name", ["Bernoulli", "OneHotCategorical", "Poisson"])
def test_numpyro_validates_counts_given_as_floats(name: str) -> None:
    case = CASES[name][0]
    values = drawn(case(torch_bag()))
    with numpyro.validation_enabled():
        there = on_numpyro(case)
        there.log_prob(jnp.asarray(values))
        with pytest.warns(UserWarning, match="Out-of-support"):
            there.log_prob(-1.0 - jnp.asarray(values))


@pytest.mark.parametrize("name", ["Categorical", "OrderedLogistic"])
def test_a_category_that_there_is_not_is_an_index_error(name: str) -> None:
    case = CASES[name][0]
    values = drawn(case(torch_bag()))
    with pytest.raises(IndexError, match="is out of bounds for size 4"):
        on_numpyro(case).log_prob(-1.0 - jnp.asarray(values))


@pytest.mark.parametrize("name", TRANSFORMS)
def test_transforms_agree(name: str) -> None:
    make, argument = TRANSFORMS[name]
    x = np.asarray(ARRAYS["rows"])[:, :3] if argument == "rows3" else np.asarray(ARRAYS[argument])
    here, there = (
        there_and_back(make(torch_bag()), torch.tensor(x)),
        in_a_text(make, lambda transform: there_and_back(transform, spoken(jnp.asarray(x)))),
    )
    for ours, theirs in zip(there, here, strict=True):
        np.testing.assert_allclose(ours, theirs.detach(), rtol=1e-7, atol=1e-12)


def there_and_back(transform: Any, x: Any) -> list[Any]:
    y = transform(x)
    return [
        y,
        transform.log_abs_det_jacobian(x, y),
        transform.inv(y),
        torch.distributions.transform_to(transform.codomain)(x),
    ]


def test_every_distribution_of_pyros_is_tested_or_refused_by_name() -> None:
    assert set(names()) == set(CASES) | ABSTRACT | (ABSENT & set(names()))
    with ppl.running("numpyro"):
        for name in ABSENT & set(names()):
            with pytest.raises(AttributeError, match=f"dist.{name} has no counterpart on NumPyro"):
                getattr(dist, name)


def test_the_page_is_the_table() -> None:
    written = Path(__file__).parents[2] / "docs" / "distributions.md"
    assert written.read_text() == page(), "run python -m ppvae.backends.distributions > docs/distributions.md"


@pytest.mark.parametrize("name", ["Bernoulli", "Categorical", "Geometric", "OneHotCategorical"])
def test_both_or_neither_of_probs_and_logits_is_refused(name: str) -> None:
    probs = jnp.array([0.3, 0.7])
    with ppl.running("numpyro"):
        for arguments in ({}, {"probs": probs, "logits": probs}):
            with pytest.raises(ValueError, match="`probs` or `logits` must be specified, but not both"):
                getattr(dist, name)(**arguments)


def test_classes_and_attributes_mean_in_a_text_what_they_mean_in_pyro() -> None:
    def question(d: Any) -> list[Any]:
        assert isinstance(d, dist.Normal)
        wide = d.expand([2, 3]).to_event(1)
        assert isinstance(wide, dist.Independent)
        assert isinstance(wide.base_dist, dist.Normal)
        assert d.support is dist.constraints.real
        category = dist.Categorical(logits=torch.zeros(2, 4))
        return [wide.base_dist.loc, category.probs, category.enumerate_support(), dist.kl.kl_divergence(d, d)]

    case = CASES["Normal"][0]
    for ours, theirs in zip(in_a_text(case, question), question(case(torch_bag())), strict=True):
        np.testing.assert_allclose(ours, theirs.detach())


@pytest.mark.parametrize("name", ["Gamma", "Beta", "Dirichlet", "Chi2", "Exponential"])
def test_no_draw_is_on_the_edge_where_its_density_is_not_finite(name: str) -> None:
    torch.set_default_dtype(torch.float32)
    arguments = {"Gamma": 2, "Beta": 2}.get(name, 1)
    small = partial(lambda count, v: getattr(dist, name)(*[v.small] * count), arguments)
    values = in_a_text(small, lambda d: d.rsample((1000,)), {"small": jnp.full(3, 1e-3, jnp.float32)})
    assert np.isfinite(in_a_text(small, lambda d: d.log_prob(spoken(values)), {"small": jnp.full(3, 1e-3)})).all()


@pytest.mark.parametrize(
    "pair",
    [
        lambda: (dist.Normal(0.3, 1.2), dist.Normal(-0.1, 0.7)),
        lambda: (dist.Gamma(1.2, 0.4), dist.Gamma(2.0, 1.1)),
        lambda: (dist.Normal(0.3, 1.2).expand([2, 3]).to_event(1), dist.Normal(0.0, 1.0).expand([2, 3]).to_event(1)),
        lambda: (dist.Beta(0.3, 1.2), dist.Beta(1.0, 0.7)),
        lambda: (dist.Laplace(0.3, 1.2), dist.Normal(1.0, 0.7)),
        lambda: (dist.Bernoulli(0.3), dist.Bernoulli(0.4)),
    ],
)
def test_kl_divergences_agree(pair: Callable[[], tuple[Any, Any]]) -> None:
    torch_kl = dist.kl.kl_divergence(*pair())
    with ppl.running("numpyro"):
        np.testing.assert_allclose(dist.kl.kl_divergence(*pair()), torch_kl, rtol=1e-9)
        np.testing.assert_allclose(numpyro.distributions.kl_divergence(*pair()), torch_kl, rtol=1e-9)


counts = st.integers(0, 500)
rates = st.floats(1e-3, 1e3)
odds = st.floats(-8.0, 8.0)


@settings(max_examples=30, deadline=None)
@given(counts, rates, odds)
def test_negative_binomial_is_scipys_on_both(count: int, total: float, logits: float) -> None:
    expected = stats.nbinom.logpmf(count, total, 1.0 / (1.0 + np.exp(logits)))
    here = dist.NegativeBinomial(torch.tensor(total), logits=torch.tensor(logits))
    np.testing.assert_allclose(here.log_prob(torch.tensor(float(count))), expected, rtol=1e-7, atol=1e-9)
    with ppl.running("numpyro"):
        for there in (
            dist.NegativeBinomial(total, logits=logits),
            dist.NegativeBinomial(total, 1.0 / (1.0 + np.exp(-logits))),
        ):
            np.testing.assert_allclose(there.log_prob(float(count)), expected, rtol=1e-7, atol=1e-9)


@settings(max_examples=30, deadline=None)
@given(counts, rates, st.floats(0.01, 0.99))
def test_zero_inflated_poisson_mixes_a_spike_at_zero(count: int, rate: float, gate: float) -> None:
    poisson = stats.poisson.pmf(count, rate)
    expected = gate * (count == 0) + (1 - gate) * poisson
    here = dist.ZeroInflatedPoisson(torch.tensor(rate), gate=torch.tensor(gate)).log_prob(torch.tensor(float(count)))
    np.testing.assert_allclose(here.exp(), expected, rtol=1e-9, atol=1e-300)
    with ppl.running("numpyro"):
        there = dist.ZeroInflatedPoisson(jnp.array(rate), gate=jnp.array(gate)).log_prob(jnp.array(float(count)))
    np.testing.assert_allclose(np.exp(there), expected, rtol=1e-9, atol=1e-300)
