"""ppvae: write a multimodal VAE as a Pyro program, train it on PyTorch or on JAX, find out whether to believe it."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# Every name of the public face, and the module that holds it: loaded at first use, so that importing ppvae loads
# neither torch nor jax.
_FACE = {
    "Batch": "batch",
    "Dataset": "data",
    "Modality": "modality",
    "Program": "program",
    "VAE": "vae",
    "dist": "ppl",
    "distribution": "ppl",
    "fit": "fitting",
    "handlers": "ppl",
    "init": "fitting",
    "load": "loading",
    "method": "methods",
    "ops": "ppl",
    "parity": "comparison",
    "pyro": "ppl",
    "running": "ppl",
    "step": "fitting",
}

if TYPE_CHECKING:
    from ppvae.batch import Batch as Batch
    from ppvae.data import Dataset as Dataset
    from ppvae.fitting import fit as fit
    from ppvae.fitting import init as init
    from ppvae.fitting import step as step
    from ppvae.loading import load as load
    from ppvae.methods import method as method
    from ppvae.modality import Modality as Modality
    from ppvae.ppl import dist as dist
    from ppvae.ppl import distribution as distribution
    from ppvae.ppl import handlers as handlers
    from ppvae.ppl import ops as ops
    from ppvae.ppl import pyro as pyro
    from ppvae.ppl import running as running
    from ppvae.program import Program as Program
    from ppvae.vae import VAE as VAE


def __getattr__(name: str) -> Any:
    if name in _FACE:
        return getattr(importlib.import_module(f"ppvae.{_FACE[name]}"), name)
    try:
        return importlib.import_module(f"ppvae.{name}")
    except ModuleNotFoundError as error:
        if error.name != f"ppvae.{name}":
            raise
        raise AttributeError(f"module 'ppvae' has no attribute {name!r}") from None


def __dir__() -> list[str]:
    return sorted({*globals(), *_FACE})
