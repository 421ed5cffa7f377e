"""Diagnostics: seconds that k-hat, corrections and NUTS take on the digits, with the figures they are for.

Run by hand: ``.venv/bin/python benchmarks/diagnostics.py [khat|corrected|nuts]``. Trains MVAE as the study does, but
with two layers of 512, first; ``--hidden 128`` trains the study's own.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import study_jobs

import ppvae
from ppvae import Dataset
from ppvae.diagnostics.khat import khat
from ppvae.diagnostics.nuts import nuts
from ppvae.inference.fitted import Fitted

KHAT_ITEMS, NUTS_ITEMS = 500, 100


def main() -> int:
    """Train, then time what was asked for (all by default)."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("names", nargs="*", type=known, help=", ".join(BENCHMARKS))
    asked.add_argument("--hidden", nargs="+", type=int, default=[512, 512], help="units of each hidden layer")
    chosen = asked.parse_args()
    train, test = ppvae.datasets.load("mfeat").split(0.75, seed=0)
    fitted = study_jobs.trained("mvae", train, 0, study_jobs.Setting(hidden=tuple(chosen.hidden)))
    for name in chosen.names or BENCHMARKS:
        begin, cpu = time.perf_counter(), time.process_time()
        figures = BENCHMARKS[name](fitted, test)
        seconds, busy = time.perf_counter() - begin, time.process_time() - cpu
        print(name, {"seconds": round(seconds, 1), "cpu_seconds": round(busy, 1), **figures})
    return 0


def known(name: str) -> str:
    """The name of a benchmark."""
    if name not in BENCHMARKS:
        raise argparse.ArgumentTypeError(f"nothing is called {name}; choose of {', '.join(BENCHMARKS)}")
    return name


def time_khat(fitted: Fitted, test: Dataset) -> dict[str, Any]:
    """Evidence and k-hat of 500 items, each view alone and all six, at 1,000 draws."""
    result = khat(fitted, test.take(np.arange(KHAT_ITEMS)), draws=1000)
    return {"items": KHAT_ITEMS, "subsets": len(result.subsets), "above_0.7": result.share}


def time_corrected(fitted: Fitted, test: Dataset) -> dict[str, Any]:
    """Corrected posteriors of 500 items, each view alone and all six, once what they run is compiled."""
    items, subsets = test.take(np.arange(KHAT_ITEMS)), [*([name] for name in test.arrays), list(test.arrays)]
    for given in subsets:
        fitted.encode(items.take(slice(16)), given, draws=100, posterior="corrected")
    begin, failing = time.perf_counter(), []
    for given in subsets:
        served = fitted.encode(items, given, draws=100, posterior="corrected").served
        failing.append(float(np.mean(~served.passes)))
    taken = time.perf_counter() - begin
    each = taken / len(items) / len(subsets)
    return {"items": len(items), "subsets": len(subsets), "compiled": taken, "each": each, "above_0.7": failing}


def time_nuts(fitted: Fitted, test: Dataset) -> dict[str, Any]:
    """Four chains of 100 items."""
    chains = nuts(fitted, test.take(np.arange(NUTS_ITEMS)), chains=4)
    return {
        "items": NUTS_ITEMS,
        "rhat_below_1.01": chains.share,
        "steps": float(chains.steps.mean()),
        "median_ess": float(np.median(chains.ess["z"])),
        "divergences": int(chains.divergences.sum()),
    }


BENCHMARKS: dict[str, Callable[[Fitted, Dataset], dict[str, Any]]] = {
    "khat": time_khat,
    "corrected": time_corrected,
    "nuts": time_nuts,
}

if __name__ == "__main__":
    sys.exit(main())
