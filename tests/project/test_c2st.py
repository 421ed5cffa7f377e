"""The comparison with long chains: what is left of it, and its table."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))

import c2st  # noqa: E402
import study  # noqa: E402
import study_jobs  # noqa: E402
import study_page  # noqa: E402
import study_rows  # noqa: E402

SETTING = study_jobs.Setting()
FIGURES = {"corrected": 0.5128, "worst": 0.5412, "guide": 0.69425, "above": 0.02, "converged": 0.98}


def row(method: str, given: str) -> dict[str, object]:
    return {"method": method, "given": given, "setting": SETTING.key, **FIGURES}


def test_what_is_done_is_not_done_again_and_stands_in_the_table(tmp_path: Path) -> None:
    tasks = c2st.tasks(["mvae"])
    assert [task.arguments for task in tasks] == [("mvae", subset) for subset in c2st.SUBSETS]
    for given in ("pix", "all"):
        study_rows.put(tmp_path / c2st.FILE, row("mvae", given), ["method", "given"])
    assert [task.arguments[1] for task in study.left(tasks, tmp_path, SETTING)] == ["fou", "fac", "kar", "zer", "mor"]
    page = tmp_path / "page.md"
    page.write_text(c2st.PAGE.read_text(encoding="utf-8"), encoding="utf-8")
    c2st.write(tmp_path, page)
    block = page.read_text(encoding="utf-8").partition("<!-- begin c2st")[2].partition("<!-- end c2st")[0]
    assert block.splitlines()[-3:-1] == [
        "| `mvae` | pix | 0.513 | 0.541 | 0.694 | 2 | 98 |",
        "| `mvae` | all | 0.513 | 0.541 | 0.694 | 2 | 98 |",
    ]


def test_the_page_shows_the_results_as_they_are() -> None:
    if rows := study_page.current(study.RESULTS / c2st.FILE, SETTING):
        again = "docs/calibration.md is out of date: run python benchmarks/c2st.py --page"
        assert c2st.table(rows) in c2st.PAGE.read_text(encoding="utf-8"), again
