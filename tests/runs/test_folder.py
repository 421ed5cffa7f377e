"""The folder of a run: one writer at a time, nothing of anybody else's replaced, and nothing lost on a full disk."""

import errno
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from run_folders import RUN, WEIGHTS, data_set, fit

import ppvae
from ppvae import cli
from ppvae.inference.fitted import Fitted
from ppvae.runs import checkpoint
from ppvae.runs.description import Description, describe
from ppvae.runs.snapshot import Snapshot

HOLDER = """
import sys, time
sys.path.append("../harness")
from test_folder import described
from ppvae.runs import checkpoint

with checkpoint.claimed(sys.argv[1], described(1)):
    (checkpoint.Path(sys.argv[1]) / ".weights.safetensors.1").write_bytes(b"half")
    print("held", flush=True)
    time.sleep(600)
"""


def described(epochs: int, loss: float = 0.0) -> Description:
    history = [{"epoch": i + 1, "loss": loss, "sites": {}, "seconds": 0.1} for i in range(epochs)]
    return describe(versions={}, recipe=None, modalities=[], settings={}, history=history, notes={})


def write(folder: Path, epochs: int, size: int = 10, loss: float = 0.0) -> None:
    with checkpoint.claimed(folder, described(epochs, loss)):
        tensors = {"w": np.full(size, epochs, np.float32)}
        checkpoint.write(folder, Snapshot(tensors, {}, epochs), described(epochs, loss))


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {".lock"}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Fitted:
    return fit(data_set(), 1)


def test_who_may_read_the_description_may_read_the_weights(tmp_path: Path) -> None:
    write(tmp_path, 1)
    assert len({(tmp_path / name).stat().st_mode for name in (WEIGHTS, RUN)}) == 1


def test_weights_that_may_not_be_read_are_not_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*words: object, **options: object) -> None:
        raise FileNotFoundError("what safetensors says then")

    write(tmp_path, 1)
    monkeypatch.setattr(checkpoint, "safe_open", refused)
    with pytest.raises(ValueError, match="may not be read: permission denied"):
        checkpoint.read(tmp_path)


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen]:
    """A process that holds the folder ``run``."""
    command = [sys.executable, "-c", HOLDER, str(tmp_path / "run")]
    with subprocess.Popen(command, cwd=Path(__file__).parent, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_folder_has_one_writer_until_its_death(holder: subprocess.Popen, trained: Fitted, tmp_path: Path) -> None:
    run = tmp_path / "run"
    who = f"'{run}' is in use by process {holder.pid} on {socket.gethostname()}: wait until it has ended"
    for force in (False, True):
        with pytest.raises(ValueError, match=who):
            trained.save(run, force=force)
        with pytest.raises(ValueError, match=who):
            fit(data_set(), 1, run, force=force)
    with pytest.raises(ValueError, match=who):
        fit(data_set(), 1, run, resume=True)
    holder.send_signal(signal.SIGKILL)
    assert holder.wait() == -signal.SIGKILL
    assert names(run) == {".weights.safetensors.1"}
    fit(data_set(), 1, run)
    assert names(run) == {RUN, WEIGHTS}


def test_two_trainings_in_two_threads_do_not_share_a_folder(tmp_path: Path) -> None:
    inside, done, run = threading.Event(), threading.Event(), tmp_path / "run"

    def wait(entry: dict) -> None:
        inside.set()
        done.wait(60)

    thread = threading.Thread(target=lambda: fit(data_set(), 1, run, callbacks=[wait]))
    thread.start()
    assert inside.wait(60)
    try:
        with pytest.raises(ValueError, match=f"in use by process {os.getpid()} on"):
            fit(data_set(), 1, run)
    finally:
        done.set()
        thread.join()
    assert len(ppvae.load(run).history) == 1


def test_a_folder_is_free_again_and_leaves_no_trace_where_nothing_was_written(tmp_path: Path) -> None:
    for _ in range(2):
        with pytest.raises(ZeroDivisionError), checkpoint.claimed(tmp_path / "run", described(1)):
            _ = 1 / 0
        assert not (tmp_path / "run").exists()
    write(tmp_path / "run", 1)
    write(tmp_path / "run", 2)


def test_a_run_may_be_saved_again_and_when_it_has_gone_on(trained: Fitted, tmp_path: Path) -> None:
    on = ppvae.fit(trained, data_set(), backend="pyro", epochs=2, batch_size=20, seed=5)
    for run in (trained, trained, fit(data_set(), 1), on, on):
        run.save(tmp_path)
    with pytest.raises(ValueError, match="holds another run"):
        trained.save(tmp_path)
    assert len(ppvae.load(tmp_path).history) == 2
    trained.save(tmp_path, force=True)
    assert len(ppvae.load(tmp_path).history) == 1


@pytest.mark.parametrize("there", ["notes.txt", ".git", "data.npz", RUN, WEIGHTS])
def test_a_folder_of_something_else_is_left_alone(there: str, trained: Fitted, tmp_path: Path) -> None:
    (tmp_path / there).write_text("mine")
    for attempt in (
        trained.save,
        lambda out: fit(data_set(), 1, out),
        lambda out: fit(data_set(), 1, out, resume=True),
    ):
        with pytest.raises(ValueError, match=r"holds files that are no run|damaged"):
            attempt(tmp_path)
        assert (tmp_path / there).read_text() == "mine"
    trained.save(tmp_path, force=True)
    assert len(ppvae.load(tmp_path).history) == 1
    assert {there, RUN, WEIGHTS} == names(tmp_path)


def test_a_run_is_replaced_only_by_force_or_by_going_on_from_it(trained: Fitted, tmp_path: Path) -> None:
    before = fit(data_set(), 2, tmp_path)
    for options in ({}, {"epochs": 3}, {"seed": 6}):
        with pytest.raises(ValueError, match=r"holds another run: .*resume=True.*force=True"):
            fit(data_set(), **{"epochs": 2, "out": tmp_path, **options})
    assert (tmp_path / WEIGHTS).exists()
    np.testing.assert_array_equal(ppvae.load(tmp_path).history[-1]["loss"], before.history[-1]["loss"])
    assert len(fit(data_set(), 3, tmp_path, resume=True).history) == 3
    assert len(fit(data_set(), 1, tmp_path, force=True, seed=6).history) == 1
    assert ppvae.load(tmp_path).settings.seed == 6


def test_a_file_is_no_folder(trained: Fitted, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for path in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(ValueError, match=f"cannot write the run folder '{path}': "):
            trained.save(path, force=True)
        with pytest.raises(ValueError, match=f"cannot write the run folder '{path}': "):
            fit(data_set(), 1, path, force=True)
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"batch_size": 10}, "trained with batch_size 20"),
        ({"dtype": "float64"}, "trained with dtype 'float32'"),
        ({"seed": 6}, "trained with seed 5"),
        ({"optimizer": "sgd"}, "trained with optimizer 'adam'"),
    ],
)
def test_a_run_is_resumed_with_what_fixes_its_bits(options: dict, said: str, tmp_path: Path) -> None:
    fit(data_set(), 1, tmp_path)
    with pytest.raises(ValueError, match=said):
        fit(data_set(), 2, tmp_path, resume=True, **options)
    fit(data_set(), 2, tmp_path, resume=True, lr=0.1, schedule="cosine", clip=1.0, kl_warmup=1, particles=2)


