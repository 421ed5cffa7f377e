"""Stopping: the held-out ELBO that ``epochs="auto"`` reaches, beside that of the best constant number of epochs.

Run by hand: ``.venv/bin/python benchmarks/stopping.py [half|few|many] [METHOD]``. Three sets: the digits with half of
their entries missing, 300 of the digits, and 30,000 items of two views of a curved surface. Of each a quarter is held
out, which neither run looks at while it trains; ``auto`` takes its tenth from the rest. Exits with 1 where ``auto`` is
worse than the best number by more than 1 %.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np

import ppvae
from ppvae import Dataset

OPTIONS: dict[str, Any] = {"latent": 8, "hidden": (64,)}


def main() -> int:
    """Print a row for each set; its method must be one that is trained with the plain ELBO."""
    chosen = [word for word in sys.argv[1:] if word in SETS] or list(SETS)
    method = next((word for word in sys.argv[1:] if word not in SETS), "gpoe")
    print("set   items  best constant   ELBO       auto, kept      ELBO     behind")
    worst = max(compare(name, method) for name in chosen)
    return int(worst > 1.0)


def compare(name: str, method: str) -> float:
    """Print the row of a set; returns by how many per cent ``auto`` is behind."""
    make, most = SETS[name]
    data = make()
    train, test = data.split(0.75, seed=0)
    vae = ppvae.method(method, train.modalities, **OPTIONS)
    constant = ppvae.fit(vae, train, validation=test, epochs=most, progress=False)
    losses = [entry["validation_loss"] for entry in constant.history]
    auto = ppvae.fit(vae, train, epochs="auto", progress=False)
    elbo, reached = -min(losses), float(auto.log_weights(test, particles=10).mean())
    behind = 100 * (elbo - reached) / abs(elbo)
    best, kept = 1 + int(np.argmin(losses)), auto.history[-1]["best_epoch"]
    print(
        f"{name:5} {len(data):6,} {best:5} of {most:5} {elbo:10.2f} {len(auto.history):6} {kept:6} {reached:10.2f}  "
        f"{behind:6.2f} %   after all {most}: {-losses[-1]:.2f}",
        flush=True,
    )
    return behind


def half() -> Dataset:
    """The digits with half of their entries missing."""
    digits, rng = ppvae.datasets.load("mfeat"), np.random.default_rng(0)
    arrays = {name: np.where(rng.random(a.shape) < 0.5, np.nan, a) for name, a in digits.arrays.items()}
    return Dataset(arrays, modalities=digits.modalities)


def few() -> Dataset:
    """300 of the digits."""
    return ppvae.datasets.load("mfeat").take(np.random.default_rng(0).permutation(2000)[:300])


def many() -> Dataset:
    """30,000 items of two views, 20 and 30 wide, of a curved surface of four dimensions."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=(30_000, 4)).astype(np.float32)
    arrays = {}
    for name, width in (("left", 20), ("right", 30)):
        hidden = np.tanh(z @ rng.normal(size=(4, 16)) + rng.normal(size=16))
        arrays[name] = hidden @ rng.normal(size=(16, width)) + 0.5 * rng.normal(size=(len(z), width))
    return Dataset(arrays)


# Each set, and how many epochs the constant run is given.
SETS: dict[str, tuple[Callable[[], Dataset], int]] = {"few": (few, 1000), "half": (half, 250), "many": (many, 300)}

if __name__ == "__main__":
    sys.exit(main())
