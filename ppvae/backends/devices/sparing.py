"""Sparing: how XLA compiles convolutions where memory is short."""

from __future__ import annotations

from typing import Any

import jax
from torch.nn.modules.conv import _ConvNd

from ppvae.runs.plan import Plan

# It writes loops on a CPU in its older way, which takes a third of the memory: 128 MiB in place of 454 for a step of
# mvae on pictures of 3 by 64 by 64 (docs/decisions.md).
OLDER = {"xla_cpu_use_fusion_emitters": False, "xla_cpu_scheduler_type": "CPU_SCHEDULER_TYPE_MEMORY_OPTIMIZED"}


def compiled(lowered: Any, plan: Plan) -> Any:
    """A lowered program of a run, compiled.

    Sparing memory where its data are on disk and its networks convolve, as steps of dense networks would take 1.4 times
    as long so; it then rounds another way.
    """
    if plan.stored and any(isinstance(module, _ConvNd) for module in plan.vae.pair.modules()):
        try:
            return lowered.compile(compiler_options=OLDER)
        except jax.errors.JaxRuntimeError as error:
            if "No such compile option" not in str(error):  # in a version of JAX that has but one way
                raise
    return lowered.compile()
