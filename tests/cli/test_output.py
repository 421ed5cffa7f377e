"""What commands print: valid JSON, plain text on any terminal, and nothing that a foreign name could do to either."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import typer

from ppvae import cli, datasets
from ppvae.cli import command, demo, readable, tables

NASTY = "[bold] [/] \x1b[2J\r\n\x00\u202e[link=file:///]x"
SEEN = "[bold] [/] \\x1b[2J\\r\\n\\x00\\u202e[link=file:///]x"
PROGRAM = """
import sys, typer
from ppvae.cli import command
app = typer.Typer()
@app.command()
@command.answered("facts")
def say(): return {"value": "x" * 100}
sys.exit(command.run(app, sys.argv[1:]))
"""
RUN = ["--latent", "2", "--set", "hidden=[4]", "--backend", "pyro", "--epochs", "1"]


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder whose name is markup, on 80 rows."""
    place = tmp_path_factory.mktemp("output") / "[bold]x[" / "]"
    place.mkdir(parents=True)
    np.savez(place / "data.npz", a=np.random.default_rng(0).normal(size=(80, 3)))
    assert cli.main(["fit", "vae", "--data", str(place / "data.npz"), *RUN, "--out", str(place / "run")]) == 0
    return place / "run"


def answering(result: dict, *words: str) -> int:
    """The exit code of a command that answers this."""
    app = typer.Typer()
    app.command()(command.answered("facts")(lambda: result))
    return command.run(app, words)


def test_what_is_no_number_is_null_with_its_reason(capsys: pytest.CaptureFixture[str]) -> None:
    result = {"elbo": {"mean": float("nan"), "se": 1.5}, "losses": [1, float("inf"), -np.inf], "none": None}
    assert answering(result, "--json") == 0
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    assert json.loads(out, parse_constant=pytest.fail) == {
        "elbo": {"mean": None, "se": 1.5},
        "losses": [1, None, None],
        "none": None,
        "nulls": {"elbo.mean": "NaN", "losses.1": "Infinity", "losses.2": "-Infinity"},
    }
    assert json.loads(readable.as_json({"a": [1.5, True, "x"]})) == {"a": [1.5, True, "x"]}


def test_foreign_names_are_shown_and_not_obeyed(capsys: pytest.CaptureFixture[str]) -> None:
    assert answering({"path": NASTY, "names": [NASTY]}) == 0
    out = capsys.readouterr().out
    assert out.count(SEEN) == 2
    assert not any(character in out for character in "\x1b\r\x00\u202e")


