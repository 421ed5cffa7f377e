"""Every block of the README and of CONTRIBUTING runs."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from ppvae.data.description import data_set, described
from ppvae.data.preprocessing import library_of
from ppvae.data.preprocessing.sounds import Recording

PHOTO, CALL = Image.new("RGB", (40, 40), "teal"), Recording(np.sin(np.arange(4000, dtype=np.float32)), 8000)
ROOT = Path(__file__).parents[2]


def blocks(file: str, language: str) -> list[str]:
    """The fenced blocks of a language, without the indentation of a list around them."""
    found = re.findall(rf"^( *)```{language}\n(.*?)^\1```", (ROOT / file).read_text(), re.S | re.M)
    return [re.sub(rf"^{indent}", "", body, flags=re.M) for indent, body in found]


@pytest.mark.parametrize(("file", "count"), [("README.md", 4), ("CONTRIBUTING.md", 1)])
def test_python_blocks_run_in_order(file, count, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    found = blocks(file, "python")
    assert len(found) == count
    names: dict[str, object] = {"__name__": "readme"}
    for number, block in enumerate(found):
        exec(compile(block, f"{file}, block {number + 1}", "exec"), names)
    if file == "README.md":
        named = re.search(r"named rightly from the picture: (\d+)%", capsys.readouterr().out)
        assert named is not None
        assert int(named[1]) > 60, "a guess is right one time in ten"


def test_the_first_block_on_data_of_ones_own_fills_names(capsys):
    exec(compile(blocks("docs/data.md", "python")[0], "docs/data.md", "exec"), {"__name__": "data"})
    out = capsys.readouterr().out
    assert "categorical (guessed: 3 different names)" in out
    assert re.search(r"bird 7 +(Adelie|Chinstrap|Gentoo)", out)


@pytest.mark.parametrize(
    "left_out", [("diagnose", "report"), pytest.param((), marks=pytest.mark.slow)], ids=["most", "all"]
)
def test_commands_run_in_order(left_out, tmp_path, monkeypatch):
    from ppvae.cli import app

    monkeypatch.chdir(tmp_path)
    lines = [line for block in blocks("README.md", "bash") for line in block.splitlines()]
    assert {line.split()[0] for line in lines} == {"make", "ppvae"}
    for line in lines:
        program, *words = shlex.split(line)
        if program == "ppvae" and words[0] not in left_out:
            result = CliRunner().invoke(app, words, catch_exceptions=False)
            assert result.exit_code == 0, f"{line}: {result.output}"


def test_what_is_described_becomes_a_data_set(tmp_path):
    (block,) = blocks("README.md", "toml")
    (tmp_path / "mine.toml").write_text(block)
    ids = ["a", "b", "c"]
    for folder, ending, kind, thing in (("photos", "png", "image", PHOTO), ("calls", "wav", "sound", CALL)):
        (tmp_path / folder).mkdir()
        for identity in ids[1:]:
            library_of(kind).write(tmp_path / folder / f"{identity}.{ending}", thing)
    (tmp_path / "captions.csv").write_text("id,caption\na,one\nb,two\n")
    data = data_set(described(tmp_path / "mine.toml"))
    assert {m.name: m.kind for m in data.modalities} == {"photo": "image", "caption": "text", "call": "sound"}
    assert sorted(data.ids) == ids
    assert {name: int(data.present(name).sum()) for name in data.arrays} == {"photo": 2, "caption": 2, "call": 2}


def test_make_knows_the_targets_that_the_readme_names():
    targets = re.findall(r"^make (\w+)$", "\n".join(blocks("README.md", "bash")), re.M)
    assert targets == ["demo", "test"]
    for target in targets:
        assert subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True).returncode == 0
