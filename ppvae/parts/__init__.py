"""Parts: what models and guides are built from. Calls language."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ppvae.face import show

show(
    __name__,
    {
        "conditionals": "Features Gaussian Heads",
        "encoders": "Encoders",
        "flows": "ExpertFlow Flow",
        "joint_network": "JointNetwork",
        "likelihoods": "Family Likelihood",
        "networks": "ByName",
        "priors": "Diagonal Flowing Mixture Standard Vamp prior",
        "text.autoregressive": "Autoregressive",
        "text.decoders": "GRUDecoder TransformerDecoder",
        "text.encoders": "GRUEncoder TransformerEncoder",
    },
)

if TYPE_CHECKING:
    from ppvae.parts.conditionals import Features as Features
    from ppvae.parts.conditionals import Gaussian as Gaussian
    from ppvae.parts.conditionals import Heads as Heads
    from ppvae.parts.encoders import Encoders as Encoders
    from ppvae.parts.flows import ExpertFlow as ExpertFlow
    from ppvae.parts.flows import Flow as Flow
    from ppvae.parts.joint_network import JointNetwork as JointNetwork
    from ppvae.parts.likelihoods import Family as Family
    from ppvae.parts.likelihoods import Likelihood as Likelihood
    from ppvae.parts.networks import ByName as ByName
    from ppvae.parts.priors import Diagonal as Diagonal
    from ppvae.parts.priors import Flowing as Flowing
    from ppvae.parts.priors import Mixture as Mixture
    from ppvae.parts.priors import Standard as Standard
    from ppvae.parts.priors import Vamp as Vamp
    from ppvae.parts.priors import prior as prior
    from ppvae.parts.text.autoregressive import Autoregressive as Autoregressive
    from ppvae.parts.text.decoders import GRUDecoder as GRUDecoder
    from ppvae.parts.text.decoders import TransformerDecoder as TransformerDecoder
    from ppvae.parts.text.encoders import GRUEncoder as GRUEncoder
    from ppvae.parts.text.encoders import TransformerEncoder as TransformerEncoder
