"""Calibration: how far the posteriors of all joint methods can be believed, on mfeat; `make calibration`."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import study
import study_rows

PAGE = study.ROOT / "docs" / "calibration.md"
FILES = {"calibrated": "calibration.csv", "corrected": "corrected.csv"}
Jobs = Sequence[study_rows.Row]
KHATS = tuple(f"khat_{size}" for size in range(1, 7))
HEAD = (
    *("method", "k-hat > 0.7, 1 view", "2", "3", "4", "5", "6"),
    *("SBC p, 1 view", "SBC p, 6", "90 % of z, 1 view", "90 % of z, 6", "90 % of views, 1 view", "90 % of views, 5"),
)
CORRECTED_HEAD = (
    *("method", "k-hat > 0.7, 1 view", "2", "3", "4", "5", "6", "effective, 1 view", "effective, 6"),
    *("SBC p, 1 view", "SBC p, 6", "90 % of z, 1 view", "90 % of z, 6", "evidence, guide", "evidence, corrected"),
)
PERCENT = ("latents_1", "latents_all", "predicted_1", "predicted_5")


def tasks(function: str, methods: Sequence[str], seeds: Sequence[int]) -> list[study.Task]:
    """One job a seed and method."""
    return [
        study.Task(function, (m, s), FILES[function], {"method": m, "seed": s}, "calibration_jobs")
        for s, m in itertools.product(seeds, methods)
    ]


def table(
    head: Sequence[str], figures: Callable[[Jobs], list[str]], rows: Sequence[study_rows.Row], methods: Sequence[str]
) -> str:
    """The seeds, and one row for each method, in Markdown."""
    from ppvae.zoo import page as zoo_page

    jobs = {name: [row for row in rows if row["method"] == name] for name in methods}
    cells = [[f"`{name}`", *figures(found)] for name, found in jobs.items() if found]
    seeds = f"Seeds: {', '.join(sorted({row['seed'] for row in rows}))}."
    return f"{seeds}\n\n{zoo_page.table(head, cells, right=len(head) - 1)}"


def figures(jobs: Jobs) -> list[str]:
    """The figures of one method: means over its jobs as percentages; of p-values, the median."""
    return [
        *(mean(jobs, name, 100) for name in KHATS),
        *(middle(jobs, name) for name in ("sbc_1", "sbc_all")),
        *(mean(jobs, name, 100) for name in PERCENT),
    ]


def corrected_figures(jobs: Jobs) -> list[str]:
    """The same of corrected posteriors, with effective particles, and evidence in place of predictions."""
    return [
        *(mean(jobs, name, 100) for name in KHATS),
        *(mean(jobs, name) for name in ("ess_1", "ess_6")),
        *(middle(jobs, name) for name in ("sbc_1", "sbc_all")),
        *(mean(jobs, name, 100) for name in ("latents_1", "latents_all")),
        *(mean(jobs, f"evidence_{by}", digits=1) for by in ("guide", "corrected")),
    ]


def mean(jobs: Jobs, name: str, unit: float = 1, digits: int = 0) -> str:
    """The mean of a figure over jobs."""
    return f"{np.mean([unit * float(job[name]) for job in jobs]):.{digits}f}"


def middle(jobs: Jobs, name: str) -> str:
    """The median of a p-value over jobs."""
    median = np.median([float(job[name]) for job in jobs])
    return f"{median:.2g}" if median >= 1e-3 else "< 0.001"


def write(results: Path, methods: Sequence[str], page: Path = PAGE) -> None:
    """Renew the tables of the page."""
    from study_jobs import Setting
    from study_page import current

    from ppvae.zoo import page as zoo_page

    text = page.read_text(encoding="utf-8")
    made = {"calibration": ("calibrated", HEAD, figures), "corrected": ("corrected", CORRECTED_HEAD, corrected_figures)}
    for block, (function, head, shown) in made.items():
        if rows := current(results / FILES[function], Setting()):
            text = zoo_page.replaced(text, block, table(head, shown, rows, methods))
    page.write_text(text, encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is left, then write docs/calibration.md; 1 where something failed."""
    chosen = study.options(arguments, __doc__)
    from study_jobs import Setting

    methods, seeds = chosen.only or study.JOINT, range(chosen.seeds)
    phases = () if chosen.page else [(tasks(function, methods, seeds), chosen.workers) for function in FILES]
    failed = study.complete(*phases, results=chosen.results, setting=Setting())
    write(chosen.results, study.JOINT)
    return 1 if failed else 0


if __name__ == "__main__":
    os.environ.update(study.ENVIRONMENT)  # before any process loads torch or jax
    sys.exit(main())
