"""Sparing: how XLA compiles where memory is short."""

from __future__ import annotations

from typing import Any

import jax

# It writes loops on a CPU in its older way, which takes a third of the memory: 128 MiB in place of 454 for a step of
# mvae on pictures of 3 by 64 by 64 (docs/decisions.md).
OLDER = {"xla_cpu_use_fusion_emitters": False, "xla_cpu_scheduler_type": "CPU_SCHEDULER_TYPE_MEMORY_OPTIMIZED"}


def compiled(lowered: Any, sparing: bool) -> Any:
    """A lowered program, compiled; sparing memory, its steps may take a little longer, and round another way."""
    if sparing:
        try:
            return lowered.compile(compiler_options=OLDER)
        except jax.errors.JaxRuntimeError as error:
            if "No such compile option" not in str(error):  # in a version of JAX that has but one way
                raise
    return lowered.compile()
