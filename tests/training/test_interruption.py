"""Interruption: whatever ends a training leaves its last whole epoch; what could not be saved is said before it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ppvae
from ppvae import Dataset, Modality
from ppvae.inference.fitted import Fitted

BACKENDS = ("pyro", "numpyro")
WEIGHTS = "weights.safetensors"
EVERY = {"checkpoint_every": 1000}


def numbers() -> Dataset:
    rng = np.random.default_rng(1)
    return Dataset({"a": rng.normal(size=(200, 4))})


@pytest.fixture(scope="module")
def data() -> Dataset:
    return numbers()


def fit(data: Dataset, backend: str = "pyro", **options: Any) -> Fitted:
    vae = ppvae.method("vae", data.modalities, latent=2, hidden=(8,))
    return ppvae.fit(vae, data, **{"backend": backend, "epochs": 6, "batch_size": 20, "seed": 5, **EVERY, **options})


def breaking(entry: Mapping[str, Any]) -> None:
    if entry["epoch"] == 3:
        raise RuntimeError("the tracker is gone")


def signalled(out: str, number: int) -> None:
    """Train until this process sends itself a signal in the middle of the fourth epoch."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever runs the tests may ignore it
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # as nohup does

    def send(entry: Mapping[str, Any]) -> None:
        if entry["epoch"] == 3:
            threading.Timer(entry["seconds"] / 2, os.kill, (os.getpid(), number)).start()

    fit(numbers(), epochs=600, out=out, callbacks=[send])


def check_resumes(backend: str, data: Dataset, tmp_path: Path) -> None:
    """The run in ``cut`` ends with the bytes of one that nothing cut short."""
    kept = len(ppvae.load(tmp_path / "cut").history)
    fit(data, backend, epochs=kept + 2, out=tmp_path / "cut", resume=True)
    fit(data, backend, epochs=kept + 2, out=tmp_path / "whole")
    assert (tmp_path / "cut" / WEIGHTS).read_bytes() == (tmp_path / "whole" / WEIGHTS).read_bytes()


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_run_that_a_callback_breaks_resumes_to_the_same_bits(backend: str, data: Dataset, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="the tracker is gone"):
        fit(data, backend, epochs=600, out=tmp_path / "cut", callbacks=[breaking])
    assert len(ppvae.load(tmp_path / "cut").history) == 3
    check_resumes(backend, data, tmp_path)


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, -signal.SIGINT), (signal.SIGTERM, 128 + signal.SIGTERM), (signal.SIGHUP, 128 + signal.SIGHUP)],
    ids=["INT", "TERM", "HUP"],
)
def test_a_run_that_a_signal_ends_resumes_to_the_same_bits(
    number: int, code: int, data: Dataset, tmp_path: Path
) -> None:
    run = f"import test_interruption as tests; tests.signalled({str(tmp_path / 'cut')!r}, {int(number)})"
    done = subprocess.run([sys.executable, "-c", run], cwd=Path(__file__).parent, capture_output=True, check=False)
    assert done.returncode == code, done.stderr.decode()
    assert 3 <= len(ppvae.load(tmp_path / "cut").history) < 600
    check_resumes("pyro", data, tmp_path)


def test_what_handles_signals_stays_as_it_was(data: Dataset) -> None:
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    seen: list[Any] = []
    fit(data, epochs=1, callbacks=[lambda entry: seen.append(signal.getsignal(signal.SIGTERM))])
    assert seen[0] is not signal.SIG_DFL
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    mine = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        fit(data, epochs=1, callbacks=[lambda entry: seen.append(signal.getsignal(signal.SIGTERM))])
    finally:
        signal.signal(signal.SIGTERM, mine)
    assert seen[1] is signal.SIG_IGN
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(fit, data, epochs=1).result().history