def test_a_path_of_brackets_is_printed_as_it_is(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = run.parent / "[i]n[" / "]ew.npz"
    assert cli.main(["generate", str(run), "--items", "3", "--out", str(out)]) == 0
    assert str(out) in capsys.readouterr().out.replace("\n", "")


@pytest.mark.parametrize("name", [NASTY, "x" * 10**6, "x " * 10**6], ids=["nasty", "one word", "words"])
def test_a_message_is_one_line_and_shortens_what_it_quotes(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["fit", name], ["evaluate", name], ["list", name], ["fit", "vae", "--set", name], [name]):
        assert cli.main(words) == 2
        out, err = capsys.readouterr()
        assert (out, err.count("\n")) == ("", 1)
        assert err.startswith("Error: ")
        assert len(err) < 2500
        assert err.rstrip("\n").isprintable()


def test_a_terminal_that_knows_ascii_only(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    assert answering({"elbo": {"mean": 1.0, "se": 0.5}, "name": "Hölder \udcff"}) == 0
    stream.seek(0)
    assert stream.read().split() == ["elbo", "1.000", r"\xb1", "0.500", "name", r"H\xf6lder", r"\udcff"]


def test_a_narrow_terminal_breaks_words_and_loses_none(monkeypatch: pytest.MonkeyPatch) -> None:
    for key, value in {"COLUMNS": "24", "FORCE_COLOR": "1", "TERM": "xterm", "NO_COLOR": "1"}.items():
        monkeypatch.setenv(key, value)
    lines = tables.text(tables.facts({"run": "/".join(map(str, range(40)))})).splitlines()
    assert max(map(len, lines)) <= 24
    assert "".join("".join(lines).split()) == "run" + "/".join(map(str, range(40)))


@pytest.mark.parametrize(
    ("shell", "code", "said"),
    [
        ("{} | true; exit ${{PIPESTATUS[0]}}", 141, ""),
        ("{} >&-", 0, ""),
        ("{} --nope >&- 2>&- <&-", 2, ""),
        ("{} >/dev/full", 2, "Error: stdout: No space left on device\n"),
        ("{} --json >/dev/full", 2, "Error: stdout: No space left on device\n"),
    ],
)
def test_a_reader_that_is_gone(shell: str, code: int, said: str, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM.replace("def say():", "def say():\n import time; time.sleep(0.3);"))
    line = shell.format(f"{sys.executable} {tmp_path}/program.py")
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (code, said)


def test_the_whole_program_with_all_streams_closed() -> None:
    """It starts itself again first, in an order of sets that all processes have."""
    line = f"env -u PYTHONHASHSEED {sys.executable} -m ppvae --version >&- 2>&- <&-"
    assert subprocess.run(["bash", "-c", line], check=False).returncode == 0


def test_a_link_to_nowhere_is_no_folder_to_write_in(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "link").symlink_to("nowhere")
    assert cli.main(["fit", "vae", "--out", str(tmp_path / "link")]) == 2
    assert "is no folder to write in" in capsys.readouterr().err


def test_every_mistake_in_words_is_found_before_torch_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "text.npz").write_text("a,b")
    commands = [
        ["--version"],
        ["list", "method"],
        ["fit", "nonsense", "--latent", "3"],
        ["fit", "nowhere.py:make"],
        ["fit", "mvae", "--data", "missing.npz", "--latent", "3"],
        ["fit", "mvae", "--data", "text.npz"],
        ["fit", "mvae", "--data", "."],
        ["fit", "mvae", "--lr", "0"],
        ["fit", "mvae", "--set", "lr"],
        ["fit", "mvae", "--out", ""],
        ["fit", "mvae", "--out", "text.npz"],
        ["demo", "--out", "text.npz"],
        ["demo", "--out", " "],
        ["parity", "nonsense"],
        ["evaluate", "nowhere"],
        ["evaluate", "nowhere", "--backend", "tensorflow"],
        ["query", "nowhere", "--out", ""],
        ["query", "nowhere", "--out", "."],
        ["query", "nowhere", "--out", "q.npz", "--ask", ","],
        ["generate", "nowhere", "--out", "text.npz/new.npz"],
        ["generate", "nowhere", "--out", "new.npz", "--items", "99999999999"],
        ["diagnose", "nowhere", "--given", ","],
        ["diagnose", "", "--items", "5"],
        ["report", "nowhere"],
        ["report", "text.npz"],
    ]
    code = (
        f"import sys; from ppvae.cli import main; print([main(words) for words in {commands}], 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.stdout.splitlines()[-1] == f"{[0] + [2] * (len(commands) - 1)} False"
    lines = done.stderr.splitlines()
    assert len(lines) == len(commands) - 1
    assert all(line.startswith("Error: ") for line in lines)
    assert {path.name for path in tmp_path.iterdir()} == {"text.npz"}


def test_the_version_and_the_short_flag_for_help(capsys: pytest.CaptureFixture[str]) -> None:
    import ppvae

    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"ppvae {ppvae.__version__}\n"
    assert cli.main(["fit", "-h"]) == 0
    assert "--max-bytes" in capsys.readouterr().out


def test_a_report_is_written_into_the_folder_of_its_run(run: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["report", str(run), "--items", "10", "--particles", "25", "--corrected", "0"]) == 0
    assert (run / "report.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    assert list((run / "report_figures").glob("*.svg"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_counts_beyond_what_there_is_take_what_there_is(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["diagnose", str(run), "--items", "1000000000", "--particles", "25", "--json"]
    capsys.readouterr()
    assert cli.main(words) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["items"], found["simulated"]) == (20, 300)


@pytest.mark.parametrize("words", [["query", "--draws", "2000000000"], ["generate", "--items", "2000000000"]])
def test_counts_that_fill_the_memory_are_refused(words: list[str], run: Path, tmp_path: Path, capsys) -> None:
    capsys.readouterr()
    out = tmp_path / "drawn.npz"
    assert cli.main([words[0], str(run), *words[1:], "--out", str(out)]) == 2
    assert "and this machine has" in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.slow
def test_a_run_of_the_demo_knows_its_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train, test = datasets.load("mfeat").split(0.75, seed=0)
    folder = tmp_path / "mvae-pyro"
    first, again = (demo.trained("mfeat", "mvae", "pyro", train, folder, seed=0, epochs=0) for _ in range(2))
    assert demo.r2(again, train, test) == demo.r2(first, train, test)
    capsys.readouterr()
    shown = ["--particles", "1", "--given", "fou,fac,kar,pix,zer"]
    assert cli.main(["evaluate", str(folder), *shown, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["items"] == len(test) == 500


def test_what_training_warns_of_is_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = np.random.default_rng(0).normal(size=(20, 3))
    rows[:, 1] = np.nan
    np.savez(tmp_path / "data.npz", a=rows)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        assert cli.main(["fit", "vae", "--data", str(tmp_path / "data.npz"), *RUN, "--out", str(tmp_path / "run")]) == 0
    err = capsys.readouterr().err
    assert "\nWarning: nobody measured element 1 of modality 'a'" in f"\n{err}"
    assert "UserWarning" not in err
    assert "fitting.py" not in err
