"""Mirror: torch modules and programs, run by JAX on the same parameters.

``mirror.layer``, ``mirror.function`` and ``mirror.method`` extend the tables. Three rooms, lowest first: ``running``,
how torch code is run; ``functions``, where one is added; ``layers``, where one is added.
"""

from ppvae.backends.mirror import functions, layers
from ppvae.backends.mirror.running import transformed
from ppvae.backends.mirror.running.interpret import forward, to_jax
from ppvae.backends.mirror.running.parameters import Parameters, aliases, arrays, views
from ppvae.backends.mirror.running.surroundings import look_again, times_changed
from ppvae.backends.mirror.running.tables import (
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
RULES = (*functions.RULES, *layers.RULES, transformed)

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
    "look_again",
    "method",
    "random_function",
    "times_changed",
    "to_jax",
    "views",
]
