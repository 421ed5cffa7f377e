"""Tables: truths are numbers, and what is no CSV, parquet or feather file is said to be none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import ppvae
from ppvae.data.columns import OTHERS
from ppvae.data.description import data_set, described


def description(root: Path, file: str) -> Path:
    (root / "a.toml").write_text(f'[modalities.a]\nkind = "vector"\ntable = "{file}"\ncolumns = ["x"]\n')
    return root / "a.toml"


@pytest.mark.parametrize(("true", "false"), [("True", "False"), ("TRUE", "FALSE"), ("true", "false")])
def test_truths_are_one_and_zero(true: str, false: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(f"id,x\np,{true}\nq, {false}\nr,NA\n")
    data = data_set(described(description(tmp_path, "a.csv")))
    np.testing.assert_array_equal(data.holed("a")[:2, 0], [1.0, 0.0])
    pd.DataFrame({"x": [True, False]}, index=["p", "q"]).to_parquet(tmp_path / "a.parquet")
    np.testing.assert_array_equal(data_set(described(description(tmp_path, "a.parquet"))).arrays["a"], [[1.0], [0.0]])


def test_a_truth_among_numbers_is_no_number(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,x\np,TRUE\nq,2.5\n")
    with pytest.raises(ValueError, match="holds 'TRUE', no number, in column 'x' of id 'p'"):
        described(description(tmp_path, "a.csv"))


@pytest.mark.parametrize("ending", OTHERS)
def test_another_kind_of_table_is_named_with_what_reads_it(ending: str, tmp_path: Path) -> None:
    assert hasattr(pd, OTHERS[ending])
    (tmp_path / f"a{ending}").write_bytes(b"PK\x03\x04")
    with pytest.raises(ValueError, match=rf"as a table: save it as CSV or parquet, pandas.{OTHERS[ending]}\("):
        described(description(tmp_path, f"a{ending}"))


def described_column(tmp_path: Path, content: str, kind: str, key: str) -> Any:
    (tmp_path / "t.csv").write_text(content)
    (tmp_path / "mine.toml").write_text(f'[modalities.a]\nkind = "{kind}"\ntable = "t.csv"\n{key}\n')
    return data_set(described(tmp_path / "mine.toml"))


def test_points_that_may_part_thousands_are_refused_between_semicolons(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"holds '1\.234', whose point may part thousands; write none, or a comma"):
        described_column(tmp_path, "id;x\n0;1.234\n1;17\n2;NA\n", "vector", 'columns = ["x"]')
    for cells in (("1.234", "0.5"), ("0.234", "0.500"), ("1.2345", "2.000")):
        content = "id;x\n" + "".join(f"{i};{cell}\n" for i, cell in enumerate(cells))
        data = described_column(tmp_path, content, "vector", 'columns = ["x"]')
        np.testing.assert_allclose(data.arrays["a"].ravel(), [float(cell) for cell in cells])


def test_a_cell_that_is_no_number_says_what_to_write(tmp_path: Path) -> None:
    for cell in ("yes", "?", "10 %", "2024-01-01", "3 cm"):
        with pytest.raises(
            ValueError, match="no number, in column 'x' of id '0': leave empty what is missing, write nu"
        ):
            described_column(tmp_path, f"id,x\n0,{cell}\n1,2.5\n", "vector", 'columns = ["x"]')
    data = described_column(tmp_path, "id,x\n0,#N/A\n1,2.5\n2,<NA>\n", "vector", 'columns = ["x"]')
    assert data.observed["a"].tolist() == [False, True, False]


def test_blanks_around_names_do_not_count_and_twins_are_told(tmp_path: Path) -> None:
    data = described_column(tmp_path, "id,x\n0,yes\n1, yes \n2,no\n3,  \n", "category", 'column = "x"')
    assert data.modalities[0].preprocessing["names"] == ["no", "yes"]
    with pytest.warns(UserWarning, match="the names 'Yes' and 'yes' differ in writing alone"):
        described_column(tmp_path, "id,x\n0,yes\n1,Yes\n", "category", 'column = "x"')
    with pytest.warns(UserWarning, match="the names ' a' and 'a' differ in writing alone"):
        ppvae.Dataset({"a": np.array(["a", " a"])})


def test_whole_numbers_are_one_name_however_a_program_writes_them(tmp_path: Path) -> None:
    found = []
    for written in ("id,x\n0,4\n1,\n2,6\n", "id,x\n0,4.0\n1,\n2, 6.0\n"):
        data = described_column(tmp_path, written, "category", 'column = "x"')
        found.append((data.modalities[0].preprocessing["names"], data.arrays["a"].tolist()))
    assert found[0] == found[1] == (["4", "6"], [[0], [1]])
    data = described_column(tmp_path, "id,x\n0,4.0\n1,4.5\n", "category", 'column = "x"')
    assert data.modalities[0].preprocessing["names"] == ["4.0", "4.5"]


def test_blank_texts_are_missing(tmp_path: Path) -> None:
    data = described_column(tmp_path, "id,x\n0,a cat\n1,  \n2,\n", "text", 'column = "x"')
    assert data.ids.tolist() == ["0"]
