"""Cases: the pairs and the data whose training steps are timed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

import ppvae
from ppvae import VAE, Dataset, Modality

BATCH, LEARNING_RATE = 128, 1e-3


@dataclass(frozen=True)
class Case:
    """A pair to train, its data, and the largest ratios to hand-written loops that are wanted, by backend."""

    vae: VAE
    data: Dataset
    targets: dict[str, float]
    blocks: int

    def options(self, backend: str, device: str) -> dict[str, Any]:
        """How ppvae trains it."""
        return {"backend": backend, "device": device, "batch_size": BATCH, "lr": LEARNING_RATE}


def mvae() -> Case:
    """An MVAE of the six views of mfeat, all normal; 512-512 hidden, latent 16."""
    data = ppvae.datasets.load("mfeat")
    normal = [replace(m, likelihood="normal", levels=None) for m in data.modalities or ()]
    data = data.like(normal).refitted()
    pair = replace(ppvae.method("mvae", data.modalities or (), latent=16, hidden=(512, 512)), objective="elbo")
    return Case(pair, data, {"pyro": 1.15, "numpyro": 1.10}, blocks=40)


def vae() -> Case:
    """A 784-400-20 VAE of random zeros and ones."""
    image = np.random.default_rng(0).integers(0, 2, (20 * BATCH, 784)).astype(np.float32)
    data = Dataset({"image": image}, modalities=[Modality("image", (784,), "bernoulli", center=0, spread=1)])
    pair = ppvae.method("vae", data.modalities or (), latent=20, hidden=(400,))
    return Case(pair, data, {"pyro": 1.35, "numpyro": 1.10}, blocks=80)


CASES: dict[str, Callable[[], Case]] = {"mvae": mvae, "vae": vae}
