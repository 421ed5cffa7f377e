"""Devices in JAX: the one that a run computes on, or several that divide the items of each batch among them."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from ppvae.runs.settings import Settings


def device(name: str) -> Any:
    """The JAX device for ``auto``, ``cpu``, ``cuda`` or ``gpu``.

    Raises:
        ValueError: there is none.
    """
    return _devices(name)[0]


def _devices(name: str) -> list[Any]:
    if name in ("auto", "cpu"):
        return jax.devices(None if name == "auto" else "cpu")
    try:
        return jax.devices("gpu")
    except RuntimeError:
        raise ValueError(f"device {name!r} was asked for, but JAX sees no GPU; use device='auto'") from None


def check(settings: Settings, items: int) -> None:
    """Raise ValueError where there are fewer devices than are to share a batch, or they cannot share it evenly."""
    asked, there = settings.devices, len(_devices(settings.device))
    if asked > there:
        raise ValueError(f"devices={asked} was asked for, but JAX sees {there} of device {settings.device!r}")
    size = min(settings.batch_size, items)
    if size % asked:
        raise ValueError(f"{asked} devices cannot share batches of {size} items evenly; choose another batch_size")


def divided(settings: Settings, arrays: Any) -> Any:
    """Arrays of a batch, ``(items, ...)``, in equal parts on the devices that share it."""
    return arrays if settings.devices == 1 else jax.lax.with_sharding_constraint(arrays, _over(settings, "items"))


def whole(settings: Settings, arrays: Any) -> Any:
    """Arrays as a whole on each of these devices."""
    return arrays if settings.devices == 1 else jax.device_put(arrays, _over(settings))


def _over(settings: Settings, *axes: str) -> NamedSharding:
    mesh = Mesh(np.array(_devices(settings.device)[: settings.devices]), ("items",))
    return NamedSharding(mesh, PartitionSpec(*axes))
