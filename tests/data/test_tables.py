"""Tables: truths are numbers, and what is no CSV, parquet or feather file is said to be none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

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
