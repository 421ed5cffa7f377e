"""Supports: torch's constraints as NumPyro's, so that its samplers know where a latent lives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from numpyro.distributions import biject_to
from numpyro.distributions import constraints as nc
from pyro.distributions import constraints as pc


class AtMost(nc.multinomial):
    """Counts that add up to a bound or to less, as torch has it: topic models give all texts the longest one's."""

    def __call__(self, x: Any) -> Any:
        return (x >= 0).all(axis=-1) & (x.sum(axis=-1) <= self.upper_bound)


# What has no parameter, by the object that stands for it on either side.
PLAIN: dict[Any, Any] = {
    pc.boolean: nc.boolean,
    pc.corr_cholesky: nc.corr_cholesky,
    pc.corr_matrix: nc.corr_matrix,
    pc.lower_cholesky: nc.lower_cholesky,
    pc.nonnegative: nc.nonnegative,
    pc.ordered_vector: nc.ordered_vector,
    pc.positive: nc.positive,
    pc.positive_definite: nc.positive_definite,
    pc.positive_ordered_vector: nc.positive_ordered_vector,
    pc.positive_semidefinite: nc.positive_semidefinite,
    pc.real: nc.real,
    pc.simplex: nc.simplex,
    pc.softplus_lower_cholesky: nc.softplus_lower_cholesky,
    pc.softplus_positive: nc.softplus_positive,
    pc.sphere: nc.sphere,
    pc.unit_interval: nc.unit_interval,
}

# What has parameters, by the type of the constraint: NumPyro's maker, and the names of its arguments.
WITH_BOUNDS: dict[Any, tuple[Callable[..., Any], tuple[str, ...]]] = {
    pc.greater_than: (nc.greater_than, ("lower_bound",)),
    pc.greater_than_eq: (nc.greater_than_eq, ("lower_bound",)),
    pc.half_open_interval: (nc.interval, ("lower_bound", "upper_bound")),
    pc.integer_interval: (nc.integer_interval, ("lower_bound", "upper_bound")),
    pc.interval: (nc.interval, ("lower_bound", "upper_bound")),
    pc.less_than: (nc.less_than, ("upper_bound",)),
    pc.multinomial: (AtMost, ("upper_bound",)),
    type(pc.nonnegative_integer): (nc.integer_greater_than, ("lower_bound",)),
}


class Unmatched(nc.Constraint):
    """A support that NumPyro has no name for: what is measured there counts, and no latent is mapped to it."""

    def __init__(self, theirs: Any) -> None:
        self.name, self.discrete, self.dims = type(theirs).__name__, theirs.is_discrete, theirs.event_dim

    is_discrete = property(lambda self: self.discrete)
    event_dim = property(lambda self: self.dims)

    def __call__(self, x: Any) -> Any:
        return jnp.ones(jnp.shape(x)[: jnp.ndim(x) - self.dims], bool)  # values are checked on Pyro, before training

    def feasible_like(self, prototype: Any) -> Any:
        """The values themselves, as on Pyro where nothing else is known to be in the support."""
        return prototype

    def tree_flatten(self) -> Any:
        return (), ((), vars(self))


@biject_to.register(Unmatched)
def _unmapped(support: Unmatched) -> Any:
    raise NotImplementedError(
        f"a latent's support is {support.name}, which has no counterpart on NumPyro, and cannot be mapped to all real "
        "numbers: give it a distribution over one that can, or use backend='pyro'"
    )


def constraint(support: Any, array: Callable[[Any], Any]) -> Any:
    """NumPyro's constraint for one of torch's; ``array`` gives the arrays of its bounds."""
    if isinstance(support, pc.independent):
        return nc.independent(constraint(support.base_constraint, array), support.reinterpreted_batch_ndims)
    if isinstance(support, pc.MixtureSameFamilyConstraint):
        return constraint(support.base_constraint, array)
    if support is pc.one_hot:
        return nc.multinomial(1)
    if support in PLAIN:
        return PLAIN[support]
    if type(support) in WITH_BOUNDS:
        make, names = WITH_BOUNDS[type(support)]
        return make(*(array(getattr(support, name)) for name in names))
    return Unmatched(support)
