"""Memory: a description that does not fit into it is trained from disk, to the same losses and within bounds."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ppvae import cli
from ppvae.cli.apart import apart

TOML = """
[modalities.picture]
kind = "image"
folder = "pictures"

[modalities.colour]
kind = "category"
table = "colours.csv"
column = "colour"
"""
STATUS = Path("/proc/self/status")  # getrusage counts what the process held that has started this one
PEAK = f"""
import pathlib, re, sys
from ppvae import cli
assert cli.main(sys.argv[1:]) == 0
print(1024 * int(re.search("VmHWM[^0-9]*([0-9]+)", pathlib.Path("{STATUS}").read_text())[1]))
"""
on_linux = pytest.mark.skipif(not STATUS.exists(), reason="only Linux tells the peak of a process alone")


def described(root: Path, items: int, side: int) -> Path:
    rng = np.random.default_rng(0)
    (root / "pictures").mkdir()
    colours = rng.integers(0, 3, items)
    for i, colour in enumerate(colours):
        pixels = np.full((side, side, 3), 40 + rng.integers(0, 60), np.uint8)
        pixels[..., colour] += 100
        Image.fromarray(pixels).save(root / "pictures" / f"{i:05}.png", compress_level=1)
    lines = [f"{i:05},{'rgb'[colour]}\n" for i, colour in enumerate(colours)]
    (root / "colours.csv").write_text("id,colour\n" + "".join(lines))
    (root / "mine.toml").write_text(TOML)
    return root / "mine.toml"


def peak(words: list[str]) -> int:
    """The most bytes of memory that a command holds, compiled as users' are."""
    environment = {name: value for name, value in os.environ.items() if name != "JAX_DISABLE_MOST_OPTIMIZATIONS"}
    code = [sys.executable, "-c", PEAK]
    run = subprocess.run([*code, *words], capture_output=True, text=True, check=True, env=environment)
    return int(run.stdout.splitlines()[-1])


def test_what_is_wrong_with_data_is_told_by_the_process_that_reads_them(tmp_path: Path, capsys) -> None:
    file = described(tmp_path, 4, 8)
    file.write_text(TOML.replace('column = "colour"', 'column = "size"'))
    words = ["--memory", "10kB", "--out", str(tmp_path / "run")]
    assert cli.main(["fit", "mvae", "--data", str(file), *words]) == 2
    captured = capsys.readouterr()
    assert "has no column 'size'; it has id, colour" in captured.err
    assert "Traceback" not in captured.err


def test_a_process_that_is_ended_says_why() -> None:
    with pytest.raises(MemoryError, match="the process that read the data was ended"):
        apart(signal.raise_signal, signal.SIGKILL)


def test_what_does_not_fit_is_trained_from_disk_to_the_same_loss(tmp_path: Path, capsys) -> None:
    file = str(described(tmp_path, 30, 8))
    losses = []
    for memory in ("1GB", "10kB"):
        words = ["--backend", "pyro", "--epochs", "2", "--batch-size", "5", "--latent", "2", "--memory", memory]
        assert (
            cli.main(["fit", "mvae", "--data", file, "--out", str(tmp_path / "run"), "--force", "--json", *words]) == 0
        )
        losses.append(json.loads(capsys.readouterr().out)["loss"])
    assert losses[0] == losses[1]
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"pictures", "colours.csv", "mine.toml", "run"}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--data", "mfeat", "--memory", "1GB"], "--memory is for a description in .toml; 'mfeat' is read as a whole"),
        (["--memory", "much"], "'much' is no size such as 1GB or 800MB"),
    ],
)
def test_memory_is_a_size_and_for_descriptions(words: list[str], told: str, tmp_path: Path, capsys) -> None:
    assert cli.main(["fit", "mvae", "--out", str(tmp_path / "run"), *words]) == 2
    assert told in capsys.readouterr().err


@pytest.mark.slow
@on_linux
@pytest.mark.parametrize("backend", ["pyro", "numpyro"])
def test_the_peak_does_not_grow_with_the_data(backend: str, tmp_path: Path) -> None:
    """Ten times the pictures, 200 MB of numbers instead of 20, take less than a quarter of these more."""
    peaks = []
    for items in (400, 4000):
        root = tmp_path / str(items)
        root.mkdir()
        words = ["fit", "mvae", "--data", str(described(root, items, 64)), "--memory", "50MB"]
        more = ["--backend", backend, "--epochs", "1", "--batch-size", "16", "--latent", "2"]
        runs = (["--out", str(root / f"run {number}")] for number in range(2))  # what compiling takes moves by 50 MB
        peaks.append(min(peak([*words, *run, *more]) for run in runs))
    assert peaks[1] - peaks[0] < 50e6


@pytest.mark.slow
@on_linux
@pytest.mark.parametrize("backend", ["pyro", "numpyro"])
def test_pictures_are_trained_and_validated_within_a_gigabyte(backend: str, tmp_path: Path) -> None:
    """Two epochs with the default networks and batches: one epoch leaves less for the next."""
    words = ["fit", "mvae", "--data", str(described(tmp_path, 800, 64)), "--out", str(tmp_path / "run")]
    more = ["--memory", "20MB", "--backend", backend, "--epochs", "2"]
    assert peak([*words, *more]) < 1e9
