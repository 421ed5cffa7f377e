"""Growth: time and peak memory against items, features, modalities and particles, a process of its own for each point.

Time is that of an epoch, the fastest of several, or of evidence once its question is compiled. Memory is the most that
the process held, beyond what a tiny run had taken before. A slope is that of the last two points in log-log: linear
growth has 1.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import measured
import numpy as np

PICTURE = measured.DOCS / "growth.png"
EPOCHS, FEATURES, ITEMS, HIDDEN = 3, 10, 2000, (64,)
SWEEPS: dict[str, tuple[int, ...]] = {
    "items": (1_000, 10_000, 100_000, 1_000_000),
    "features": (10, 100, 1_000, 10_000),
    "modalities, mvae": (2, 4, 8, 16, 32),
    "modalities, mopoe of 8 subsets": (2, 4, 8, 16, 32),
    "particles of evidence": (10, 100, 1_000, 10_000),
}
HEAD = ("of", "from", "to", "seconds", "slope", "megabytes", "slope")


def main() -> int:
    """Measure every point, then draw and tell."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="end with one line of JSON; the table goes to stderr")
    parser.add_argument("--page", action="store_true", help="keep the figures and show them in docs/performance.md")
    parser.add_argument("--backend", choices=("pyro", "numpyro"), default="numpyro")
    parser.add_argument("--largest", type=int, default=1_000_000, help="leave out points beyond")
    parser.add_argument("--point", nargs=2, metavar=("SWEEP", "SIZE"), help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.point:
        print(json.dumps(point(chosen.point[0], int(chosen.point[1]), chosen.backend)))
        return 0
    seen_on = measured.machine()
    sizes = {sweep: [size for size in of if size <= chosen.largest] for sweep, of in SWEEPS.items()}
    found = {sweep: [ask(sweep, size, chosen.backend) for size in of] for sweep, of in sizes.items() if of}
    figures = {"machine": seen_on, "backend": chosen.backend, "sweeps": found}
    print(tables(figures), file=sys.stderr if chosen.json else sys.stdout)
    if chosen.page:
        draw(found, PICTURE)
        measured.keep("growth", figures)
    if chosen.json:
        print(json.dumps(figures))
    return 0


def ask(sweep: str, size: int, backend: str) -> dict[str, float]:
    """A point, from a process of its own."""
    found = measured.in_own_process(__file__, "--point", sweep, str(size), "--backend", backend)
    print(f"{sweep} {size}: {found}", file=sys.stderr, flush=True)
    return found


def point(sweep: str, size: int, backend: str) -> dict[str, float]:
    """Seconds and megabytes of one point."""
    trained("vae", data(100, 1, 1), backend, epochs=1)
    before = held()
    seconds = RUNS[sweep.partition(",")[0]](sweep, size, backend)
    return {"size": size, "seconds": seconds, "megabytes": max(held() - before, 1.0)}  # less is hidden by the tiny run


def held() -> float:
    """The most memory that this process has had, in megabytes; macOS counts bytes, others kilobytes."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (2**20 if sys.platform == "darwin" else 2**10)


def of_items(sweep: str, size: int, backend: str) -> float:
    """So many items of ten features, in batches of 1,000."""
    return epoch("vae", data(size, 1, FEATURES), backend, batch_size=1_000)


def of_features(sweep: str, size: int, backend: str) -> float:
    """2,000 items of so many features."""
    return epoch("vae", data(ITEMS, 1, size), backend)


def of_modalities(sweep: str, size: int, backend: str) -> float:
    """2,000 items of so many modalities, ten features each."""
    options = {"subsets": 8} if "mopoe" in sweep else {}
    return epoch("mopoe" if "mopoe" in sweep else "mvae", data(ITEMS, size, FEATURES), backend, **options)


def of_particles(sweep: str, size: int, backend: str) -> float:
    """The evidence of 50 items, each by so many particles."""
    few = data(50, 2, FEATURES)
    fitted = trained("mvae", few, backend, epochs=1)
    fitted.log_evidence(few, particles=size)
    begin = time.perf_counter()
    fitted.log_evidence(few, particles=size, seed=1)
    return time.perf_counter() - begin


RUNS: Mapping[str, Callable[[str, int, str], float]] = {
    "items": of_items,
    "features": of_features,
    "modalities": of_modalities,
    "particles of evidence": of_particles,
}


def data(items: int, modalities: int, features: int) -> Any:
    """Normal noise."""
    import ppvae

    rng = np.random.default_rng(0)
    arrays = {f"m{i}": rng.standard_normal((items, features), np.float32) for i in range(modalities)}
    return ppvae.Dataset(arrays, modalities=[ppvae.Modality(name, (features,)) for name in arrays])


def epoch(method: str, rows: Any, backend: str, batch_size: int = 100, **options: Any) -> float:
    """Seconds of the fastest of several."""
    return min(each["seconds"] for each in trained(method, rows, backend, EPOCHS, batch_size, **options).history)


def trained(method: str, rows: Any, backend: str, epochs: int, batch_size: int = 100, **options: Any) -> Any:
    """A run."""
    import ppvae

    pair = ppvae.method(method, rows.modalities or (), latent=8, hidden=HIDDEN, **options)
    return ppvae.fit(pair, rows, backend=backend, epochs=epochs, batch_size=batch_size, progress=False)


def tables(figures: dict[str, Any]) -> str:
    """A row for each sweep, in Markdown."""
    from ppvae.zoo import page

    rows = [[sweep, *cells(points)] for sweep, points in figures["sweeps"].items() if len(points) > 1]
    picture = f"![Time and memory against size, and what is linear]({PICTURE.name})"
    return f"On {figures['backend']}.\n\n{page.table(HEAD, rows, right=len(HEAD) - 1)}\n\n{picture}"


def cells(points: Sequence[Mapping[str, float]]) -> list[str]:
    """The figures of one sweep."""
    found = [f"{points[0]['size']:,}", f"{points[-1]['size']:,}"]
    for name in ("seconds", "megabytes"):
        found += [f"{points[0][name]:.3g} to {points[-1][name]:.3g}", f"{slope(points, name):.2f}"]
    return found


def slope(points: Sequence[Mapping[str, float]], name: str) -> float:
    """Of the last two points in log-log."""
    before, last = points[-2:]
    return math.log(last[name] / before[name]) / math.log(last["size"] / before["size"])


def draw(sweeps: Mapping[str, Sequence[Mapping[str, float]]], path: Path) -> None:
    """Time and memory beside what is linear in the size."""
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(2, len(sweeps), figsize=(2.9 * len(sweeps), 4.6), layout="constrained", squeeze=False)
    for column, (sweep, points) in zip(axes.T, sweeps.items(), strict=True):
        sizes = [each["size"] for each in points]
        for axis, name in zip(column, ("seconds", "megabytes"), strict=True):
            values = [each[name] for each in points]
            axis.loglog(sizes, values, "o-", color="C0")
            axis.loglog(sizes, [values[-1] * size / sizes[-1] for size in sizes], ":", color="0.6")
            axis.set_xticks(sizes, [f"{size:,}" for size in sizes], fontsize=7)
            axis.tick_params(axis="y", which="both", labelsize=7)
            axis.minorticks_off()
        column[0].set_title(sweep, fontsize=8)
    for axis, name in zip(axes[:, 0], ("seconds", "megabytes"), strict=True):
        axis.set_ylabel(name)
    figure.savefig(path, dpi=80)
    plt.close(figure)


if __name__ == "__main__":
    sys.exit(main())
