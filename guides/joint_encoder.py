"""Joint encoder: one network where everything is present, a product of surrogates where not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ppvae import Modality, Program, dist, ops, pyro
from ppvae.language.batch import Batch
from ppvae.parts import experts
from ppvae.parts.encoders import Encoders
from ppvae.parts.joint_network import JointNetwork


class JointEncoder(Program):
    """``q(z | X) = Normal(network(X))``;  ``q(z | x_S) ∝ ∏_{m∈S} q(z | x_m)`` for items that lack a modality.

    The guide of JMVAE (Suzuki et al. 2016, https://arxiv.org/abs/1611.01891) and TELBO (Vedantam et al. 2018):
    ``joint`` sees all modalities at once, ``encoders`` are the unimodal surrogates. A joint network cannot speak for
    patterns of missing modalities that it never saw, so each item that lacks one is left to the product of its
    surrogates, in training too, where such rows teach them. With nothing present z is standard normal. Site ``z`` is
    ``(items, latent)``.

    On complete rows the plain ELBO trains the joint network alone: the objectives ``jmvae`` and ``telbo`` train the
    surrogates.

    >>> from ppvae import Batch
    >>> guide = JointEncoder([Modality("image", (784,)), Modality("sound", (20,))], latent=2)
    >>> tuple(guide(Batch(size=3)).shape)
    (3, 2)
    """

    def __init__(self, modalities: Sequence[Modality], latent: int = 16, hidden: Sequence[int] = (256, 256)) -> None:
        super().__init__()
        self.encoders = Encoders(modalities, latent, hidden)
        self.joint = JointNetwork(modalities, latent, hidden)

    def forward(self, batch: Batch) -> Any:
        loc, scale, present = self.encoders(batch)
        loc, scale = experts.product(loc, scale, present, prior=False)
        if all(name in batch.arrays for name in self.encoders.networks):
            whole = ops.all(present, 0)[:, None]
            joint_loc, joint_scale = self.joint(batch)
            loc, scale = ops.where(whole, joint_loc, loc), ops.where(whole, joint_scale, scale)
        with batch.plate():
            return pyro.sample("z", dist.Normal(loc, scale).to_event(1))