def test_a_run_is_resumed_with_its_rows_in_their_order(tmp_path: Path) -> None:
    data = data_set()
    fit(data, 1, tmp_path)
    for other, said in {
        "in another order": data.take(np.arange(60)[::-1]),
        "on other data": data_set(2),
        "with other modalities": data.like([replace(m, likelihood="laplace") for m in data.modalities]),
    }.items():
        with pytest.raises(ValueError, match=f"this run was trained .*{other}"):
            ppvae.fit(ppvae.load(tmp_path).vae, said, out=tmp_path, resume=True, **options_of(tmp_path))
    assert len(fit(data.take(np.arange(60)), 2, tmp_path, resume=True).history) == 2


def options_of(run: Path) -> dict:
    return ppvae.load(run).settings.model_dump()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 200 KiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(place)]
    if os.geteuid() or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("needs the right to mount a small disk")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk_is_one_sentence_and_the_checkpoint_before_stays(small_disk: Path) -> None:
    run = small_disk / "run"
    write(run, 1, size=30_000)
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    for size in (30_000, 50_000, 1_000_000):
        with pytest.raises(OSError, match=r"^\[Errno 28\] No space left on device; what was there stays: ") as caught:
            write(run, 2, size=size)
        assert caught.value.errno == errno.ENOSPC
        assert {path.name: path.read_bytes() for path in run.iterdir()} == before
        assert checkpoint.read(run)[0].step == 1


# No file of a command after these words may grow beyond 4 KiB, which the system refuses as it refuses a full disk.
SMALL_FILES = ["bash", "-c", 'ulimit -f 4 && exec "$@"', "-"]


@pytest.fixture
def place(trained: Fitted, tmp_path: Path, monkeypatch) -> Path:
    """A folder of a run and its data, which the commands start in."""
    monkeypatch.chdir(tmp_path)
    trained.save("run")
    np.savez("data.npz", **data_set().arrays)
    return tmp_path


DRAWS, FIT = ["generate", "run", "--items", "300"], ["fit", "mvae", "--data", "data.npz", "--backend", "pyro"]


@pytest.mark.parametrize(
    ("words", "out", "file"), [(DRAWS, "drawn.npz", "drawn.npz"), ([*FIT, "--epochs", "1"], "run", f"run/{WEIGHTS}")]
)
def test_a_command_says_what_stays_where_the_disk_is_full(words: list[str], out: str, file: str, place: Path) -> None:
    before = {path: path.read_bytes() for path in place.rglob("*.*")}
    command = [*SMALL_FILES, Path(sys.executable).with_name("ppvae"), *words, "--out", out, "--force"]
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, f"Error: {file}: File too large; what was there stays\n")
    assert {path: path.read_bytes() for path in place.rglob("*.*") if path.name != ".lock"} == {
        path: whole for path, whole in before.items() if path.name != ".lock"
    }


@pytest.mark.parametrize("words", [["query", "run", "--data", "data.npz"], ["generate", "run", "--items", "2"]])
def test_what_is_drawn_replaces_a_file_only_by_force(words: list[str], place: Path, capsys) -> None:
    data, weights = Path("data.npz").read_bytes(), Path("run", WEIGHTS).read_bytes()
    assert cli.main([*words, "--out", "data.npz"]) == 2
    assert "is there already: choose another name, or replace it with --force" in capsys.readouterr().err
    assert cli.main([*words, "--out", "run"]) == 2
    assert "is not empty: choose another name, or write into it with --force" in capsys.readouterr().err
    for name in (f"run/{WEIGHTS}", "/dev/null"):
        assert cli.main([*words, "--out", name, "--force"]) == 2
        assert "is no folder: answers are written to a folder, or to a file that" in capsys.readouterr().err
    assert Path("run", WEIGHTS).read_bytes() == weights
    assert Path("data.npz").read_bytes() == data
    for flags in ([], ["--force"]):
        assert cli.main([*words, "--out", "drawn.npz", *flags]) == 0
    assert {path.name for path in place.iterdir()} == {"run", "data.npz", "drawn.npz"}
