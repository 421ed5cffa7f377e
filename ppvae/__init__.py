"""ppvae: write a multimodal VAE as a Pyro program, train it on PyTorch or on JAX, find out whether to believe it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ppvae.face import show

__version__ = "0.1.0"

# Loaded at first use, so that importing ppvae loads neither torch nor jax.
show(
    __name__,
    {
        "backends.parity": "parity",
        "data": "Dataset",
        "language.batch": "Batch",
        "language.modality": "Modality",
        "language.ppl": "dist distribution handlers ops pyro running",
        "language.program": "Program",
        "runs.vae": "VAE",
        "training.amortise": "amortise",
        "training.fit": "fit init step",
        "training.loading": "load",
        "zoo.build": "method",
    },
)

if TYPE_CHECKING:
    from ppvae.backends.parity import parity as parity
    from ppvae.data import Dataset as Dataset
    from ppvae.language.batch import Batch as Batch
    from ppvae.language.modality import Modality as Modality
    from ppvae.language.ppl import dist as dist
    from ppvae.language.ppl import distribution as distribution
    from ppvae.language.ppl import handlers as handlers
    from ppvae.language.ppl import ops as ops
    from ppvae.language.ppl import pyro as pyro
    from ppvae.language.ppl import running as running
    from ppvae.language.program import Program as Program
    from ppvae.runs.vae import VAE as VAE
    from ppvae.training.amortise import amortise as amortise
    from ppvae.training.fit import fit as fit
    from ppvae.training.fit import init as init
    from ppvae.training.fit import step as step
    from ppvae.training.loading import load as load
    from ppvae.zoo.build import method as method
