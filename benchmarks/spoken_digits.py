"""Spoken digits: how long a method trains, and how often what it makes of one modality is recognised in another."""

from __future__ import annotations

import argparse
import time

from rich.console import Console

import ppvae
from ppvae.cli.demo_spoken_digits import recognised, table


def main() -> None:
    """Train a method on three quarters of the items, and let classifiers read what it makes of the others."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("method", nargs="?", default="mopoe")
    asked.add_argument("--backend", default="numpyro")
    asked.add_argument("--epochs", default="auto", type=lambda text: text if text == "auto" else int(text))
    asked.add_argument("--latent", default=16, type=int)
    chosen = asked.parse_args()
    train, test = ppvae.datasets.load("spoken_digits").split(0.75, seed=0)
    pair = ppvae.method(chosen.method, train.modalities or (), latent=chosen.latent)
    start = time.perf_counter()
    fitted = ppvae.fit(pair, train, backend=chosen.backend, epochs=chosen.epochs, progress=False)
    seconds, history = time.perf_counter() - start, fitted.history
    print(f"{chosen.method} on {chosen.backend}: {len(history)} epochs, {seconds:.0f} s, {fitted.notes['stopped']}")
    Console().print(table(recognised(fitted, train, test)))


if __name__ == "__main__":
    main()
