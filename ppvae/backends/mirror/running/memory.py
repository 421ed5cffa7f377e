"""Memory: what an array and its views share, so that a change in place is seen through all of them, as in torch."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import torch

from ppvae.backends.mirror.running.refusals import refusal


@jax.custom_jvp
def grafted(new: jax.Array, old: jax.Array) -> jax.Array:
    """The new elements, with the gradients of the old ones."""
    return new


@grafted.defjvp
def _grafted_jvp(primals: Any, tangents: Any) -> tuple[jax.Array, jax.Array]:
    return grafted(*primals), tangents[1]


class Memory:
    """The elements of a tensor as they are now, for itself and for every view of it.

    JAX's arrays have no views. Which elements of the whole a view shows is read off its strides, which torch keeps.
    """

    def __init__(self, whole: torch.Tensor, elements: jax.Array, fixed: str = "") -> None:
        self.layout = _layout(whole)
        self.elements = elements
        self.version = 0
        self.fixed = fixed

    def read(self, view: torch.Tensor) -> jax.Array:
        """The elements that a view shows."""
        if _layout(view) == self.layout:
            return self.elements
        return self.elements.reshape(-1)[self._places(view)]

    def write(self, view: torch.Tensor, value: jax.Array, live: bool) -> None:
        """Change the elements that a view shows; what is not live changes numbers, and leaves gradients alone."""
        if self.fixed:
            raise refusal(
                f"a change of {self.fixed} in forward has no mirror",
                "compute with a changed copy, such as w * mask, instead",
            )
        if _layout(view) == self.layout:
            changed = value
        else:
            places = self._places(view).reshape(-1)
            if len(np.unique(places)) < len(places):
                raise refusal("torch does not change an expanded tensor in place", "use x.clone() first")
            changed = self.elements.reshape(-1).at[places].set(value.reshape(-1)).reshape(self.elements.shape)
        self.elements = changed if live else grafted(changed, self.elements)
        self.version += 1

    def _places(self, view: torch.Tensor) -> np.ndarray[Any, Any]:
        """Where in the flat whole each element of a view is."""
        whole = _positions(*self.layout)
        place = np.zeros(int(whole.max(initial=0)) + 1, int)
        place[whole] = np.arange(whole.size).reshape(whole.shape)
        return place[_positions(*_layout(view))]


def _layout(tensor: torch.Tensor) -> tuple[Any, Any, Any]:
    with torch._C.DisableTorchFunction():
        return tensor.size(), tensor.stride(), tensor.storage_offset()


def _positions(size: Any, stride: Any, offset: int) -> np.ndarray[Any, Any]:
    """The place in storage of every element."""
    steps = [np.arange(n) * step for n, step in zip(size, stride, strict=True)]
    return np.asarray(offset + sum(np.ix_(*steps)) if steps else offset)
