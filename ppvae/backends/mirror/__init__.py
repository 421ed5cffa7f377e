"""Mirror: torch modules and programs, run by JAX on the same parameters.

``mirror.layer``, ``mirror.function`` and ``mirror.method`` extend the tables.
"""

from ppvae.backends.mirror import (
    attention,
    convolution,
    dropout,
    embedding,
    functions,
    pooling,
    recurrent,
    resampling,
)
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

# Importing a file fills the tables.
RULES = (attention, convolution, dropout, embedding, functions, pooling, recurrent, resampling)

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
