"""Text: Pyro's own distributions, run on arrays by the dispatcher that runs networks, and as NumPyro takes them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpyro
import numpyro.distributions as nd
import pyro.distributions as pd
import torch
from numpyro.distributions.kl import dispatch
from numpyro.distributions.util import validate_sample

from ppvae.backends.distributions.supports import constraint
from ppvae.backends.distributions.unchecked import unchecked
from ppvae.backends.mirror.running.convert import OBJECTS, nested
from ppvae.backends.mirror.running.dispatch import Dispatch, dispatching, is_array
from ppvae.backends.mirror.running.standin import StandIn, interpreter

Shape = tuple[int, ...]
Known = dict[int, StandIn]  # what stands for a tensor, by its id


class PyroDistribution(nd.Distribution):
    """A distribution of Pyro's for NumPyro: it takes and gives arrays, on which Pyro's own text runs.

    What Pyro's distribution knows, this one knows: each attribute and method is asked of the text.
    """

    arg_constraints: ClassVar[dict[str, Any]] = {}
    reparametrized_params: ClassVar[list[str]] = []

    def __init__(self, text: Any) -> None:
        self.text = text
        self.known = dict(getattr(interpreter.get(None), "known", {}))  # modules that the text reached by itself
        self._drawn: tuple[Any, Any] = (None, None)
        checks = False if unchecked(text) else None
        super().__init__(tuple(text.batch_shape), tuple(text.event_shape), validate_args=checks)

    def ask(self, question: Callable[[Any], Any], others: Known | None = None) -> Any:
        """``question(text)`` under the dispatcher, on arrays."""
        with interpreting(known={**self.known, **(others or {})}):
            return nested(question(self.text), array)

    @property
    def has_rsample(self) -> bool:
        return self.text.has_rsample

    @property
    def has_enumerate_support(self) -> bool:
        return self.text.has_enumerate_support

    @property
    def support(self) -> Any:
        with interpreting(known=self.known):
            try:
                own = self.text.support
            except NotImplementedError:  # it does not say
                return nd.constraints.independent(nd.constraints.real, self.event_dim)
            found = constraint(own, array)
        missing = self.event_dim - found.event_dim  # an improper distribution may be of more dims than its support
        return nd.constraints.independent(found, missing) if missing > 0 else found

    def sample(self, key: jax.Array | None, sample_shape: Shape = ()) -> jax.Array:
        """A draw, which remembers how it was made: its density needs no inverse of a transform."""
        if key is None:
            raise ValueError(f"a draw from {type(self).__name__} needs a key: run the program under handlers.seed")
        with interpreting(key, self.known):
            draw = self.text if callable(self.text) else self.text.rsample if self.has_rsample else self.text.sample
            drawn = draw(torch.Size(sample_shape))  # as Pyro has it, which calls a site's distribution
            self._drawn = array(drawn), drawn
        return self._drawn[0]

    @validate_sample
    def log_prob(self, value: Any, intermediates: Any = None) -> jax.Array:
        known, drawn = self._drawn
        return self.ask(lambda text: text.log_prob(drawn if value is known else StandIn(jnp.asarray(value))))

    def to_event(self, reinterpreted_batch_ndims: int | None = None) -> Any:
        return self.ask(lambda text: text.to_event(reinterpreted_batch_ndims))

    def expand(self, batch_shape: Any) -> Any:
        return self.ask(lambda text: text.expand(torch.Size(batch_shape)))

    def __getattr__(self, name: str) -> Any:
        if (name.startswith("_") and name != "_mask") or name == "text":
            raise AttributeError(name)
        found = self.ask(lambda text: getattr(text, name))
        if not callable(found) or isinstance(found, nd.Distribution):
            return found
        return lambda *args, **kwargs: self.ask(
            lambda text: getattr(text, name)(*nested(args, spoken), **nested(kwargs, spoken))
        )


def _asked(name: str) -> Any:
    return property(lambda self: PyroDistribution.__getattr__(self, name))


for _name in ("mean", "variance", "mode", "entropy", "cdf", "icdf", "enumerate_support"):
    setattr(PyroDistribution, _name, _asked(_name))


@dispatch(PyroDistribution, PyroDistribution)
def kl_divergence(p: PyroDistribution, q: PyroDistribution) -> jax.Array:
    """Torch's and Pyro's own formulas, for NumPyro's estimators."""
    return p.ask(lambda text: pd.kl.kl_divergence(text, q.text), q.known)


@cache
def _kind(pyros: Any) -> type[PyroDistribution]:
    """The class of a distribution for NumPyro, whose pictures show its name."""
    return type(pyros.__name__, (PyroDistribution,), {"__doc__": pyros.__doc__})


@contextmanager
def interpreting(key: jax.Array | None = None, known: Known | None = None) -> Iterator[None]:
    """Stand-ins speak within the block: to the text that is running, or else alone, by the keys that ``key`` gives."""
    if key is None and interpreter.get(None) is not None:
        yield
        return
    with dispatching(Dispatch(numpyro.prng_key if key is None else _keys(key), dict(known or {}))):
        yield


def _keys(key: jax.Array) -> Callable[[], jax.Array]:
    def fresh() -> jax.Array:
        nonlocal key
        key, one = jax.random.split(key)
        return one

    return fresh


def asked(fn: Any, question: Callable[[Any], Any]) -> Any:
    """``question(text)`` of a distribution as either library has it, on its arrays."""
    if isinstance(fn, torch.distributions.Distribution):
        return question(fn)
    inner = fn
    while not isinstance(inner, PyroDistribution):
        inner = inner.base_dist
    return inner.ask(lambda _: question(spoken(fn)))


def array(value: Any) -> Any:
    """What NumPyro sees of a leaf of a text: arrays, and distributions as its own."""
    return interpreter.get().array(value)


def numpyros(text: Any) -> Any:
    """A distribution of Pyro's as NumPyro takes it."""
    if isinstance(text, torch.distributions.Independent):
        base = numpyros(text.base_dist)
        return nd.Independent(base, text.reinterpreted_batch_ndims, validate_args=base._validate_args)
    return _kind(type(text))(text)  # type: ignore[arg-type]


OBJECTS[torch.distributions.Distribution] = numpyros


def spoken(value: Any) -> Any:
    """What a text sees of a leaf: stand-ins for arrays, and Pyro's own distributions."""
    if isinstance(value, PyroDistribution):
        return value.text
    if isinstance(value, nd.Independent):
        return spoken(value.base_dist).to_event(value.reinterpreted_batch_ndims)
    if isinstance(value, nd.MaskedDistribution):
        return spoken(value.base_dist).mask(spoken(value._mask))
    if isinstance(value, nd.Unit):
        return pd.Unit(spoken(value.log_factor))
    if isinstance(value, nd.Delta):
        return pd.Delta(spoken(value.v), spoken(value.log_density), value.event_dim)
    return StandIn(jnp.asarray(value)) if is_array(value) else value