def test_an_exception_before_the_first_epoch_is_over_leaves_the_run_that_was_there(
    data: Dataset, tmp_path: Path
) -> None:
    fit(data, epochs=1, out=tmp_path)
    before = (tmp_path / WEIGHTS).read_bytes()
    with pytest.raises(FloatingPointError, match="lower lr"):
        fit(data, epochs=2, lr=1e18, out=tmp_path, force=True)
    assert (tmp_path / WEIGHTS).read_bytes() == before


@pytest.mark.parametrize("backend", BACKENDS)
def test_weights_that_the_last_update_spoilt_replace_no_checkpoint(backend: str, data: Dataset, tmp_path: Path) -> None:
    """The loss is that before the update, and finite."""
    steep = Dataset({"a": 1e12 * data.arrays["a"]}, modalities=[Modality("a", (4,), center=0.0, spread=1.0)])
    options = {"batch_size": 200, "optimizer": "sgd", "out": tmp_path}
    fit(steep, backend, epochs=0, **options)
    before = (tmp_path / WEIGHTS).read_bytes()
    with pytest.raises(FloatingPointError, match=r"the weight '.*' is no longer finite after step 1; lower lr"):
        fit(steep, backend, epochs=1, lr=1e18, resume=True, **options)
    assert (tmp_path / WEIGHTS).read_bytes() == before


@pytest.mark.parametrize(
    ("notes", "said"),
    [
        ({"fine": 1, "score": float("nan")}, "the note 'score' cannot be kept in a run folder, as JSON: .*not JSON"),
        ({"spread": np.array([1.0, np.inf])}, "the note 'spread' cannot be kept"),
        ({"who": {"me", "you"}}, "the note 'who' .* it holds a set; keep numbers, text"),
        ({("a", "b"): 1}, r"the note \('a', 'b'\) cannot be kept"),
    ],
)
def test_notes_that_could_not_be_saved_are_refused_before_training(
    notes: dict[Any, Any], said: str, data: Dataset, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=said):
        fit(data, notes=notes, out=tmp_path / "never", callbacks=[pytest.fail])
    assert not (tmp_path / "never").exists()


def test_numbers_of_numpy_are_kept_as_pythons(data: Dataset, tmp_path: Path) -> None:
    notes = {"score": np.float32(0.5), "rows": np.arange(3), "deep": [{"count": np.int64(2)}]}
    fitted = fit(data, epochs=0, notes=notes, out=tmp_path)
    kept = {name: ppvae.load(tmp_path).notes[name] for name in notes}
    assert kept == {"score": 0.5, "rows": [0, 1, 2], "deep": [{"count": 2}]}
    assert kept == {name: fitted.notes[name] for name in notes}


def test_a_modality_may_be_told_in_numbers_of_numpy(data: Dataset, tmp_path: Path) -> None:
    modalities = [Modality("a", (np.int64(4),), scale=np.float32(0.5))]
    fit(Dataset(data.arrays, modalities=modalities), epochs=0, out=tmp_path)
    (kept,) = ppvae.load(tmp_path).modalities
    assert (kept.shape, kept.scale) == ((4,), 0.5)


@pytest.mark.parametrize("place", ["file", "file/run"])
def test_a_folder_that_cannot_be_written_is_refused_before_training(place: str, data: Dataset, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ValueError, match=f"cannot write the run folder .*{place}"):
        fit(data, out=tmp_path / place, callbacks=[pytest.fail])
    assert (tmp_path / "file").read_text() == "mine"


def test_what_a_callback_writes_into_its_entry_cannot_spoil_the_history(data: Dataset, tmp_path: Path) -> None:
    def write(entry: Any) -> None:
        entry["figure"], entry["sites"]["z"] = object(), None

    fitted = fit(data, epochs=2, out=tmp_path, callbacks=[write])
    assert [set(entry) for entry in ppvae.load(tmp_path).history] == [
        {"epoch", "loss", "sites", "gradient_norm", "seconds"}
    ] * 2
    assert all(entry["sites"]["z"] is not None for entry in fitted.history)
