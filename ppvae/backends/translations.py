"""Translations: NumPyro's distributions and transforms under Pyro's names, with Pyro's arguments."""

from __future__ import annotations

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpyro.distributions as nd
from jax.typing import ArrayLike
from numpyro.distributions import constraints, transforms

Maybe = ArrayLike | None
NORMAL_FROM = 1e6


def one_of(name: str, probs: Any, logits: Any) -> None:
    """Refuse both and neither, as torch does: NumPyro would prefer ``probs`` silently."""
    if (probs is None) == (logits is None):
        raise ValueError(f"dist.{name} takes either probs or logits, not both")


def normalized(probs: ArrayLike) -> jax.Array:
    """Weights that sum to one over the last axis: torch divides by their sum, NumPyro takes it to be one."""
    probs = jnp.asarray(probs)
    return probs / probs.sum(-1, keepdims=True)


def logit(probs: Maybe) -> jax.Array:
    """Log odds, with probabilities clamped away from zero and one as torch clamps them."""
    probs = jnp.asarray(probs, float)
    edge = jnp.finfo(probs.dtype).eps
    probs = jnp.clip(probs, edge, 1.0 - edge)
    return jnp.log(probs) - jnp.log1p(-probs)


def indices(value: ArrayLike) -> jax.Array:
    """Values as indices: observed arrays reach programs as floats."""
    return jnp.asarray(value).astype(int)


class CategoricalProbs(nd.CategoricalProbs):
    """NumPyro's, for values of any dtype."""

    def log_prob(self, value: ArrayLike, intermediates: Any = None) -> jax.Array:
        return super().log_prob(indices(value))


class CategoricalLogits(nd.CategoricalLogits):
    """NumPyro's, for values of any dtype."""

    def log_prob(self, value: ArrayLike, intermediates: Any = None) -> jax.Array:
        return super().log_prob(indices(value))


class OrderedLogistic(nd.OrderedLogistic):
    """NumPyro's, for values of any dtype, and a predictor that may be a number."""

    def log_prob(self, value: ArrayLike, intermediates: Any = None) -> jax.Array:
        return super().log_prob(indices(value))


class Poisson(nd.Poisson):
    """NumPyro's, with draws as floats, like torch's: JAX's are integers of 32 bits, too few for large rates.

    From a million on a draw is normal, which is then right to a thousandth of its deviation.
    """

    def sample(self, key: jax.Array | None, sample_shape: tuple[int, ...] = ()) -> jax.Array:
        assert key is not None
        rate = jnp.broadcast_to(jnp.asarray(self.rate, float), sample_shape + self.batch_shape)
        small = jax.random.poisson(key, jnp.minimum(rate, NORMAL_FROM))
        noise = jax.random.normal(jax.random.fold_in(key, 1), rate.shape, rate.dtype)
        return jnp.where(rate < NORMAL_FROM, small, jnp.round(rate + jnp.sqrt(rate) * noise))


class NegativeBinomialLogits(nd.NegativeBinomialLogits):
    """NumPyro's, with draws from this module's ``Poisson``."""

    def sample(self, key: jax.Array | None, sample_shape: tuple[int, ...] = ()) -> jax.Array:
        assert key is not None
        to_rate, to_count = jax.random.split(key)
        return Poisson(self._gamma.sample(to_rate, sample_shape)).sample(to_count)


class GammaPoisson(nd.GammaPoisson):
    """NumPyro's, with draws from this module's ``Poisson``."""

    sample = NegativeBinomialLogits.sample


def categorical(probs: Maybe = None, logits: Maybe = None, validate_args: bool | None = None) -> Any:
    """Pyro's ``Categorical``."""
    one_of("Categorical", probs, logits)
    if logits is not None:
        return CategoricalLogits(logits, validate_args=validate_args)
    return CategoricalProbs(normalized(probs), validate_args=validate_args)  # type: ignore[arg-type]


def bernoulli(probs: Maybe = None, logits: Maybe = None, validate_args: bool | None = None) -> Any:
    """Pyro's ``Bernoulli``."""
    one_of("Bernoulli", probs, logits)
    return nd.Bernoulli(probs, logits, validate_args=validate_args)


def geometric(probs: Maybe = None, logits: Maybe = None, validate_args: bool | None = None) -> Any:
    """Pyro's ``Geometric``."""
    one_of("Geometric", probs, logits)
    return nd.Geometric(probs, logits, validate_args=validate_args)


def binomial(
    total_count: ArrayLike = 1, probs: Maybe = None, logits: Maybe = None, validate_args: bool | None = None
) -> Any:
    """Pyro's ``Binomial``."""
    one_of("Binomial", probs, logits)
    return nd.Binomial(total_count, probs, logits, validate_args=validate_args)


def negative_binomial(
    total_count: ArrayLike, probs: Maybe = None, logits: Maybe = None, validate_args: bool | None = None
) -> Any:
    """Pyro's ``NegativeBinomial``."""
    one_of("NegativeBinomial", probs, logits)
    if logits is None:  # NumPyro's form in probs goes through jax's betaln, right to seven digits only
        logits = logit(probs)
    return NegativeBinomialLogits(total_count, logits, validate_args=validate_args)


def multinomial(
    total_count: int = 1, probs: Maybe = None, logits: Maybe = None, validate_args: bool | None = None
) -> Any:
    """Pyro's ``Multinomial``: its count is one number, so it bounds the draws under ``jit`` too."""
    one_of("Multinomial", probs, logits)
    probs = None if probs is None else normalized(probs)
    return nd.Multinomial(total_count, probs, logits, total_count_max=total_count, validate_args=validate_args)


