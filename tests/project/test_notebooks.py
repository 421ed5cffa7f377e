"""Every notebook runs headless, and the outputs that were committed are in order."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

FOLDER = Path(__file__).parents[2] / "notebooks"
PATHS = sorted(FOLDER.glob("*.ipynb"))
STEMS = [path.stem for path in PATHS]
EACH = pytest.mark.parametrize("path", PATHS, ids=STEMS)
LONG = "234567"  # lessons that run too long for the quick tests, with the slow ones

# What a notebook may say on stderr.
EXPECTED = (
    "ArviZ is undergoing a major refactor",
)  # by the first import of each day; the dependency is capped below 1
ABSOLUTE = re.compile(r"(?<![\w.:/~])/(?:[\w.-]+/)+|\b[A-Za-z]:\\\w")  # a path of somebody's machine


def texts(notebook: nbformat.NotebookNode, kind: str = "") -> Iterator[str]:
    """The text of all outputs, or of one stream's."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if output.output_type == "stream" and kind in ("", output.name):
                yield output.text
            elif output.output_type != "stream" and not kind:
                yield "\n".join([*output.get("traceback", []), output.get("data", {}).get("text/plain", "")])


def test_there_are_seven_lessons() -> None:
    assert [path.stem[0] for path in PATHS] == ["1", "2", "3", "4", "5", "6", "7"]
    assert sum(path.stat().st_size for path in PATHS) < 1.5e6


@pytest.mark.parametrize(
    "path", [pytest.param(p, marks=pytest.mark.slow) if p.stem[0] in LONG else p for p in PATHS], ids=STEMS
)
def test_a_notebook_runs(path: Path, tmp_path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    place = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, timeout=600, kernel_name="python3", resources=place).execute()
    assert [text for text in texts(notebook, "stderr") if not any(known in text for known in EXPECTED)] == []


@EACH
def test_committed_outputs_are_those_of_one_run_from_top_to_bottom(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert sum(bool(cell.outputs) for cell in code) > len(code) / 2
    assert [output.evalue for cell in code for output in cell.outputs if output.output_type == "error"] == []


@EACH
def test_committed_outputs_are_clean(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    assert list(texts(notebook, "stderr")) == []
    assert [found[0] for text in texts(notebook) if (found := ABSOLUTE.search(text))] == []
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    assert [cell.metadata for cell in notebook.cells if cell.metadata] == []


@EACH
def test_a_notebook_begins_with_its_promise_and_ends_with_what_to_try(path: Path) -> None:
    first, last = (nbformat.read(path, as_version=4).cells[place] for place in (0, -1))
    assert re.match(rf"# {path.stem[0]} · \w", first.source)
    assert "you will" in first.source
    assert last.source.startswith("## What to try next\n")


@pytest.mark.parametrize("text", ["saved in /somebody/home/run", "see D:\\runs", "'/a/b'"])
def test_a_path_of_a_machine_is_found(text: str) -> None:
    assert ABSOLUTE.search(text)


@pytest.mark.parametrize("text", ["runs/quickstart", "nats / item", "q / p / r", "3/4", "https://arxiv.org/abs/1"])
def test_what_is_no_path_of_a_machine_is_not(text: str) -> None:
    assert not ABSOLUTE.search(text)
