"""Amortise: how far a guide that is trained to a model's posteriors can be believed, and what it costs.

``python benchmarks/amortise.py`` prints the rows of docs/calibration.md; ``python benchmarks/amortise.py 0`` the first
alone, and ``--device cuda`` on a GPU. Seconds are those of :func:`ppvae.amortise`, compiling included, by the clock and
of processors; milliseconds of processors are those of one draw of ``z`` an item.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace

import numpy as np
import study_jobs

import ppvae
from ppvae import Dataset
from ppvae.diagnostics.calibration import sbc
from ppvae.diagnostics.khat import khat
from ppvae.diagnostics.simulation import simulate
from ppvae.inference.fitted import Fitted

ROWS: list[dict] = [{}, {"steps": 600}, {"family": "full"}]
ITEMS, SIMULATED, SUBSETS = 100, 300, 3


def line(fitted: Fitted, train: Dataset, test: Dataset, options: dict) -> str:
    """What it took, and by how many views are given failing k-hats and coverage of 90 %, in percent."""
    start, used = time.perf_counter(), time.process_time()
    run = ppvae.amortise(fitted, train, progress=False, **options)
    seconds, used, few = time.perf_counter() - start, time.process_time() - used, test.take(slice(ITEMS))
    names = list(test.arrays)
    groups = [study_jobs.subsets(names, size)[:SUBSETS] for size in study_jobs.OFFSETS] + [[names]]
    fails = [np.mean(list(khat(run, few, group, 1000).share.values())) for group in groups]
    held = [np.mean([sbc(simulate(run, test, s, SIMULATED)).coverage(0.9)[0] for s in group]) for group in groups]
    shown = " ".join(f"{100 * share:.0f}" for share in fails), " ".join(f"{100 * share:.1f}" for share in held)
    took = f"{seconds:.0f} s, of processors {used:.0f} s, {encoding(run, test):.2f} ms an item"
    return f"{options}: {took}; k-hat > 0.7 of {shown[0]} %; 90 % hold {shown[1]} %"


def encoding(run: Fitted, data: Dataset) -> float:
    """Milliseconds of processors of a draw of ``z`` an item, once compiled."""
    run.encode(data)
    start = time.process_time()
    run.encode(data, seed=1)
    return 1000 * (time.process_time() - start) / len(data)


def main() -> None:
    """Print a line for each row."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("rows", nargs="*", type=int)
    asked.add_argument("--device", default="cpu")
    chosen = asked.parse_args()
    train, test = ppvae.datasets.load("mfeat").split(0.75, seed=0)
    fitted = study_jobs.trained("mvae", train, 0, study_jobs.Setting())
    fitted = replace(fitted, settings=fitted.settings.model_copy(update={"device": chosen.device}))
    for number in chosen.rows or range(len(ROWS)):
        print(line(fitted, train, test, ROWS[number]), flush=True)


if __name__ == "__main__":
    main()
