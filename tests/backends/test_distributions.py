"""Each distribution says the same on both backends: density, moments, shapes, and floats as values."""

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

from ppvae.backends import distributions
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
ABSTRACT = {"Distribution", "ExpandedDistribution", "MaskedDistribution"}
# Where one library's special function is less accurate: docs/distributions.md names it.
TOLERANCE = {"Beta": 1e-6, "BetaBinomial": 1e-6, "GammaPoisson": 1e-6, "SineSkewed": 1e-6, "VonMises": 1e-6}
EACH = [pytest.param(name, case, id=f"{name}-{i}") for name, cases in CASES.items() for i, case in enumerate(cases)]


@pytest.fixture(autouse=True)
def double() -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    with jax.enable_x64(True), torch.random.fork_rng():
        torch.manual_seed(3)
        yield
    torch.set_default_dtype(before)


def on_numpyro(case: Case) -> Any:
    with ppl.running("numpyro"):
        return case(jax_bag())


def drawn(d: Any) -> np.ndarray:
    """Five draws from a Pyro distribution, as floats; for an improper one any values."""
    try:
        return d.sample((5,)).double().numpy()
    except NotImplementedError:
        return np.random.default_rng(0).normal(size=(5, *d.batch_shape, *d.event_shape))


@pytest.mark.parametrize(("name", "case"), EACH)
@pytest.mark.filterwarnings("ignore:Singular sample detected")  # torch's Wishart, which then draws again
def test_density_and_moments_agree(name: str, case: Case) -> None:
    here, there = case(torch_bag()), on_numpyro(case)
    assert (*here.batch_shape, "|", *here.event_shape) == (*there.batch_shape, "|", *there.event_shape)
    values, rtol = drawn(here), TOLERANCE.get(name, 1e-9)
    density = jax.jit(there.log_prob)(jnp.asarray(values))
    np.testing.assert_allclose(density, here.log_prob(torch.tensor(values)), rtol=rtol, atol=rtol)
    for moment in ("mean", "variance"):
        one, other = defined(here, moment), defined(there, moment)
        if one is not None and other is not None and (name, moment) != ("Cauchy", "variance"):
            np.testing.assert_allclose(other, one, rtol=rtol, atol=1e-12)


def defined(d: Any, moment: str) -> Any:
    try:
        return np.asarray(getattr(d, moment))
    except NotImplementedError:
        return None


@pytest.mark.parametrize(
    ("name", "case"), [each for each in EACH if each.id.endswith("-0") and "Improper" not in each.id]
)
def test_numpyro_expands_and_draws_like_pyro(name: str, case: Case) -> None:
    wide = on_numpyro(case).expand([2, 3])
    for d in (wide, wide.to_event(1), wide.mask(jnp.array([True, False, True]))):
        values, density = jax.eval_shape(partial(drawn_and_scored, d), jax.random.key(0))
        assert values.shape == (4, *d.batch_shape, *d.event_shape)
        assert density.shape == (4, *d.batch_shape)


def drawn_and_scored(d: Any, key: jax.Array) -> tuple[jax.Array, jax.Array]:
    values = d.sample(key, (4,))
    return values, d.log_prob(values.astype(float))


@pytest.mark.parametrize("name", ["Bernoulli", "Categorical", "OrderedLogistic", "OneHotCategorical", "Poisson"])
def test_numpyro_validates_counts_given_as_floats(name: str) -> None:
    case = CASES[name][0]
    values = drawn(case(torch_bag()))
    with numpyro.validation_enabled():
        there = on_numpyro(case)
        there.log_prob(jnp.asarray(values))
        with pytest.warns(UserWarning, match="Out-of-support"):
            there.log_prob(-1.0 - jnp.asarray(values))


@pytest.mark.parametrize("name", TRANSFORMS)
def test_transforms_agree(name: str) -> None:
    make, argument = TRANSFORMS[name]
    x = np.asarray(ARRAYS["rows"])[:, :3] if argument == "rows3" else np.asarray(ARRAYS[argument])
    here, there = make(torch_bag()), on_numpyro(make)
    y = here(torch.tensor(x))
    image, jacobian, back = jax.jit(lambda x: there_and_back(there, x))(jnp.asarray(x))
    np.testing.assert_allclose(image, y, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(jacobian, here.log_abs_det_jacobian(torch.tensor(x), y), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(back, x, rtol=1e-7, atol=1e-12)


def there_and_back(transform: Any, x: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    y = transform(x)
    return y, transform.log_abs_det_jacobian(x, y), transform.inv(y)


def test_every_distribution_of_the_table_is_tested() -> None:
    present = {name for name in distributions.names() if distributions.how(name) != "absent"}
    assert present == set(CASES) | ABSTRACT


def test_the_page_is_the_table() -> None:
    page = Path(__file__).parents[2] / "docs" / "distributions.md"
    assert page.read_text() == distributions.page(), (
        "run python -m ppvae.backends.distributions > docs/distributions.md"
    )


def test_probs_are_normalised_on_both() -> None:
    for case in (
        lambda v: dist.Categorical(v.weights).probs,
        lambda v: dist.OneHotCategorical(v.weights).probs,
        lambda v: dist.Multinomial(3, v.weights).probs,
    ):
        np.testing.assert_allclose(on_numpyro(case), case(torch_bag()), rtol=1e-12)


@pytest.mark.parametrize("name", ["Bernoulli", "Categorical", "Geometric", "OneHotCategorical"])
def test_both_or_neither_of_probs_and_logits_is_refused(name: str) -> None:
    probs = jnp.array([0.3, 0.7])
    with ppl.running("numpyro"):
        for arguments in ({}, {"probs": probs, "logits": probs}):
            with pytest.raises(ValueError, match=f"dist.{name} takes either probs or logits"):
                getattr(dist, name)(**arguments)


@pytest.mark.parametrize(
    "pair",
    [
        lambda: (dist.Normal(0.3, 1.2), dist.Normal(-0.1, 0.7)),
        lambda: (dist.Gamma(1.2, 0.4), dist.Gamma(2.0, 1.1)),
        lambda: (dist.Normal(0.3, 1.2).expand([2, 3]).to_event(1), dist.Normal(0.0, 1.0).expand([2, 3]).to_event(1)),
    ],
)
def test_kl_divergences_agree(pair: Callable[[], tuple[Any, Any]]) -> None:
    torch_kl = dist.kl.kl_divergence(*pair())
    with ppl.running("numpyro"):
        np.testing.assert_allclose(dist.kl.kl_divergence(*pair()), torch_kl, rtol=1e-9)


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
        there = dist.ZeroInflatedPoisson(rate, gate=gate).log_prob(float(count))
    np.testing.assert_allclose(np.exp(there), expected, rtol=1e-9, atol=1e-300)
