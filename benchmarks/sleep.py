"""Sleep: what new items of the model beside an objective do to the guide's intervals, and to evidence.

``python benchmarks/sleep.py`` prints the table of docs/calibration.md; ``python benchmarks/sleep.py 0 1`` its first two
rows. Seconds are of processor time, compiling included.
"""

from __future__ import annotations

import sys
import time

import ppvae
from ppvae.diagnostics.calibration import sbc
from ppvae.diagnostics.khat import khat
from ppvae.diagnostics.simulation import simulate
from ppvae.inference.arviz import THRESHOLD

ROWS = [
    ("mvae", {}, 30),
    ("mvae", {"sleep": 1.0}, 30),
    ("mvae", {"sleep": 5.0}, 30),
    ("set_encoder", {"family": "full"}, 30),
    ("set_encoder", {"family": "full"}, 60),
    ("set_encoder", {"family": "full", "sleep": 1.0}, 30),
]
TRAINING = {"lr": 5e-3, "batch_size": 128, "schedule": "cosine", "kl_warmup": 10, "seed": 0, "progress": False}


def line(method: str, options: dict, epochs: int) -> str:
    """Seconds of training, evidence of the test items, and by subset coverage of 90 % and failing k-hats."""
    train, test = ppvae.datasets.load("mfeat").split(0.75, seed=0)
    vae = ppvae.method(method, train.modalities, latent=16, hidden=(128,), **options)
    start = time.process_time()
    run = ppvae.fit(vae, train, epochs=epochs, **TRAINING)
    seconds, names, rows = time.process_time() - start, list(run.names), test.take(range(50))
    found = []
    for given in (["pix"], ["fou", "zer"], names[:4], names):
        held = sbc(simulate(run, rows, given, 300, 49, 0), 0).coverage(0.9)[0]
        fails = (khat(run, rows, [given], 1000, 0).khat[0] > THRESHOLD).mean()
        found.append(f"{held:.0%} (k-hat {fails:.0%})")
    evidence = run.log_evidence(test, particles=500).mean()
    return f"{method} {options} {epochs} epochs: {seconds:.0f} s, {evidence:.1f} nats, {', '.join(found)}"


def main() -> None:
    """Print a line for each row."""
    for number in map(int, sys.argv[1:] or range(len(ROWS))):
        print(line(*ROWS[number]), flush=True)


if __name__ == "__main__":
    main()
