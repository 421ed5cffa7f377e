"""Sprites: how many attributes come out right from pictures to sentences and back, by level, and in what time.

The setting is the default that we recommend for pictures with text: ``jnf`` on NumPyro, a learned scale for each
channel, texts token after token, whose fit counts 30 times. A picture is one draw, as a mean of several shows no shape;
a sentence is the most typical of 20 draws. ``python benchmarks/sprites.py 1 3`` runs levels 1 and 3; all five without
words.
"""

from __future__ import annotations

import sys
import time

import numpy as np

import ppvae
from ppvae.datasets.sprite_scores import right, said, seen
from ppvae.inference.points import typical

TRAINED, TESTED, DRAWS = 6000, 1000, 20
SETTING = {"latent": 16, "share": 0.4, "modality_weights": {"sentence": 30.0}}
TRAINING = {"backend": "numpyro", "epochs": 60, "batch_size": 128, "lr": 3e-3, "schedule": "cosine", "seed": 0}
Rates = dict[str, float]


def scores(level: int) -> tuple[float, dict[str, Rates]]:
    """Seconds of training, and the share of test items that is right, by direction and attribute."""
    data = ppvae.datasets.load("sprites", level=level, items=TRAINED + TESTED)
    train, test = data.take(slice(0, TRAINED)).refitted(), data.take(slice(TRAINED, None))
    start = time.perf_counter()
    fitted = ppvae.fit(ppvae.method("jnf", train.modalities, **SETTING), train, progress=False, **TRAINING)
    seconds = time.perf_counter() - start
    pictures = fitted.query(test, given=["sentence"], ask=["image"])["image"][0]
    sentences = typical(fitted.query(test, given=["image"], ask=["sentence"], draws=DRAWS)["sentence"])
    found = {"text to image": seen(pictures, level), "image to text": said(sentences, level)}
    return seconds, {way: rates(right(each, test.labels)) for way, each in found.items()}


def rates(each: dict[str, np.ndarray]) -> Rates:
    """The share that is right of each attribute and of all attributes together, and of items without a mistake."""
    strict = each.pop("strict")
    shares = {name: float(values.mean()) for name, values in each.items()}
    return shares | {"attributes": float(np.mean(list(shares.values()))), "strict": float(strict.mean())}


def main() -> None:
    """Print two lines for each level."""
    for level in map(int, sys.argv[1:] or "12345"):
        seconds, found = scores(level)
        for way, shares in found.items():
            line = "  ".join(f"{name} {share:.3f}" for name, share in shares.items())
            print(f"level {level}  {seconds:5.0f} s  {way}:  {line}", flush=True)


if __name__ == "__main__":
    main()
