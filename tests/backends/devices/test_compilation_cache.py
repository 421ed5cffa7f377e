"""Compilation cache: the next command finds what the last one compiled, and whoever sets JAX's variables decides."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ppvae.backends.devices import compilation_cache


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Of a process that nobody has told anything, whose home is empty."""
    fresh = {"HOME": str(tmp_path), "PATH": os.environ["PATH"]}
    monkeypatch.setattr(os, "environ", fresh)
    return fresh


def test_what_one_command_compiled_the_next_one_loads(environment: dict[str, str], tmp_path: Path) -> None:
    """The same program in another process, of a method whose terms NumPyro orders by a set."""
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "data.npz", a=rng.normal(size=(20, 3)), b=rng.normal(size=(20, 2)))
    words = ["fit", "mopoe", "--data", tmp_path / "data.npz", "--set", "epochs=1", "--backend", "numpyro", "--out"]
    kept, weights = [], []
    for name in ("first", "second"):
        command = [sys.executable, "-m", "ppvae", *words, tmp_path / name]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        assert "cpu_aot_loader" not in done.stderr
        kept.append({path.name for path in tmp_path.rglob(".cache/ppvae/compiled/*/*-cache")})
        weights.append((tmp_path / name / "weights.safetensors").read_bytes())
    assert kept[0] == kept[1] != set()
    assert weights[0] == weights[1]


def test_jax_is_told_a_folder_of_this_kind_of_processor(environment: dict[str, str], tmp_path: Path) -> None:
    compilation_cache.keep()
    folder = Path(environment[compilation_cache.FOLDER])
    assert folder.is_dir()
    assert folder.parent == tmp_path / ".cache/ppvae/compiled"
    assert set(compilation_cache.SETTINGS) <= set(environment)


@pytest.mark.parametrize(
    "said", [{compilation_cache.SWITCH: "off"}, {compilation_cache.FOLDER: "elsewhere"}, {"WORLD_SIZE": "2"}], ids=str
)
def test_whoever_says_something_else_decides(environment: dict[str, str], said: dict[str, str]) -> None:
    environment |= said
    before = dict(environment)
    compilation_cache.keep()
    assert environment == before


def test_one_of_jaxs_settings_stays_as_it_is(environment: dict[str, str]) -> None:
    environment["JAX_COMPILATION_CACHE_MAX_SIZE"] = "1000"
    compilation_cache.keep()
    assert environment["JAX_COMPILATION_CACHE_MAX_SIZE"] == "1000"


def test_a_home_that_cannot_be_written_to_keeps_nothing(environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / ".cache").write_text("no folder")
    before = dict(environment)
    compilation_cache.keep()
    assert environment == before


def test_what_a_killed_process_left_is_removed(environment: dict[str, str]) -> None:
    compilation_cache.keep()
    folder = Path(environment.pop(compilation_cache.FOLDER))
    for name in ("whole-cache", "whole-atime", "torn-cache", "new-cache"):
        (folder / name).write_bytes(b"")
        if name != "new-cache":
            os.utime(folder / name, (0, 0))
    compilation_cache.keep()
    assert {path.name for path in folder.iterdir()} == {"whole-cache", "whole-atime", "new-cache"}
