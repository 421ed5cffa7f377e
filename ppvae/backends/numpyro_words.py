"""The words on NumPyro: the names of Pyro and torch, translated."""

from __future__ import annotations

from typing import Any, ClassVar

import jax
import numpyro as pyro
import numpyro.distributions as dist
import numpyro.handlers as handlers
import torch

from ppvae.backends import mirror, pyro_words
from ppvae.backends.pyro_words import Density, Sampler, Shape


class _Ops:
    """The mirrored counterpart of ``torch.NAME``."""

    def __getattr__(self, name: str) -> Any:
        target = getattr(pyro_words.ops, name)
        if isinstance(target, torch.dtype):
            return target
        if target not in mirror.FUNCTIONS:
            raise AttributeError(f"ops.{name} has no counterpart on NumPyro")
        return mirror.FUNCTIONS[target]


ops = _Ops()


class Written(dist.Distribution):
    """A distribution written as two functions; see :func:`ppvae.ppl.distribution`."""

    arg_constraints: ClassVar[dict[str, Any]] = {}
    reparametrized_params: ClassVar[list[str]] = []
    pytree_aux_fields = ("_sampler", "_density")

    def __init__(self, sample: Sampler, log_prob: Density, batch_shape: Shape, event_shape: Shape) -> None:
        self._sampler, self._density = sample, log_prob
        super().__init__(batch_shape, event_shape, validate_args=False)

    @property
    def support(self) -> Any:
        return dist.constraints.independent(dist.constraints.real, self.event_dim)

    def sample(self, key: jax.Array, sample_shape: Shape = ()) -> jax.Array:
        def draw(d: Any) -> jax.Array:
            nonlocal key
            key, here = jax.random.split(key)
            return d.sample(here, sample_shape)

        return self._sampler(draw)

    def log_prob(self, value: jax.Array, intermediates: Any = None) -> jax.Array:
        return self._density(value)


def distribution(sample: Sampler, log_prob: Density, batch_shape: Shape, event_shape: Shape) -> Written:
    """See :func:`ppvae.ppl.distribution`."""
    return Written(sample, log_prob, batch_shape, event_shape)
