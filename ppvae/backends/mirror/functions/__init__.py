"""Functions: torch's functions, written over ``jax.numpy``, one concept a file. Importing one fills the tables."""

from ppvae.backends.mirror.functions import (
    activations,
    creation,
    draws,
    elementwise,
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

RULES = (
    activations,
    creation,
    draws,
    elementwise,
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
