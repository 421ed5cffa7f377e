"""Devices in JAX: the one that a run computes on, or those of all its processes that divide each batch among them."""

from __future__ import annotations

import atexit
import os
import re
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from ppvae.backends.devices import processes
from ppvae.runs import launch
from ppvae.runs.settings import Settings

GONE = re.compile("Gloo|NCCL|UNAVAILABLE|coordination")  # in what XLA says where another process has died


def device(name: str) -> Any:
    """The JAX device for ``auto``, ``cpu``, ``cuda`` or ``gpu``; this process's first.

    Raises:
        ValueError: there is none.
    """
    return next(each for each in _devices(name) if each.process_index == jax.process_index())


def _devices(name: str) -> list[Any]:
    if name in ("auto", "cpu"):
        return jax.devices(None if name == "auto" else "cpu")
    try:
        return jax.devices("gpu")
    except RuntimeError:
        raise ValueError(f"device {name!r} was asked for, but JAX sees no GPU; use device='auto'") from None


def on_cpu() -> bool:
    """Whether JAX computes on the CPU by default."""
    device = jax.config.jax_default_device  # type: ignore[attr-defined]
    return bool((device.platform if hasattr(device, "platform") else device or jax.default_backend()) == "cpu")


@contextmanager
def defaults(settings: Settings) -> Iterator[None]:
    """The run's dtype and device as JAX's defaults within the block, in this thread only.

    Products of float32 are of float32, as torch's: JAX's own default on GPUs keeps ten bits of each factor, and
    gradients are then a fifth off. What a caller has set that forbids usual programs, such as implicit promotion or
    compiling, does not hold here.
    """
    with (
        jax.enable_x64(settings.dtype == "float64"),
        jax.default_device(device(settings.device)),
        jax.default_matmul_precision("highest"),
        jax.numpy_dtype_promotion("standard"),
        jax.numpy_rank_promotion("allow"),
        jax.transfer_guard("allow"),
        jax.disable_jit(False),
    ):
        yield


def join(settings: Settings) -> None:
    """Meet the processes that were launched with this one, whose devices JAX then knows.

    Raises:
        ValueError: JAX has computed something already, or they would trace programs of another order.
        ConnectionError: they did not come.
    """
    if launch.count() > 1 and not launch.sets_agree():
        raise ValueError(
            "processes that share a run on NumPyro have to trace one program, and names in a set have another order in "
            "each: launch them with PYTHONHASHSEED=0 in the environment"
        )
    processes.join()
    if not processes.joined() or jax.distributed.is_initialized():
        return
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.config.update("jax_enable_recoverability", True)  # else the death of one would abort all others at once
    jax.config.update("jax_enable_preemption_service", False)  # which would swallow SIGTERM
    host = os.environ.get("MASTER_ADDR", "127.0.0.1")
    meeting = processes.agreed(f"{host}:{_free_port()}" if launch.rank() == 0 else None)
    try:
        jax.distributed.initialize(
            meeting,
            launch.count(),
            launch.rank(),
            launch.local_rank() if settings.device != "cpu" else None,
            cluster_detection_method="deactivate",
        )
    except RuntimeError as error:
        raise ValueError(
            "JAX has computed something before processes could meet: let fit be the first that uses it, or call "
            f"jax.distributed.initialize() at the beginning ({str(error).splitlines()[0]})"
        ) from error
    atexit.register(processes.end, jax.distributed.shutdown)
    with _to_stderr(), together():
        multihost_utils.sync_global_devices("all have met")


@contextmanager
def _to_stderr() -> Iterator[None]:
    """What XLA's gloo says on stdout as processes connect goes to stderr: stdout is the command line's."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("", 0))
        return free.getsockname()[1]


@contextmanager
def together() -> Iterator[None]:
    """Within the block all processes do the same.

    Raises:
        ConnectionError: one of them no longer does.
    """
    try:
        yield
    except (RuntimeError, ValueError) as error:
        if processes.joined() and GONE.search(str(error)):
            raise ConnectionError(processes.LOST) from error
        raise


def check(settings: Settings, items: int) -> None:
    """Raise ValueError where there are fewer devices than are to share a batch, or they cannot share it evenly."""
    asked, there = settings.devices, len(_devices(settings.device)) // jax.process_count()
    if asked > there:
        raise ValueError(f"devices={asked} was asked for, but JAX sees {there} of device {settings.device!r}")
    size, sharing = min(settings.batch_size, items), len(_sharing(settings))
    if size % sharing:
        raise ValueError(f"{sharing} devices cannot share batches of {size} items evenly; choose another batch_size")


def divided(settings: Settings, arrays: Any) -> Any:
    """Arrays of a batch, ``(items, ...)``, in equal parts on the devices that share it."""
    return arrays if _alone(settings) else jax.lax.with_sharding_constraint(arrays, _over(settings, "items"))


def whole(settings: Settings, arrays: Any) -> Any:
    """Arrays as a whole on each of these devices; those that are there already stay."""
    return arrays if _alone(settings) else jax.device_put(arrays, _over(settings))


def put(arrays: Mapping[str, np.ndarray], settings: Settings | None = None) -> dict[str, jax.Array]:
    """Arrays on the device, or on all that share a run: floats of the run's dtype, and booleans as they are."""
    there = {name: jnp.asarray(array, dtype=_kept(array)) for name, array in arrays.items()}
    return there if settings is None else whole(settings, there)


def put_steps(arrays: Mapping[str, np.ndarray], settings: Settings) -> dict[str, jax.Array]:
    """The same of this process's share of some steps, ``(steps, items, ...)``, in parts on the devices of the run."""
    if _alone(settings):
        return put(arrays)
    place = partial(jax.make_array_from_process_local_data, _over(settings, None, "items"))
    return {name: place(array.astype(_kept(array))) for name, array in arrays.items()}


def _kept(array: np.ndarray) -> Any:
    """The dtype that an array has on the device."""
    return array.dtype if array.dtype == bool else jax.dtypes.canonicalize_dtype(jnp.float64)


def _alone(settings: Settings) -> bool:
    return len(_sharing(settings)) == 1


def _sharing(settings: Settings) -> list[Any]:
    """The devices that share a batch: so many of each process."""
    there = _devices(settings.device)
    own = [[each for each in there if each.process_index == number] for number in range(jax.process_count())]
    return [each for each_own in own for each in each_own[: settings.devices]]


def _over(settings: Settings, *axes: str | None) -> NamedSharding:
    return NamedSharding(Mesh(np.array(_sharing(settings)), ("items",)), PartitionSpec(*axes))
