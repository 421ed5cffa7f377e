"""Joint encoder: one network where everything is present, a product of surrogates where not."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ppvae import Modality, Program, dist, experts, nets, ops, pyro
from ppvae.batch import Batch
from ppvae.encoders import BOUND, Encoders


class JointEncoder(Program):
    """``q(z | X) = Normal(network(X))``;  ``q(z | x_S) ∝ ∏_{m∈S} q(z | x_m)`` for items that lack a modality.

    The guide of JMVAE (Suzuki et al. 2016, https://arxiv.org/abs/1611.01891) and TELBO (Vedantam et al. 2018):
    ``joint`` sees all modalities and which share of each was measured, ``encoders`` are the unimodal surrogates. A
    joint network cannot speak for patterns of missing modalities that it never saw, so each item that lacks one is
    left to the product of its surrogates, in training too, where such rows teach them. With nothing present z is
    standard normal. Site ``z`` is ``(items, latent)``.

    On complete rows the plain ELBO trains the joint network alone: the objectives ``jmvae`` and ``telbo`` train the
    surrogates.

    >>> from ppvae import Batch
    >>> guide = JointEncoder([Modality("image", (784,)), Modality("sound", (20,))], latent=2)
    >>> tuple(guide(Batch(size=3)).shape)
    (3, 2)
    """

    def __init__(self, modalities: Sequence[Modality], latent: int = 16, hidden: Sequence[int] = (256, 256)) -> None:
        super().__init__()
        self.latent = latent
        self.encoders = Encoders(modalities, latent, hidden)
        inputs = sum(math.prod(m.shape) + 1 for m in modalities)
        self.joint = nets.mlp(inputs, hidden, 2 * latent)

    def forward(self, batch: Batch) -> Any:
        loc, scale, present = self.encoders(batch)
        loc, scale = experts.product(loc, scale, present, prior=False)
        if all(name in batch.arrays for name in self.encoders.networks):
            whole = ops.all(present, 0)[:, None]
            joint_loc, log_scale = ops.split(self.joint(self.inputs(batch)), self.latent, -1)
            loc = ops.where(whole, joint_loc, loc)
            scale = ops.where(whole, ops.exp(ops.clamp(log_scale, -BOUND, BOUND)), scale)
        with batch.plate():
            return pyro.sample("z", dist.Normal(loc, scale).to_event(1))

    def inputs(self, batch: Batch) -> Any:
        """All modalities' standardised values, zeros in the holes, and the share of each that was measured."""
        names = list(self.encoders.networks)
        values = [ops.flatten(self.encoders.standardised(batch, name), 1) for name in names]
        return ops.cat([*values, *(measured(batch, name) for name in names)], -1)


def measured(batch: Batch, name: str) -> Any:
    """The share of a modality's elements that each item has, ``(items, 1)``."""
    mask = batch.mask(name)
    if mask is None:
        return ops.ones((batch.size, 1))
    return ops.flatten(ops.where(mask, 1.0, 0.0)[..., None], 1).mean(-1)[:, None]
