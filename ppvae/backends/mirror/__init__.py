"""Mirror: torch modules and programs, run by JAX on the same parameters.

``mirror.layer``, ``mirror.function`` and ``mirror.method`` extend the tables.
"""

from ppvae.backends.mirror import convolution, dropout, functions
from ppvae.backends.mirror.interpret import forward, to_jax
from ppvae.backends.mirror.parameters import Parameters, aliases, arrays
from ppvae.backends.mirror.tables import (
    FUNCTIONS,
    LAYERS,
    METHODS,
    RANDOM_FUNCTIONS,
    MirrorError,
    function,
    layer,
    method,
    random_function,
)

__all__ = [
    "FUNCTIONS",
    "LAYERS",
    "METHODS",
    "RANDOM_FUNCTIONS",
    "MirrorError",
    "Parameters",
    "aliases",
    "arrays",
    "forward",
    "function",
    "layer",
    "method",
    "random_function",
    "to_jax",
]
