"""Parameters: the arrays a mirrored layer may use, under the names of the module's ``state_dict``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np
from torch import nn

from ppvae.backends.mirror.running.tables import MirrorError


def _no_key() -> jax.Array:
    raise MirrorError("a random layer was called in training mode without a key; pass key=")


@dataclass(frozen=True)
class Parameters:
    """A view on named arrays below a prefix.

    ``arrays`` maps full names to JAX arrays; ``aliases`` maps every name of a tied weight to the one name that is
    stored. ``key()`` returns a fresh PRNG key, for random layers under training.
    """

    arrays: Mapping[str, jax.Array]
    aliases: Mapping[str, str]
    prefix: str = ""
    training: bool = False
    key: Callable[[], jax.Array] = _no_key

    def __getitem__(self, name: str) -> jax.Array:
        full = self.prefix + name
        return self.arrays[self.aliases.get(full, full)]

    def get(self, name: str) -> jax.Array | None:
        """The array, or None where the layer has none (``bias=False``)."""
        full = self.prefix + name
        return self.arrays.get(self.aliases.get(full, full))

    def child(self, path: str) -> Parameters:
        """The parameters of the submodule at ``path``."""
        return replace(self, prefix=f"{self.prefix}{path}.") if path else self


def aliases(module: nn.Module) -> dict[str, str]:
    """Every parameter and buffer name, mapped to the first name of the same tensor (tied weights share one)."""
    first: dict[int, str] = {}
    return {name: first.setdefault(id(tensor), name) for name, tensor in _tensors(module)}


def arrays(module: nn.Module) -> dict[str, jax.Array]:
    """The module's parameters and buffers as JAX arrays, tied weights once, names and layout unchanged."""
    return {name: jax.device_put(array.copy()) for name, array in views(module).items()}


def views(module: nn.Module) -> dict[str, np.ndarray]:
    """The same as numpy arrays, on a CPU without a copy: for what is done with them before the module changes."""
    names = aliases(module)
    return {n: t.detach().cpu().numpy() for n, t in _tensors(module) if names[n] == n}


def _tensors(module: nn.Module) -> list[tuple[str, Any]]:
    named = list(module.named_parameters(remove_duplicate=False))
    return named + list(module.named_buffers(remove_duplicate=False))
