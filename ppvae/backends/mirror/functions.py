"""Functions: torch's functions, written over ``jax.numpy``, one concept a file."""

from ppvae.backends.mirror import (
    creation,
    elementwise,
    functional,
    functional_layers,
    indexing,
    linear_algebra,
    losses,
    methods,
    norms,
    operators,
    reductions,
    shapes,
    special,
)

__all__ = [
    "creation",
    "elementwise",
    "functional",
    "functional_layers",
    "indexing",
    "linear_algebra",
    "losses",
    "methods",
    "norms",
    "operators",
    "reductions",
    "shapes",
    "special",
]