def one_hot_categorical(probs: Maybe = None, logits: Maybe = None, validate_args: bool | None = None) -> Any:
    """Pyro's ``OneHotCategorical``: a multinomial of one draw."""
    one_of("OneHotCategorical", probs, logits)
    return multinomial(1, probs, logits, validate_args)


def dirichlet_multinomial(
    concentration: ArrayLike, total_count: Any = 1, is_sparse: bool = False, validate_args: bool | None = None
) -> Any:
    """Pyro's ``DirichletMultinomial``; ``is_sparse`` only speeds Pyro up."""
    bound = total_count if isinstance(total_count, int) else None
    return nd.DirichletMultinomial(concentration, total_count, total_count_max=bound, validate_args=validate_args)


def zero_inflated_poisson(
    rate: ArrayLike, *, gate: Maybe = None, gate_logits: Maybe = None, validate_args: bool | None = None
) -> Any:
    """Pyro's ``ZeroInflatedPoisson``."""
    return zero_inflated(Poisson(rate), gate=gate, gate_logits=gate_logits, validate_args=validate_args)


def zero_inflated_negative_binomial(
    total_count: ArrayLike,
    *,
    probs: Maybe = None,
    logits: Maybe = None,
    gate: Maybe = None,
    gate_logits: Maybe = None,
    validate_args: bool | None = None,
) -> Any:
    """Pyro's ``ZeroInflatedNegativeBinomial``."""
    base = negative_binomial(total_count, probs, logits)
    return zero_inflated(base, gate=gate, gate_logits=gate_logits, validate_args=validate_args)


def zero_inflated(
    base_dist: Any, *, gate: Maybe = None, gate_logits: Maybe = None, validate_args: bool | None = None
) -> Any:
    """Pyro's ``ZeroInflatedDistribution``."""
    if (gate is None) == (gate_logits is None):
        raise ValueError("a zero-inflated distribution takes either gate or gate_logits, not both")
    return nd.ZeroInflatedDistribution(base_dist, gate=gate, gate_logits=gate_logits, validate_args=validate_args)


def relaxed_bernoulli(
    temperature: ArrayLike, probs: Maybe = None, logits: Maybe = None, validate_args: bool | None = None
) -> Any:
    """Pyro's ``RelaxedBernoulli``."""
    one_of("RelaxedBernoulli", probs, logits)
    return nd.RelaxedBernoulli(temperature, probs, logits, validate_args=validate_args)


def mixture_same_family(
    mixture_distribution: Any, component_distribution: Any, validate_args: bool | None = None
) -> Any:
    """Pyro's ``MixtureSameFamily``."""
    return nd.MixtureSameFamily(mixture_distribution, component_distribution, validate_args=validate_args)


def independent(base_distribution: Any, reinterpreted_batch_ndims: int, validate_args: bool | None = None) -> Any:
    """Pyro's ``Independent``."""
    return nd.Independent(base_distribution, reinterpreted_batch_ndims, validate_args=validate_args)


def logistic_normal(loc: ArrayLike, scale: ArrayLike, validate_args: bool | None = None) -> Any:
    """Pyro's ``LogisticNormal``: a normal pushed onto the simplex by stick breaking."""
    base = nd.Normal(loc, scale).to_event(1)
    return nd.TransformedDistribution(base, transforms.StickBreakingTransform(), validate_args=validate_args)


def lkj(dim: int, concentration: ArrayLike = 1.0, validate_args: bool | None = None) -> Any:
    """Pyro's ``LKJ``."""
    return nd.LKJ(dim, concentration, validate_args=validate_args)


def lkj_cholesky(dim: int, concentration: ArrayLike = 1.0, validate_args: bool | None = None) -> Any:
    """Pyro's ``LKJCholesky``."""
    return nd.LKJCholesky(dim, concentration, validate_args=validate_args)


def wishart(
    df: ArrayLike,
    covariance_matrix: Maybe = None,
    precision_matrix: Maybe = None,
    scale_tril: Maybe = None,
    validate_args: bool | None = None,
) -> Any:
    """Pyro's ``Wishart``."""
    return nd.Wishart(df, covariance_matrix, precision_matrix, scale_tril, validate_args=validate_args)


def unit(log_factor: ArrayLike, *, has_rsample: bool | None = None, validate_args: bool | None = None) -> Any:
    """Pyro's ``Unit``; NumPyro has no score-function estimator for ``has_rsample`` to choose."""
    return nd.Unit(log_factor)


class TanhTransform(transforms.ParameterFreeTransform):
    """Pyro's ``TanhTransform``, which NumPyro lacks."""

    domain = constraints.real
    codomain: ClassVar[Any] = constraints.interval(-1.0, 1.0)

    def __call__(self, x: jax.Array) -> jax.Array:
        return jnp.tanh(x)

    def _inverse(self, y: jax.Array) -> jax.Array:
        return jnp.arctanh(y)

    def log_abs_det_jacobian(self, x: jax.Array, y: jax.Array, intermediates: Any = None) -> jax.Array:
        return 2.0 * (jnp.log(2.0) - x - jax.nn.softplus(-2.0 * x))


def affine(loc: ArrayLike, scale: ArrayLike, event_dim: int = 0, cache_size: int = 0) -> Any:
    """Pyro's ``AffineTransform``; NumPyro's takes a domain, but does not sum its Jacobian over events."""
    transform = transforms.AffineTransform(loc, scale)
    return transforms.IndependentTransform(transform, event_dim) if event_dim else transform


def reshape(in_shape: tuple[int, ...], out_shape: tuple[int, ...], cache_size: int = 0) -> Any:
    """Pyro's ``ReshapeTransform``."""
    return transforms.ReshapeTransform(tuple(out_shape), tuple(in_shape))
