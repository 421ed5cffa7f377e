"""Rewritten: the passages of torch's and Pyro's distributions that look at values, which stand-ins have none of."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import numpyro.distributions as nd
import pyro.distributions as pd
import torch
import torch.distributions as td
from pyro.distributions import conjugate
from pyro.distributions.sine_bivariate_von_mises import log_I1
from pyro.distributions.transforms.utils import clamp_preserve_gradients
from pyro.nn import PyroModule
from pyro.ops.special import _SafeLog

from ppvae.backends.devices.keys import plain
from ppvae.backends.distributions.normal import HALF_LOG_TAU
from ppvae.backends.mirror.running.standin import StandIn, interpreter
from ppvae.language import ppl

TERMS = 501  # of the series of a Bessel function, as many as Pyro takes at least


def instead(owner: Any, name: str) -> Callable[[Any], Any]:
    """The decorated function runs instead of ``owner.name`` within a program's text, as ``ours(theirs, ...)``."""
    found = inspect.getattr_static(owner, name)
    if isinstance(found, classmethod):
        found = getattr(owner, name)
    theirs = getattr(found, "fget", None) or getattr(found, "wrapped", found)

    def register(ours: Any) -> Any:
        @functools.wraps(theirs)
        def chosen(*args: Any, **kwargs: Any) -> Any:
            return theirs(*args, **kwargs) if interpreter.get(None) is None else ours(theirs, *args, **kwargs)

        setattr(owner, name, chosen if found is theirs else type(found)(chosen))
        return ours

    return register


@instead(td.Distribution, "__init__")
def _unchecked(
    theirs: Any, self: Any, batch_shape: Any = (), event_shape: Any = (), validate_args: bool | None = None
) -> None:
    """Values are checked on Pyro, before training; a text that says it wants no checks is remembered by a False."""
    said = self._validate_args if validate_args is None else validate_args
    theirs(self, torch.Size(batch_shape), torch.Size(event_shape), validate_args=False)
    self._validate_args = False if said is False else None


@instead(td.Distribution, "_validate_sample")
def _unlooked_at(theirs: Any, self: Any, value: Any) -> None:
    """Nor are they in a distribution that was made outside of the text."""


@instead(PyroModule, "__getattr__")
def _drawn_attribute(theirs: Any, self: Any, name: str) -> Any:
    """A ``PyroSample`` is drawn by the words of the running backend, once in a call of the outermost module."""
    prior = vars(self).get("_pyro_samples", {}).get(name)
    if prior is None or not self._pyro_context.active:
        return theirs(self, name)
    full = self._pyro_get_fullname(name)
    value = self._pyro_context.get(full)
    if value is None:
        prior = prior if hasattr(prior, "sample") else prior(self)
        value = (ppl.pyro.deterministic if isinstance(prior, torch.Tensor) else ppl.pyro.sample)(full, prior)
        self._pyro_context.set(full, value)
    return value


@instead(td.Dirichlet, "rsample")
def _dirichlet(theirs: Any, self: Any, sample_shape: Any = ()) -> Any:
    """Torch's gradient is written by hand; JAX has its own."""
    return torch._sample_dirichlet(self.concentration.expand(self._extended_shape(sample_shape)))


@instead(td.Normal, "log_prob")
def _normal(theirs: Any, self: Any, value: Any) -> Any:
    """Torch squares the scale, and JAX that once more for its gradient: zero in float32 from scales of 1e-11 on."""
    residual = (value - self.loc) / self.scale
    return -0.5 * residual.square() - self.scale.log() - HALF_LOG_TAU


@instead(td.StudentT, "variance")
def _student_variance(theirs: Any, self: Any) -> Any:
    finite = torch.where(self.df > 2, self.df, 3.0)
    known = torch.where(self.df > 2, self.scale**2 * finite / (finite - 2), torch.inf)
    return torch.where(self.df > 1, known, torch.nan)


@instead(td.Dirichlet, "mode")
def _dirichlet_mode(theirs: Any, self: Any) -> Any:
    """Where every concentration is below one, the corner of the largest is the mode."""
    above = (self.concentration - 1).clamp(min=0.0)
    inner = above / above.sum(-1, True)
    corner = torch.nn.functional.one_hot(inner.argmax(-1), inner.shape[-1]).to(inner)
    return torch.where((self.concentration < 1).all(-1, keepdim=True), corner, inner)


