"""The study: its jobs, that it goes on where it was stopped, and the page that it fills."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

import ppvae
from ppvae import metrics
from ppvae.zoo import page as zoo_page
from ppvae.zoo.table import METHODS

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))

import study  # noqa: E402
import study_jobs  # noqa: E402
import study_page  # noqa: E402
import study_rows  # noqa: E402

SETTING = study_jobs.Setting()
TINY = study_jobs.Setting(
    epochs=1, latent=2, hidden=(4,), particles=2, fewer=2, evidence_items=4, generated=20, components=2
)
FIGURES = {
    "evidence": -1000.0,
    **{f"evidence_{view}": -100.0 for view in ("fou", "fac", "kar", "pix", "zer", "mor")},
    **dict.fromkeys(study_page.PERCENT, 0.5),
    "prior_own_pairs": 0.7,
    "prior_fitted_pairs": 0.8,
}


def row(seed: int, missing: float, setting: study_jobs.Setting = SETTING, **figures: float) -> dict[str, object]:
    """A row of results."""
    return {"method": "mvae", "seed": seed, "missing": missing, "setting": setting.key, **FIGURES, **figures}


def keep(folder: Path, *rows: dict[str, object]) -> None:
    for each in rows:
        study_rows.put(folder / "mvae.csv", each, ["method", "seed", "missing"])


# The rows


def test_every_method_of_the_study_is_in_the_zoo() -> None:
    assert set(study.METHODS) <= METHODS.keys()
    assert len(set(study.METHODS)) == len(study.METHODS)
    structures = {name: METHODS[name].model for name in study.METHODS}
    assert {structures[name] for name in study.JOINT} == {"joint:Joint"}
    alike = {name for name, row in METHODS.items() if row.model in set(structures.values())}
    assert alike - set(study.METHODS) == {"vae"}  # of one modality: no method of its own here


def test_what_is_done_is_not_done_again(tmp_path: Path) -> None:
    together, alone = study.tasks(["mvae", "mopoe"], [0, 1])
    assert (len(together), len(alone)) == (2 + 2 * 2 * 2, 2)
    keep(tmp_path, row(0, 0.0), row(1, 0.5))
    left = study.left(together, tmp_path, SETTING)
    assert [str(task) for task in together if task not in left] == ["job mvae 0 0.0", "job mvae 1 0.5"]
    assert study.left(together, tmp_path, TINY) == together


def test_rows_are_sorted_replaced_and_renewed_with_the_setting(tmp_path: Path) -> None:
    keep(tmp_path, row(1, 0.0), row(0, 0.5), row(0, 0.0), row(1, 0.0, evidence=-7.0))
    rows = study_rows.read(tmp_path / "mvae.csv")
    assert [(r["seed"], r["missing"], r["evidence"]) for r in rows] == [
        ("0", "0", "-1000"),
        ("0", "0.5", "-1000"),
        ("1", "0", "-7"),
    ]
    keep(tmp_path, row(0, 0.0, TINY))
    assert [r["setting"] for r in study_rows.read(tmp_path / "mvae.csv")] == [TINY.key]
    assert [path.name for path in tmp_path.iterdir()] == ["mvae.csv"]


def test_a_setting_has_a_key_of_its_own() -> None:
    assert SETTING.key == study_jobs.Setting().key != TINY.key


# The jobs


def test_half_of_the_entries_go_and_all_rows_stay() -> None:
    data = ppvae.datasets.load("mfeat").take(slice(0, 2000, 2))
    half = study_jobs.incomplete(data, 0.5, seed=3)
    observed = np.stack([half.observed[name] for name in data.arrays])
    assert observed.shape == (6, 1000)
    assert np.abs(observed.mean(1) - 0.5).max() < 5 * np.sqrt(0.25 / 1000)
    assert np.abs(np.corrcoef(observed) - np.eye(6)).max() < 5 / np.sqrt(1000)
    assert not metrics.anything(half).all()
    seen = half.observed["kar"]
    np.testing.assert_array_equal(half.arrays["kar"][seen], data.arrays["kar"][seen])
    centers = {m.name: m.center for m in half.modalities}
    np.testing.assert_allclose(centers["kar"], data.arrays["kar"][seen].mean(0, dtype=np.float64), rtol=1e-6)
    assert study_jobs.incomplete(data, 0.0, seed=3).observed == {}


@pytest.mark.parametrize("size", study_jobs.OFFSETS)
def test_every_view_is_given_and_asked_equally_often(size: int) -> None:
    names = list("abcdef")
    found = study_jobs.subsets(names, size)
    assert len({frozenset(subset) for subset in found}) == 6
    assert [sum(name in subset for subset in found) for name in names] == [size] * 6


def test_a_method_is_given_the_options_that_it_takes() -> None:
    assert SETTING.options("mvae") == {"latent": 16, "hidden": (128,)}
    assert SETTING.options("mmvae_plus") == {"latent": 16, "hidden": (128,), "private": 4, "draws": 3}


@pytest.mark.slow
def test_a_killed_study_goes_on(tmp_path: Path) -> None:
    together, _ = study.tasks(["mvae"], [0])
    wrong = study.Task("job", ("no_such_method", 0, 0.0), "none.csv", {"method": "none", "seed": 0, "missing": 0.0})
    said: list[str] = []
    failed = study.work([*together, wrong], tmp_path, TINY, 1, said.append)
    assert len(failed) == 1
    assert "unknown method 'no_such_method'" in failed[0]
    assert len(said) == 4
    assert said[-1].endswith("about 0 minutes left")
    assert study.left(together, tmp_path, TINY) == []
    for done in study_rows.read(tmp_path / "mvae.csv"):
        assert done.keys() == {"method", "seed", "missing", "setting", *FIGURES}
        assert all(0 <= float(done[name]) <= 1 for name in study_page.PERCENT)
        assert float(done["evidence"]) < 0
    (judged,) = study_rows.read(tmp_path / "judges.csv")
    assert float(judged["accuracy_pix"]) > 0.9


# The page


def test_the_table_holds_means_and_standard_errors(tmp_path: Path) -> None:
    assert study_page.spread([1.0, 3.0]) == "2.0 ± 1.0"
    assert study_page.spread([1.0]) == "1.0"
    keep(tmp_path, row(0, 0.0, coherence_1=0.25), row(1, 0.0, coherence_1=0.75), row(0, 0.5), row(0, 0.25))
    complete, half = (study_page.arm({"mvae": study_rows.read(tmp_path / "mvae.csv")}, arm) for arm in study_page.ARMS)
    assert complete.splitlines()[-1].startswith("| `mvae` | -1000.0 ± 0.0 | -100.0 ± 0.0 | 50.0 ± 25.0 |")
    assert half.splitlines()[-1].startswith("| `mvae` | -1000.0 | -100.0 | 50.0 |")
    assert len(half.splitlines()) == 3


def test_a_page_keeps_what_is_written_by_hand(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text((ROOT / "docs" / "methods.md").read_text(encoding="utf-8") + "\nBy hand.\n", encoding="utf-8")
    keep(tmp_path, row(0, 0.0))
    for _ in range(2):
        study_page.write(tmp_path, ["mvae", "mopoe"], SETTING, page)
        text = page.read_text(encoding="utf-8")
        assert text.endswith("\nBy hand.\n")
        assert text.count(study_page.study(tmp_path, ["mvae", "mopoe"], SETTING)) == 1
    with pytest.raises(ValueError, match="no block between <!-- begin nothing -->"):
        zoo_page.replaced(text, "nothing", "")


def test_evidence_is_ranked_by_corrected_posteriors() -> None:
    figures = {"a": (-3.0, -1.0, "0"), "b": (-2.0, -2.0, "0"), "c": (-4.0, -4.0, "1")}
    rows = [
        {"method": name, "seed": seed, "evidence_guide": str(guide), "evidence_corrected": str(corrected)}
        for name, (guide, corrected, seed) in figures.items()
    ]
    shown = study_page.ranked([*rows, {**rows[0], "seed": "1", "evidence_corrected": "-1.5"}]).splitlines()
    assert shown[0].endswith("seeds 0, 1")
    assert shown[-3:] == ["| `a` | -1.2 | -3.0 | 2 |", "| `b` | -2.0 | -2.0 | 1 |", "| `c` | -4.0 | -4.0 | 3 |"]


def test_the_page_shows_the_zoo_and_the_results_as_they_are() -> None:
    page = (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")
    again = "docs/methods.md is out of date: run python benchmarks/study.py --page"
    assert page == zoo_page.replaced(page, "methods", zoo_page.tables()), again
    assert page == zoo_page.replaced(page, "study", study_page.study(study.RESULTS, study.METHODS, SETTING)), again


def test_every_program_and_reference_is_linked() -> None:
    tables = zoo_page.tables()
    for name, method in METHODS.items():
        assert sum(line.startswith(f"| `{name}` |") for line in tables.splitlines()) == 2
        for link in zoo_page.programs(method)[:2]:
            file = link.partition("(../")[2].rstrip(")")
            assert (ROOT / file).is_file()
            assert link in tables
    assert zoo_page.cited("A & B 2020, arXiv:1234.56789") == "[A & B 2020](https://arxiv.org/abs/1234.56789)"
    assert zoo_page.cited("A 2018, doi:10.1/x.y") == "[A 2018](https://doi.org/10.1/x.y)"
    assert zoo_page.cited("A 2015, NeurIPS 28") == "A 2015, NeurIPS 28"


def test_cells_cannot_break_their_table() -> None:
    assert zoo_page.table(["a", "b"], [["q(z | x)", "1"]], right=1) == "| a | b |\n| --- | ---: |\n| q(z \\| x) | 1 |"
    for line in zoo_page.tables().splitlines():
        assert line.replace("\\|", "").count("|") in (0, 4, 7)
