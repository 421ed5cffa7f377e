"""Hierarchical: one expert per modality's own latent, and a shared latent from the mean of their messages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ppvae import Modality, Program, dist, ops, pyro
from ppvae.language.batch import Batch
from ppvae.parts import networks
from ppvae.parts.conditionals import Gaussian
from ppvae.parts.encoders import Encoders


class Hierarchical(Program):
    """``q(z | x_S) = Normal((1/|S|) Σ_{m∈S} message_m)``;  ``z_m ~ q(z_m | x_m)`` for m ∈ S, else ``p(z_m | z)``.

    The aggregation of Nexus (Vasco et al. 2022, "Leveraging hierarchy in multimodal generative models for effective
    cross-modality inference"). A message is read off the location of ``q(z_m | x_m)``. Where x_m is missing, z_m
    depends on the others through z alone, so the model's own ``p(z_m | z)`` is its exact posterior there. Site ``z``
    is ``(items, latent)``, standard normal for an item with nothing; ``z_NAME`` is ``(items, bottom)``.

    The paper adds the ELBO of each modality's own VAE, with a standard normal prior, and that of the level above,
    which takes the z_m as its data without a gradient to them. Objective ``dropout`` keeps its dropped messages, but
    maximises bounds of this one model, in which ``p(z_m | z)`` is the only prior of z_m.

    >>> from ppvae import Batch, method
    >>> guide = method("nexus", [Modality("image", (784,)), Modality("sound", (20,))], latent=2).guide
    >>> tuple(guide(Batch(size=3)).shape)
    (3, 2)
    """

    def __init__(
        self,
        modalities: Sequence[Modality],
        latent: int = 16,
        hidden: Sequence[int] = (256, 256),
        bottom: int = 16,
        *,
        model: Any,
    ) -> None:
        super().__init__()
        self.encoders = Encoders(modalities, bottom, hidden)
        self.messages = networks.ByName({m.name: networks.mlp(bottom, hidden, latent) for m in modalities})
        self.top = Gaussian(latent, latent, hidden)
        self.levels = model.levels

    def forward(self, batch: Batch) -> Any:
        loc, scale, present = self.encoders(batch)
        shared = self.shared(loc, present)
        with batch.plate():
            z = pyro.sample("z", shared)
            for number, name in enumerate(self.levels):
                below, spread = self.levels[name](z)
                there = present[number][:, None]
                own = dist.Normal(ops.where(there, loc[number], below), ops.where(there, scale[number], spread))
                pyro.sample(f"z_{name}", own.to_event(1))
        return z

    def shared(self, loc: Any, present: Any) -> Any:
        """``q(z | x_S)`` from experts ``(modality, items, bottom)`` and present ``(modality, items)``."""
        there = present[..., None]
        messages = ops.stack([self.messages[name](loc[i]) for i, name in enumerate(self.messages)])
        count = ops.where(there, 1.0, 0.0).sum(0)
        z_loc, z_scale = self.top(ops.where(there, messages, 0.0).sum(0) / ops.clamp(count, min=1.0))
        return dist.Normal(ops.where(count > 0, z_loc, 0.0), ops.where(count > 0, z_scale, 1.0)).to_event(1)