@instead(pd.Poisson, "log_prob")
def _poisson(theirs: Any, self: Any, value: Any) -> Any:
    if not self.is_sparse:
        return theirs(self, value)
    rate, value, there = torch.broadcast_tensors(self.rate, value, value > 0)
    rate, count = torch.where(there, rate, 1.0), torch.where(there, value, 0.0)
    return torch.where(there, rate.log() * count - (count + 1).lgamma(), 0.0) - self.rate


@instead(conjugate, "_log_beta_1")
def _log_beta(theirs: Any, alpha: Any, value: Any, is_sparse: bool) -> Any:
    whole = theirs(alpha, value, False)
    return torch.where(value != 0, whole, 0.0) if is_sparse else whole


@instead(_SafeLog, "apply")
def _safe_log(theirs: Any, x: Any) -> Any:
    """The logarithm with a finite slope at zero."""
    slope = 1 / x.detach().clamp(min=torch.finfo(x.dtype).tiny)
    level = x.detach()
    return torch.where(level > 0, level.log(), -torch.inf) + slope * (x - level)


@instead(td.Wishart, "__init__")
def _wishart(theirs: Any, self: Any, df: Any, *matrices: Any, validate_args: Any = None, **named: Any) -> None:
    """Made with enough degrees of freedom for any check, then with its own."""
    size = next(matrix for matrix in (*matrices, *named.values()) if matrix is not None).shape[-1]
    theirs(self, size + 1.0, *matrices, **named)
    df = torch.as_tensor(df, dtype=self._unbroadcasted_scale_tril.dtype)
    td.Wishart.expand(self, torch.broadcast_shapes(self.batch_shape, df.shape), self)
    self.df = df.expand(self.batch_shape)
    self._dist_chi2 = td.Chi2(self.df.unsqueeze(-1) - torch.arange(size, dtype=df.dtype))


@instead(td.Wishart, "rsample")
def _wishart_draw(theirs: Any, self: Any, sample_shape: Any = (), max_try_correction: Any = None) -> Any:
    return self._bartlett_sampling(torch.Size(sample_shape))


@instead(td.wishart, "_mvdigamma")
def _mvdigamma(theirs: Any, x: Any, p: int) -> Any:
    return torch.digamma(x.unsqueeze(-1) - torch.arange(p, dtype=x.dtype) / 2).sum(-1)


@instead(pd.DirichletMultinomial, "sample")
def _dirichlet_multinomial(theirs: Any, self: Any, sample_shape: Any = ()) -> Any:
    """The count of each category is binomial, given those of the categories before it."""
    probs = self._dirichlet.sample(torch.Size(sample_shape))
    left, share, counts = self.total_count.to(probs.dtype).expand(probs.shape[:-1]), 1.0, []
    for prob in probs.unbind(-1)[:-1]:
        counts.append(torch.binomial(left, (prob / share).clamp(0, 1)))
        left, share = left - counts[-1], share - prob
    return torch.stack([*counts, left], -1)


@instead(td.Binomial, "__init__")
def _binomial(theirs: Any, self: Any, total_count: Any = 1, *args: Any, **named: Any) -> None:
    """Remembers the count as it was given: its values are known where those of what it is broadcast to are not."""
    theirs(self, total_count, *args, **named)
    self._given_count = total_count


@instead(td.Binomial, "expand")
def _binomial_expanded(theirs: Any, self: Any, batch_shape: Any, _instance: Any = None) -> Any:
    found = theirs(self, batch_shape, _instance)
    found._given_count = self._given_count
    return found


@instead(td.Binomial, "enumerate_support")
def _binomial_values(theirs: Any, self: Any, expand: bool = True) -> Any:
    """Those of torch for the count as it was given; one of arrays is refused when it is looked at."""
    given = td.Binomial(self._given_count, probs=torch.tensor(0.5, dtype=self._param.dtype))
    values = theirs(given, expand=False)
    values = values.reshape(-1, *(1,) * len(self.batch_shape))
    return values.expand(-1, *self.batch_shape) if expand else values


@instead(pd.SineSkewed, "__init__")
def _sine_skewed(theirs: Any, self: Any, base_dist: Any, skewness: Any, validate_args: Any = None) -> None:
    batch_shape = torch.broadcast_shapes(base_dist.batch_shape, skewness.shape[:-1])
    self.skewness = skewness.broadcast_to(batch_shape + skewness.shape[-1:])
    self.base_dist = base_dist.expand(batch_shape)
    td.Distribution.__init__(self, batch_shape, skewness.shape[-1:])


