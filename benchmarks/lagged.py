"""Lagged: what inferring lags is worth, and whether they are right, as a Markdown table on stdout.

``python benchmarks/lagged.py`` takes some minutes. Two runs of ``delayed`` on the same series of ``lagged``, one of
which is not told of any lag and so takes all for 0, are asked about the same held-out items, whose lags are hidden from
both. The rank of each true lag among draws, ties broken at random, is uniform if its posterior is calibrated: the
p-values are those of simulated items (Talts et al. 2018), and of the held-out ones.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

import ppvae
from ppvae import Dataset
from ppvae.datasets.lagged import lagged
from ppvae.diagnostics.calibration import Uniform, sbc
from ppvae.diagnostics.evidence import evidence
from ppvae.diagnostics.simulation import simulate
from ppvae.inference.fitted import Fitted

SERIES = ["a", "b", "c"]
LATE = ["b", "c"]
DRAWS = 99
HEAD = ["lags are", "nats per held-out item", "right", "probability of the right one", "p, simulated", "p, held out"]


def trained(data: Dataset, backend: str, epochs: int) -> tuple[Fitted, float]:
    """A run, and the seconds that it took."""
    begin = time.perf_counter()
    vae = ppvae.method("delayed", data.modalities, latent=1)
    options = {"backend": backend, "epochs": epochs, "batch_size": 64, "lr": 5e-3, "seed": 0}
    return ppvae.fit(vae, data, **options), time.perf_counter() - begin


def row(what: str, fitted: Fitted, test: Dataset) -> list[str]:
    """A line of the table."""
    found = evidence(fitted, test, SERIES, particles=300)
    line = [what, "{:.1f} ± {:.1f}".format(*found.mean)]
    if not fitted.vae.model.delays:
        return [*line, *[""] * 4]
    drawn = fitted.encode(test, SERIES, draws=DRAWS, seed=1)
    truth = np.stack([test.labels[f"{name}_lag"] for name in LATE], -1)
    each = np.stack([drawn[f"{name}_delay"] for name in LATE], -1)
    votes = (each[..., None] == np.arange(each.max() + 1)).mean(0)
    chance = (each == truth).mean()
    simulated = sbc(simulate(fitted, test, SERIES, len(test), DRAWS))
    columns = [simulated.names.index(f"{name}_delay") for name in LATE]
    checks = Uniform("simulated lags", tuple(LATE), simulated.values[:, columns]), held_out(each, truth)
    right = (votes.argmax(-1) == truth).mean()
    return [*line, f"{right:.1%}", f"{chance:.3f}", *(f"{check.p_value:.2f}" for check in checks)]


def held_out(draws: np.ndarray, truth: np.ndarray) -> Uniform:
    """The ranks of true lags ``(items, lags)`` among draws."""
    below, equal = (draws < truth).sum(0), (draws == truth).sum(0)
    ranks = below + np.random.default_rng(0).integers(0, equal + 1)
    return Uniform("held-out lags", tuple(LATE), (ranks + 0.5) / (DRAWS + 1))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=1500)
    parser.add_argument("--epochs", type=int, default=25)
    parser.add_argument("--backend", default="numpyro")
    chosen = parser.parse_args()
    train, test = lagged(chosen.items, seed=0), lagged(500, seed=1)
    print(f"| {' | '.join(HEAD)} |\n|---|{'---:|' * (len(HEAD) - 1)}")
    for what, data in (("inferred", train), ("ignored", train.only(SERIES))):
        fitted, seconds = trained(data, chosen.backend, chosen.epochs)
        print("| " + " | ".join(row(f"{what} ({seconds:.0f} s)", fitted, test)) + " |", flush=True)


if __name__ == "__main__":
    main()
