"""Cases: the pairs and the data whose training steps are timed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

import ppvae
from ppvae import VAE, Dataset, Modality
from ppvae.language.tokens import END, PADDING, SPECIAL

LEARNING_RATE = 1e-3
DRAWS = {"iwae": 30, "dreg": 30, "mmvae": 3}
PIXELS = (3, 28, 28)
POSITIONS, VOCABULARY = 24, 64


@dataclass(frozen=True)
class Case:
    """A pair to train, its data, and the largest ratios to hand-written loops that are wanted, by backend."""

    title: str
    vae: VAE
    data: Dataset
    targets: dict[str, float] = field(default_factory=dict)
    batch: int = 128

    def options(self, backend: str, device: str) -> dict[str, Any]:
        """How ppvae trains it."""
        return {"backend": backend, "device": device, "batch_size": self.batch, "lr": LEARNING_RATE}


def vae() -> Case:
    """A 784-400-20 VAE of random zeros and ones."""
    return Case("VAE 784-400-20", *binary("vae", 784, 20, 400), {"pyro": 1.30, "numpyro": 1.05})


def mvae() -> Case:
    """An MVAE of the six views of mfeat, all normal; 512-512 hidden, latent 16; its joint ELBO alone."""
    return Case("MVAE, six views", *product(mfeat(), (512, 512)), {"pyro": 1.10, "numpyro": 1.05})


def mopoe() -> Case:
    """MoPoE on the same: a mixture of the products of all 63 subsets."""
    data = mfeat()
    return Case("MoPoE, six views", ppvae.method("mopoe", data.modalities or (), latent=16, hidden=(512, 512)), data)


def polydigits() -> Case:
    """An MVAE of five noisy pictures in colour by convolutions, its joint ELBO alone."""
    pictures = {f"view_{view}": noise(view, 10 * 128) for view in range(5)}
    data = Dataset(pictures, modalities=[Modality(name, PIXELS, kind="image") for name in pictures])
    return Case("convolutions, five pictures", *product(data, (256, 256)))


def text() -> Case:
    """The same of one such picture and a text of random tokens, read and written by GRUs."""
    rng = np.random.default_rng(0)
    tokens = rng.integers(len(SPECIAL), VOCABULARY, (10 * 128, POSITIONS))
    place, length = np.arange(POSITIONS), rng.integers(4, POSITIONS, (10 * 128, 1))
    tokens = np.where(place < length, tokens, np.where(place == length, END, PADDING))
    words = Modality("text", (POSITIONS,), "autoregressive", kind="text", levels=VOCABULARY)
    pair = [Modality("image", PIXELS, kind="image"), words]
    return Case(
        "GRU text and a picture",
        *product(Dataset({"image": noise(0, 10 * 128), "text": tokens}, modalities=pair), (256, 256)),
    )


def tiny() -> Case:
    """A 10-16-2 VAE of zeros and ones in batches of 32: overhead is all."""
    return Case("10 features, batches of 32", *binary("vae", 10, 2, 16), {"numpyro": 1.05}, batch=32)


def iwae() -> Case:
    """The first by the bound of 30 draws."""
    return Case("IWAE, 30 draws", *multisample("iwae"))


def dreg() -> Case:
    """The same, the guide's gradient doubly reparameterised."""
    return Case("DReG, 30 draws", *multisample("dreg"))


def mmvae() -> Case:
    """MMVAE of the six views, three draws from each, doubly reparameterised."""
    data = mfeat()
    pair = ppvae.method("mmvae", data.modalities or (), latent=16, hidden=(512, 512), draws=DRAWS["mmvae"])
    return Case("MMVAE, six views", pair, data)


def mfeat() -> Dataset:
    """The embedded digits, every view normal."""
    data = ppvae.datasets.load("mfeat")
    return data.like([replace(m, likelihood="normal", levels=None) for m in data.modalities or ()]).refitted()


def binary(method: str, size: int, latent: int, hidden: int) -> tuple[VAE, Dataset]:
    """A method's pair for random zeros and ones."""
    image = np.random.default_rng(0).integers(0, 2, (20 * 128, size)).astype(np.float32)
    data = Dataset({"image": image}, modalities=[Modality("image", (size,), "bernoulli", center=0, spread=1)])
    return ppvae.method(method, data.modalities or (), latent=latent, hidden=(hidden,)), data


def multisample(objective: str) -> tuple[VAE, Dataset]:
    """The first case's pair and data, under an objective of several draws."""
    pair, data = binary("vae", 784, 20, 400)
    return replace(pair, objective=ppvae.objectives.make(objective, draws=DRAWS[objective])), data


def product(data: Dataset, hidden: Sequence[int]) -> tuple[VAE, Dataset]:
    """A product of experts trained by its joint ELBO alone."""
    return replace(ppvae.method("mvae", data.modalities or (), latent=16, hidden=hidden), objective="elbo"), data


def noise(seed: int, items: int) -> np.ndarray:
    """Pictures ``(items, *PIXELS)`` of normal noise."""
    return np.random.default_rng(seed).normal(size=(items, *PIXELS)).astype(np.float32)


CASES: dict[str, Callable[[], Case]] = {
    f.__name__: f for f in (vae, mvae, mopoe, polydigits, text, tiny, iwae, dreg, mmvae)
}
