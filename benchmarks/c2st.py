"""C2ST: corrected posteriors against long chains of NUTS, on mfeat; `make c2st`."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import study
import study_rows

PAGE = study.ROOT / "docs" / "calibration.md"
FILE = "c2st.csv"
METHODS = ("mvae", "mopoe", "mmvae")
SUBSETS = ("fou", "fac", "kar", "pix", "zer", "mor", "all")  # each view alone, and all six
ITEMS, DRAWS, WANTED = 50, 500, 0.55  # test items, draws of each of four chains, and what C2ST should not exceed
FIGURES = ("corrected", "worst", "guide", "above", "converged")
HEAD = ("method", "given", "corrected", "95th percentile", "guide", f"above {WANTED}, %", "converged, %")


def tasks(methods: Sequence[str]) -> list[study.Task]:
    """One job a method and subset."""
    pairs = itertools.product(methods, SUBSETS)
    return [study.Task("job", pair, FILE, dict(zip(("method", "given"), pair, strict=True)), "c2st") for pair in pairs]


def job(method: str, subset: str, setting: Any) -> dict[str, Any]:
    """Train one method and compare what it makes of test items from a subset of views: a row of the results."""
    import study_jobs

    import ppvae
    from ppvae.diagnostics import compare_with_nuts, nuts

    train, test = ppvae.datasets.load("mfeat").split(0.75, seed=0)
    fitted = study_jobs.trained(method, train, 0, setting)
    items, given = test.take(slice(ITEMS)), None if subset == "all" else [subset]
    chains = nuts(fitted, items, given, draws=DRAWS)
    score = {
        posterior: compare_with_nuts(fitted, items, chains, given, posterior=posterior).c2st[chains.converged]
        for posterior in ("guide", "corrected")
    }
    figures = {
        "corrected": float(np.mean(score["corrected"])),
        "worst": float(np.quantile(score["corrected"], 0.95)),
        "guide": float(np.mean(score["guide"])),
        "above": float(np.mean(score["corrected"] > WANTED)),
        "converged": float(chains.converged.mean()),
    }
    return {"method": method, "given": subset, "setting": setting.key, **figures}


def table(rows: Sequence[study_rows.Row]) -> str:
    """One row for each method and subset, in Markdown."""
    from ppvae.zoo import page as zoo_page

    found = {(row["method"], row["given"]): row for row in rows}
    cells = [
        [f"`{method}`", given, *shown(found[method, given])]
        for method, given in itertools.product(METHODS, SUBSETS)
        if (method, given) in found
    ]
    return zoo_page.table(HEAD, cells, right=len(FIGURES))


def shown(row: study_rows.Row) -> list[str]:
    """The figures of a row: three scores, and two shares in percent."""
    scores, shares = FIGURES[:3], FIGURES[3:]
    return [*(f"{float(row[n]):.3f}" for n in scores), *(f"{100 * float(row[n]):.0f}" for n in shares)]


def write(results: Path, page: Path = PAGE) -> None:
    """Renew the table of the page."""
    from study_jobs import Setting
    from study_page import current

    from ppvae.zoo import page as zoo_page

    if rows := current(results / FILE, Setting()):
        text = page.read_text(encoding="utf-8")
        page.write_text(zoo_page.replaced(text, "c2st", table(rows)), encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is left, then write the table of docs/calibration.md; 1 where something failed."""
    chosen = study.options(arguments, __doc__)
    from study_jobs import Setting

    phases = () if chosen.page else ((tasks(chosen.only or METHODS), chosen.workers),)
    failed = study.complete(*phases, results=chosen.results, setting=Setting())
    write(chosen.results)
    return 1 if failed else 0


if __name__ == "__main__":
    os.environ.update(study.ENVIRONMENT)  # before any process loads torch or jax
    sys.exit(main())
