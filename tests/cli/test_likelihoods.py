"""Likelihoods on the command line: a doubtful guess asks, an answer stays with the run; files of other kinds."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from ppvae import cli
from ppvae.data.reader import OTHERS, read_npz


@pytest.fixture
def grades(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "grades.npz", x=rng.normal(size=(40, 2)), grade=rng.integers(1, 4, 40))
    return tmp_path / "grades.npz"


def test_grades_ask_what_they_are_and_are_what_was_said(grades: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = str(grades.parent / "run")
    words = ["fit", "mvae", "--data", str(grades), "--epochs", "1", "--latent", "1", "--backend", "pyro", "--json"]
    assert cli.main([*words, "--out", str(grades.parent / "guessed")]) == 0
    assert "modality 'grade' is guessed to be negative_binomial" in capsys.readouterr().err
    assert cli.main([*words, "--out", run, "--likelihood", "grade=categorical"]) == 0
    out, err = capsys.readouterr()
    assert "guessed" not in err
    assert json.loads(out)["likelihoods"] == ["x normal (guessed: fractions)", "grade categorical"]
    assert cli.main(["query", run, "--ask", "grade", "--draws", "5", "--out", str(grades.parent / "q.npz")]) == 0
    assert "guessed" not in capsys.readouterr().err
    with np.load(grades.parent / "q.npz") as drawn:
        assert set(np.unique(drawn["grade"])) <= {0, 1, 2, 3}


@pytest.mark.parametrize(
    ("likelihood", "said"),
    [
        ("grade", "--likelihood takes key=value"),
        ("grade=gauss", "unknown likelihood 'gauss'"),
        ("size=normal", "likelihood names ['size']"),
    ],
)
def test_a_likelihood_of_nothing_is_refused(likelihood: str, said: str, grades: Path, capsys) -> None:
    words = ["fit", "mvae", "--data", str(grades), "--epochs", "1", "--out", str(grades.parent / "never")]
    assert cli.main([*words, "--likelihood", likelihood]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("kind", OTHERS)
def test_a_file_of_another_kind_is_named_with_what_reads_it(kind: str, tmp_path: Path) -> None:
    (tmp_path / f"data{kind}").write_bytes(b"anything")
    with pytest.raises(ValueError, match=r"only \.npz files are read; write one with numpy\.savez") as error:
        read_npz(tmp_path / f"data{kind}")
    assert OTHERS[kind] in str(error.value)


def test_no_message_advises_to_load_pickles(tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", **{"x": np.ones((2, 2)), "labels.kind": np.array(["a", "b"], object)})
    with pytest.raises(ValueError, match=r"never unpickled; save array\.astype\(str\)") as error:
        read_npz(tmp_path / "data.npz")
    assert "allow_pickle" not in str(error.value)
