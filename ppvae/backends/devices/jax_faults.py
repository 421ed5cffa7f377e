"""JAX's faults: versions that compute wrong numbers, crash or crawl on a CPU, told at the first run on NumPyro."""

from __future__ import annotations

import os
import warnings

import jaxlib

FLAG = (
    "--xla_cpu_experimental_ynn_fusion_type"  # empty, it switches off the fusions that are wrong in 0.10.2 and 0.11.0
)
# By version of jaxlib: what is wrong with it, and whether the empty flag cures it.
FAULTS = {
    "0.10.2": ("computes wrong sums of squares and crashes (jax-ml/jax #39103, #39257)", True),
    "0.11.0": ("crashes in reductions of many axes (jax-ml/jax #40412)", True),
    "0.11.1": ("takes ten times as long in loops (jax-ml/jax #40101)", False),
}


def fault(version: str, flags: str) -> str | None:
    """What is wrong with a version of jaxlib under these XLA flags, in a sentence; None where nothing is known."""
    if version not in FAULTS:
        return None
    what, curable = FAULTS[version]
    if curable and f"{FLAG}=" in flags.split():
        return None
    cure = f", or set XLA_FLAGS='{FLAG}=' before Python starts" if curable else ""
    return f"jaxlib {version} {what} on a CPU: install another one, pip install 'jax!={version}'{cure}"


def warn() -> None:
    """Warn where the installed jaxlib is one of these."""
    if sentence := fault(jaxlib.__version__, os.environ.get("XLA_FLAGS", "")):
        warnings.warn(sentence, RuntimeWarning, stacklevel=2)