@instead(pd.SineBivariateVonMises, "__init__")
def _sine_bivariate(
    theirs: Any, self: Any, *args: Any, correlation: Any = None, weighted_correlation: Any = None, **named: Any
) -> None:
    """The parameters in the order of ``arg_constraints``, whose last is one correlation or the other."""
    names = ("phi_loc", "psi_loc", "phi_concentration", "psi_concentration")
    given = dict(zip(names, args, strict=False)) | named
    if correlation is None:
        correlation = weighted_correlation * (given[names[2]] * given[names[3]]) ** 0.5
    self.phi_loc, self.psi_loc, self.phi_concentration, self.psi_concentration, self.correlation = (
        torch.broadcast_tensors(*map(torch.as_tensor, (*(given[name] for name in names), correlation)))
    )
    td.Distribution.__init__(self, self.phi_loc.shape, torch.Size([2]))


@instead(pd.SineBivariateVonMises, "norm_const")
def _norm_const(theirs: Any, self: Any) -> Any:
    """Pyro's, NaN where concentrations are so large that Pyro takes more terms."""
    square = self.correlation.reshape(1, -1) ** 2
    both = torch.stack((self.phi_concentration, self.psi_concentration), -1).reshape(-1, 2)
    order = torch.arange(50).reshape(-1, 1)
    binomials = pd.SineBivariateVonMises._lbinoms(torch.tensor(50)).reshape(-1, 1)
    tiny = torch.finfo(square.dtype).tiny
    terms = binomials + order * torch.log(square.clamp(min=tiny)) - order * torch.log(4 * both.prod(-1))
    terms = terms + log_I1(49, both, TERMS).sum(-1)
    norm = 2 * torch.log(torch.tensor(2 * torch.pi)) + terms.logsumexp(0)
    enough = self.phi_concentration.max() + self.psi_concentration.max() <= TERMS
    return torch.where(enough, norm, torch.nan).reshape(self.phi_loc.shape)


def _element_by_element(self: Any, y: Any, step: Callable[..., Any]) -> tuple[Any, Any]:
    """The inverse of an autoregressive transform, and the network's last output; its permutation is data here."""
    x, places = torch.zeros_like(y), torch.arange(y.size(-1))
    for number in range(y.size(-1)):
        mean, scale = self.arn(x)
        x = torch.where(places == self.arn.permutation[number], step(mean, scale), x)
    return x, scale


@instead(pd.transforms.AffineAutoregressive, "_inverse")
def _inverse(theirs: Any, self: Any, y: Any) -> Any:
    clip = partial(clamp_preserve_gradients, min=self.log_scale_min_clip, max=self.log_scale_max_clip)
    x, log_scale = _element_by_element(self, y, lambda mean, scale: (y - mean) * torch.exp(-clip(scale)))
    self._cached_log_scale = clip(log_scale)
    return x


@instead(pd.transforms.AffineAutoregressive, "_inverse_stable")
def _inverse_stable(theirs: Any, self: Any, y: Any) -> Any:
    def step(mean: Any, logit: Any) -> Any:
        inverse_scale = 1 + torch.exp(-logit - self.sigmoid_bias)
        return inverse_scale * y + (1 - inverse_scale) * mean

    x, logit = _element_by_element(self, y, step)
    self._cached_log_scale = self.logsigmoid(logit + self.sigmoid_bias)
    return x


def _drawn_by(numpyros: Any, names: tuple[str, ...], *args: Any) -> Any:
    """A draw by NumPyro's sampler, where torch's is a loop that ends when all are accepted."""
    _, self, *rest = args
    running: Any = interpreter.get()
    sample_shape = tuple(rest[0]) if rest else ()
    parameters = {name: running.array(getattr(self, name)) for name in names}
    return StandIn(jax.lax.stop_gradient(numpyros(**parameters).sample(plain(running.key()), sample_shape)))


instead(td.VonMises, "sample")(partial(_drawn_by, nd.VonMises, ("loc", "concentration")))
instead(pd.SineBivariateVonMises, "sample")(
    partial(
        _drawn_by,
        nd.SineBivariateVonMises,
        ("phi_loc", "psi_loc", "phi_concentration", "psi_concentration", "correlation"),
    )
)
