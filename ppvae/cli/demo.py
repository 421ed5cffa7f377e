"""Demo: a multimodal VAE on six views of handwritten digits, on both backends, in a few minutes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from ppvae import datasets, metrics, plots
from ppvae.data.dataset import Dataset
from ppvae.inference.fitted import Fitted
from ppvae.runs.files import replacing
from ppvae.training.fit import fit
from ppvae.zoo import build

RUNS = (("mvae", "numpyro"), ("mopoe", "numpyro"), ("mvae", "pyro"))
IMAGE = (16, 15)


@dataclass(frozen=True)
class Result:
    """What the table shows of one run: figures on test items, evidence in nats per item."""

    method: str
    backend: str
    seconds_per_epoch: float
    log_evidence: float
    accuracy_all: float
    accuracy_pix: float
    r2_fou: float


def demo(out: Path, epochs: int = 60, particles: int = 500, seed: int = 0, force: bool = False) -> list[Result]:
    """Train, measure, and write a table and three pictures under ``out``; returns the table's rows.

    Runs of an earlier demo in ``out`` are gone on with where they stopped; ``force`` trains them again.
    """
    console = Console(stderr=True)
    train, test = datasets.load("mfeat").split(0.75, seed=seed)
    console.print(f"mfeat: {len(train)} digits to train on, {len(test)} to test on, six views each")
    runs = {}
    for method, backend in RUNS:
        console.print(f"training {method} on {backend}, {epochs} epochs")
        folder = out / f"{method}-{backend}"
        # Without a warm-up of the KL terms MVAE's single views fall back on the prior (Wu & Goodman 2018 anneal too).
        steps = {"epochs": epochs, "kl_warmup": epochs / 3}
        runs[method, backend] = trained("mfeat", method, backend, train, folder, seed, force, **steps)
    console.print("measuring on the test digits")
    results = [measure(name, run, train, test, particles) for name, run in runs.items()]
    Console().print(table(results))
    for path in draw(out, runs, test):
        console.print(f"wrote {path}", markup=False)
    return results


def trained(
    data_set: str, method: str, backend: str, train: Dataset, out: Path, seed: int, force: bool = False, **settings: Any
) -> Fitted:
    """A method trained on the first of the two sets that a shipped one splits into; its run knows its data."""
    vae = build.method(method, train.modalities or (), seed=seed)
    kept = {"method": method, "data_set": data_set, "holdout": {"fraction": 0.25, "seed": seed}}
    return fit(vae, train, out=out, resume=not force, force=force, notes=kept, backend=backend, seed=seed, **settings)


def measure(name: tuple[str, str], run: Fitted, train: Dataset, test: Dataset, particles: int) -> Result:
    """One row of the table."""
    seconds = float(np.median([entry["seconds"] for entry in run.history]))
    evidence = float(run.log_evidence(test, particles=particles).mean())
    whole, pix = (metrics.probe(run, train, test, "digit", given) for given in (None, ["pix"]))
    return Result(*name, seconds, evidence, whole, pix, r2(run, train, test))


def r2(run: Fitted, train: Dataset, test: Dataset) -> float:
    """Share of the variance of ``fou``, in standard units, that its prediction from ``pix`` explains."""
    spread = next(m.spread for m in train.modalities or () if m.name == "fou")
    predicted = run.query(test, given=["pix"], ask=["fou"], draws=50)["fou"].mean(0)
    mean = train.arrays["fou"].mean(0)
    left = ((test.arrays["fou"] - predicted) / spread) ** 2
    return float(1 - left.sum() / (((test.arrays["fou"] - mean) / spread) ** 2).sum())


def table(results: Sequence[Result]) -> Table:
    """The results for people to read."""
    shown = Table(title="500 test digits, six views", caption="log evidence: nats per item, importance weighted")
    for column in ("method", "backend"):
        shown.add_column(column)
    for column in ("s / epoch", "log evidence", "digit acc., all views", "digit acc., pix", "R² fou from pix"):
        shown.add_column(column, justify="right")
    for r in results:
        figures = (
            f"{r.seconds_per_epoch:.2f}",
            f"{r.log_evidence:.1f}",
            f"{r.accuracy_all:.3f}",
            f"{r.accuracy_pix:.3f}",
        )
        shown.add_row(r.method, r.backend, *figures, f"{r.r2_fou:.3f}")
    return shown


def draw(out: Path, runs: dict[tuple[str, str], Fitted], test: Dataset) -> list[Path]:
    """The three pictures: digits from the prior, digits predicted from the other views, loss curves."""
    shown = test.take(one_of_each(test))
    others = [name for name in test.arrays if name != "pix"]
    names = {f"{method}, {backend}": run for (method, backend), run in runs.items()}
    prior = {label: _images(run.generate(10, seed=1, draws=100)["pix"].mean(0)) for label, run in names.items()}
    predicted = {"truth": _images(shown.arrays["pix"])} | {
        label: _images(run.query(shown, others, ["pix"], draws=100)["pix"].mean(0)) for label, run in names.items()
    }
    curves = {backend: runs["mvae", backend].history for backend in ("pyro", "numpyro")}
    figures: dict[str, Any] = {
        "generated": plots.image_rows(prior, "pix, generated from the prior, mean given z"),
        "predicted": plots.image_rows(predicted, "pix, predicted from the other five views, mean of 100 draws"),
        "losses": plots.loss_curves(curves, "MVAE on mfeat: one program, two backends"),
    }
    paths = [out / f"{name}.png" for name in figures]
    for path, figure in zip(paths, figures.values(), strict=True):
        with replacing(path) as temporary:
            figure.savefig(temporary, format="png", dpi=150)
    return paths


def one_of_each(test: Dataset) -> np.ndarray:
    """The first row of each digit."""
    return np.unique((test.labels or {})["digit"], return_index=True)[1]


def _images(pix: np.ndarray) -> np.ndarray:
    return pix.reshape(-1, *IMAGE)
