"""Calibration: how far the posteriors of all joint methods can be believed, on mfeat; `make calibration`."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import study
import study_rows

PAGE = study.ROOT / "docs" / "calibration.md"
FILE = "calibration.csv"
KHATS = tuple(f"khat_{size}" for size in range(1, 7))
HEAD = (
    *("method", "k-hat > 0.7, 1 view", "2", "3", "4", "5", "6"),
    *("SBC p, 1 view", "SBC p, 6", "90 % of z, 1 view", "90 % of z, 6", "90 % of views, 1 view", "90 % of views, 5"),
)
PERCENT = ("latents_1", "latents_all", "predicted_1", "predicted_5")


def tasks(methods: Sequence[str], seeds: Sequence[int]) -> list[study.Task]:
    """One job a seed and method."""
    return [
        study.Task("calibrated", (m, s), FILE, {"method": m, "seed": s}, "calibration_jobs")
        for s, m in itertools.product(seeds, methods)
    ]


def table(rows: Sequence[study_rows.Row], methods: Sequence[str]) -> str:
    """One row for each method, in Markdown."""
    from ppvae.zoo import page as zoo_page

    jobs = {name: [row for row in rows if row["method"] == name] for name in methods}
    cells = [[f"`{name}`", *figures(found)] for name, found in jobs.items() if found]
    return zoo_page.table(HEAD, cells, right=len(HEAD) - 1)


def figures(jobs: Sequence[study_rows.Row]) -> list[str]:
    """The figures of one method: means over its jobs as percentages; of p-values, the median."""
    mean = lambda name: f"{np.mean([100 * float(job[name]) for job in jobs]):.0f}"  # noqa: E731
    return [
        *map(mean, KHATS),
        *(middle([float(j[f"sbc_{n}"]) for j in jobs]) for n in ("1", "all")),
        *map(mean, PERCENT),
    ]


def middle(values: Sequence[float]) -> str:
    """The median of p-values."""
    median = np.median(values)
    return f"{median:.2g}" if median >= 1e-3 else "< 0.001"


def write(results: Path, methods: Sequence[str], page: Path = PAGE) -> None:
    """Renew the table of the page."""
    from study_jobs import Setting
    from study_page import current

    from ppvae.zoo import page as zoo_page

    rows = current(results / FILE, Setting())
    text = f"Seeds: {', '.join(sorted({row['seed'] for row in rows}))}.\n\n{table(rows, methods)}"
    page.write_text(zoo_page.replaced(page.read_text(encoding="utf-8"), "calibration", text), encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is left, then write docs/calibration.md; 1 where something failed."""
    chosen = study.options(arguments, __doc__)
    from study_jobs import Setting

    phases = () if chosen.page else ((tasks(chosen.only or study.JOINT, range(chosen.seeds)), chosen.workers),)
    failed = study.complete(*phases, results=chosen.results, setting=Setting())
    write(chosen.results, study.JOINT)
    return 1 if failed else 0


if __name__ == "__main__":
    os.environ.update(study.ENVIRONMENT)  # before any process loads torch or jax
    sys.exit(main())
