"""Supports: torch's constraints as NumPyro's, so that its samplers know where a latent lives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numpyro.distributions import constraints as nc
from pyro.distributions import constraints as pc

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
    pc.multinomial: (nc.multinomial, ("upper_bound",)),
    type(pc.nonnegative_integer): (nc.integer_greater_than, ("lower_bound",)),
}


def constraint(support: Any, array: Callable[[Any], Any]) -> Any:
    """NumPyro's constraint for one of torch's; ``array`` gives the arrays of its bounds.

    Raises:
        NotImplementedError: it has none.
    """
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
    raise NotImplementedError(f"the support {support} has no counterpart on NumPyro")
