"""Compiling: how XLA compiles the steps of a run, sparing memory or time where these are short."""

from __future__ import annotations

from typing import Any

import jax
from torch.nn.modules.conv import _ConvNd

from ppvae.backends import mirror
from ppvae.backends.devices.in_jax import device
from ppvae.runs.plan import Plan

# It writes loops on a CPU in its older way, which takes a third of the memory: 128 MiB in place of 454 for a step of
# mvae on pictures of 3 by 64 by 64 (docs/decisions.md).
OLDER = {"xla_cpu_use_fusion_emitters": False, "xla_cpu_scheduler_type": "CPU_SCHEDULER_TYPE_MEMORY_OPTIMIZED"}
# On a GPU it writes no products of its own, of each of which it would time many ways: the first step of mvae comes
# after 9 to 12 seconds in place of 23 to 38, each after that takes 1.02 ms in place of 0.85 (docs/performance.md).
UNTIMED = {"xla_gpu_enable_triton_gemm": False}
LONG = 100_000  # steps of a run, from which on these are worth the wait


def compiled(lowered: Any, plan: Plan) -> Any:
    """A lowered program of a run, compiled.

    On a CPU sparing memory where its data are on disk and its networks convolve, as steps of dense networks would take
    1.4 times as long so; it then rounds another way. On a GPU sparing time, but for long runs. What texts changed by
    themselves while they were traced is no change from here on.
    """
    mirror.look_again(plan.vae.pair)
    try:
        return lowered.compile(compiler_options=_options(plan))
    except jax.errors.JaxRuntimeError as error:
        if "No such compile option" not in str(error):  # in a version of JAX that has but one way
            raise
    return lowered.compile()


def _options(plan: Plan) -> dict[str, Any]:
    settings, convolves = plan.settings, any(isinstance(module, _ConvNd) for module in plan.vae.pair.modules())
    if device(settings.device).platform == "cpu":
        return OLDER if plan.stored and convolves else {}
    return {} if settings.epochs != "auto" and settings.epochs * plan.steps >= LONG else UNTIMED
