"""Conditionals: diagonal normals given latents, and experts that read a modality beside them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ppvae.language.modality import Modality
from ppvae.language.ppl import ops
from ppvae.language.program import Program
from ppvae.parts import networks
from ppvae.parts.encoders import BOUND, Encoders


class Gaussian(Program):
    """``p(z | h) = Normal(loc(h), scale(h))``: from ``(..., inputs)`` to loc and scale ``(..., outputs)``.

    Several inputs are joined. The log scale is kept within ±10.
    """

    def __init__(self, inputs: int, outputs: int, hidden: Sequence[int] = (256, 256)) -> None:
        super().__init__()
        self.outputs = outputs
        self.network = networks.mlp(inputs, hidden, 2 * outputs)

    def forward(self, *inputs: Any) -> tuple[Any, Any]:
        loc, log_scale = ops.split(self.network(joined(*inputs)), self.outputs, -1)
        return loc, ops.exp(ops.clamp(log_scale, -BOUND, BOUND))


class Features(Program):
    """What a network makes of every modality: ``(modality, items, 2 * width)``, and present ``(modality, items)``.

    The networks are those of the modalities' encoders; features of what is not given are zeros.
    """

    def __init__(self, modalities: Sequence[Modality], width: int, hidden: Sequence[int] = (256, 256)) -> None:
        super().__init__()
        self.encoders = Encoders(modalities, width, hidden)

    def forward(self, batch: Any) -> tuple[Any, Any]:
        names = list(self.encoders.networks)
        features = ops.stack([self.encoders.expert(batch, name) for name in names])
        return features, ops.stack([batch.present(name) for name in names])


class Heads(Program):
    """``q(z | x_m, h) = Normal(loc, scale)`` for every modality m, from its features and something else, h.

    ``forward(features, h)`` takes ``(modality, items, width)`` and ``(..., items, given)``, and returns loc and scale
    ``(modality, ..., items, latent)``.
    """

    def __init__(self, names: Sequence[str], width: int, given: int, latent: int, hidden: Sequence[int]) -> None:
        super().__init__()
        self.heads = networks.ByName({name: Gaussian(width + given, latent, hidden) for name in names})

    def forward(self, features: Any, *given: Any) -> tuple[Any, Any]:
        each = [self.heads[name](features[i], *given) for i, name in enumerate(self.heads)]
        return ops.stack([loc for loc, _ in each]), ops.stack([scale for _, scale in each])


def joined(*parts: Any) -> Any:
    """Arrays side by side on their last axis, all other axes broadcast."""
    if len(parts) == 1:
        return parts[0]
    shape = ops.broadcast_shapes(*(part.shape[:-1] for part in parts))
    return ops.cat([ops.broadcast_to(part, (*shape, part.shape[-1])) for part in parts], -1)


def along(present: Any, loc: Any) -> Any:
    """Who is present, ``(modality, items)``, given the number of axes of experts ``(modality, ..., items, latent)``."""
    return present.reshape(present.shape[0], *(1,) * (loc.ndim - 3), present.shape[1])


def one_hot(index: Any, levels: int) -> Any:
    """Indices of any dtype, ``(..., items)``, as zeros and a one, ``(..., items, levels)``."""
    return ops.where(index[..., None] == ops.arange(levels), 1.0, 0.0)
