"""Ladder: at each level a product of the experts that are present and the model's own conditional prior."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from ppvae import Modality, Program, dist, ops, pyro
from ppvae.language.batch import Batch
from ppvae.parts import experts
from ppvae.parts.conditionals import Features, Heads, along, joined


class Ladder(Program):
    """``q(z_l | x_S, z_{>l}) ∝ p(z_l | z_{>l}) ∏_{m∈S} q(z_l | x_m, z_{>l})``, from the top level down.

    MHVAE (Dorent et al. 2023, https://arxiv.org/abs/2309.08747). The prior of each level is the model's own, so an
    item with nothing follows the model. Sites ``z_1`` to ``z_L`` are ``(items, latent)``.

    >>> from ppvae import Batch, method
    >>> guide = method("mhvae", [Modality("image", (784,)), Modality("sound", (20,))], latent=2).guide
    >>> tuple(guide(Batch(size=3)).shape)  # all levels, side by side
    (3, 6)
    """

    def __init__(
        self,
        modalities: Sequence[Modality],
        latent: int = 16,
        hidden: Sequence[int] = (256, 256),
        levels: int = 3,
        *,
        model: Any,
    ) -> None:
        super().__init__()
        names, width = [m.name for m in modalities], levels * latent
        self.depth, self.levels = levels, model.levels
        self.features = Features(modalities, width, hidden)
        self.heads = nn.ModuleList(
            [Heads(names, 2 * width, (levels - l) * latent, latent, hidden) for l in range(1, levels + 1)]  # noqa: E741
        )

    def forward(self, batch: Batch) -> Any:
        features, present = self.features(batch)
        loc, scale = self.heads[self.depth - 1](features)
        loc, scale = experts.product(loc, scale, present, prior=True)
        with batch.plate():
            z = pyro.sample(f"z_{self.depth}", dist.Normal(loc, scale).to_event(1))
            for level in range(self.depth - 1, 0, -1):
                below = self.below(level, features, present, z)
                z = joined(pyro.sample(f"z_{level}", below), z)
        return z

    def below(self, level: int, features: Any, present: Any, above: Any) -> Any:
        """``q(z_l | x_S, z_{>l})`` given all levels above, ``(..., items, above)``."""
        loc, scale = self.heads[level - 1](features, above)
        prior_loc, prior_scale = self.levels[level - 1](above)
        there = along(ops.cat([present, ops.ones_like(present[:1])]), loc)
        loc, scale = ops.cat([loc, prior_loc[None]]), ops.cat([scale, prior_scale[None]])
        return dist.Normal(*experts.product(loc, scale, there, prior=False)).to_event(1)
