"""Resuming: a run that is killed ends with the bits of one that was not, on either backend or across both."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

import ppvae
from ppvae import Dataset, checkpoint
from ppvae.backends.plan import Snapshot
from ppvae.posterior import Fitted

WEIGHTS = "weights.safetensors"
BACKENDS = ("pyro", "numpyro")
PPVAE = Path(sys.executable).with_name("ppvae")


@pytest.fixture(scope="session")
def data_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("resume") / "data.npz"
    rng = np.random.default_rng(0)
    a = rng.normal(size=(400, 6))
    a[:40, :3] = np.nan
    np.savez(path, a=a, b=rng.poisson(2.0, size=(400, 5)).astype(float))
    return path


def words(data: Path, backend: str, epochs: int, out: Path) -> list[str | Path]:
    options = ["--latent", "2", "--set", "hidden=[16]", "--set", "checkpoint_every=2", "--set", "schedule=cosine"]
    fit = ["fit", "mvae", "--data", data, "--backend", backend, "--epochs", str(epochs), "--batch-size", "10"]
    return [PPVAE, *fit, *options, "--out", out]


def tensors(run: Path) -> dict[str, np.ndarray]:
    return safetensors.numpy.load_file(run / WEIGHTS)


def history(run: Path) -> list[dict]:
    return [{k: v for k, v in entry.items() if k != "seconds"} for entry in ppvae.load(run).history]


def wait_until(condition: Callable[[], bool], process: subprocess.Popen) -> None:
    while not condition():
        assert process.poll() is None, "the run ended before it could be killed"
        time.sleep(0.001)


def kill_in_mid_epoch(command: list[str | Path], run: Path) -> int:
    """Start the run, kill it a third of an epoch after its second checkpoint; return the epochs it kept."""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        wait_until((run / WEIGHTS).exists, process)
        first = (run / WEIGHTS).stat().st_ino
        wait_until(lambda: (run / WEIGHTS).stat().st_ino != first, process)
        time.sleep(ppvae.load(run).history[-1]["seconds"] / 3)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    return len(ppvae.load(run).history)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_killed_run_ends_with_the_same_bits(backend: str, data_file: Path, tmp_path: Path) -> None:
    epochs = {"pyro": 60, "numpyro": 2000}[backend]
    command = words(data_file, backend, epochs, tmp_path / "killed")
    kept = kill_in_mid_epoch(command, tmp_path / "killed")
    assert 0 < kept < epochs
    # The whole run is as long as the killed one was meant to be, or its schedule would differ.
    for folder, more in (("killed", ["--resume"]), ("whole", [])):
        done = subprocess.run([*words(data_file, backend, epochs, tmp_path / folder), *more, "--json"], **PIPES)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["epochs"] == epochs
    assert (tmp_path / "killed" / WEIGHTS).read_bytes() == (tmp_path / "whole" / WEIGHTS).read_bytes()
    assert history(tmp_path / "killed") == history(tmp_path / "whole")


PIPES = {"capture_output": True, "text": True, "check": False}


@pytest.fixture(scope="module")
def data() -> Dataset:
    rng = np.random.default_rng(1)
    return Dataset({"a": rng.normal(size=(60, 4)), "b": rng.normal(size=(60, 3))})


def fit(data: Dataset, backend: str, epochs: int, run: Path, resume: bool = False, **options: object) -> Fitted:
    vae = ppvae.method("mvae", data.modalities, latent=2, hidden=(8,))
    chosen = {"backend": backend, "epochs": epochs, "batch_size": 20, "seed": 5, **options}
    return ppvae.fit(vae, data, out=run, resume=resume, **chosen)


def assert_same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> None:
    assert one.keys() == other.keys()
    for name, array in one.items():
        np.testing.assert_array_equal(array, other[name], err_msg=name)


@pytest.mark.parametrize("optimizer", ["adam", "momentum", "rmsprop"])
@pytest.mark.parametrize("first", BACKENDS)
def test_a_switch_of_backend_carries_every_tensor_over(
    first: str, optimizer: str, data: Dataset, tmp_path: Path
) -> None:
    other = BACKENDS[1 - BACKENDS.index(first)]
    fit(data, first, 2, tmp_path, optimizer=optimizer)
    before = tensors(tmp_path)
    assert any(not name.startswith("weights/") and array.any() for name, array in before.items())
    for backend in (other, first):
        switched = fit(data, backend, 2, tmp_path, resume=True, optimizer=optimizer)
        assert (switched.snapshot.step, switched.settings.backend) == (6, backend)
        assert_same(tensors(tmp_path), before)


@pytest.mark.parametrize("first", BACKENDS)
def test_a_run_goes_on_with_the_other_backend(first: str, data: Dataset, tmp_path: Path) -> None:
    other = BACKENDS[1 - BACKENDS.index(first)]
    fit(data, first, 2, tmp_path)
    fitted = fit(data, other, 3, tmp_path, resume=True)
    assert [entry["epoch"] for entry in fitted.history] == [1, 2, 3]
    assert fitted.snapshot.step == 9
    weight = "model.likelihoods.a.decoder.0.weight"
    before, after = fitted.snapshot.moments["nu"][weight], ppvae.load(tmp_path).snapshot.moments["nu"][weight]
    np.testing.assert_array_equal(before, after)
    # Adam's second moment decays by 0.999 a step: had the new backend started afresh, it would be far smaller.
    fresh = fit(data, other, 1, tmp_path / "fresh")
    assert before.mean() > 1.5 * fresh.snapshot.moments["nu"][weight].mean()


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_fitted_pair_goes_on_like_its_run(backend: str, data: Dataset, tmp_path: Path) -> None:
    part = fit(data, backend, 2, tmp_path / "part")
    options = {"backend": backend, "batch_size": 20, "seed": 5}
    whole, on = fit(data, backend, 4, tmp_path / "whole"), ppvae.fit(part, data, epochs=4, **options)
    assert_same(dict(whole.snapshot.weights), dict(on.snapshot.weights))


@pytest.mark.parametrize("first", BACKENDS)
def test_a_parameter_that_is_never_used_does_not_stop_a_resume(first: str, data: Dataset, tmp_path: Path) -> None:
    import torch

    def pair() -> ppvae.VAE:
        vae = ppvae.method("mvae", data.modalities, latent=2, hidden=(8,))
        vae.guide.idle = torch.nn.Linear(2, 2)
        torch.nn.init.ones_(vae.guide.idle.weight)
        torch.nn.init.ones_(vae.guide.idle.bias)
        return vae

    for backend, epochs in ((first, 1), (BACKENDS[1 - BACKENDS.index(first)], 2), (first, 3)):
        fitted = ppvae.fit(pair(), data, out=tmp_path, resume=True, backend=backend, epochs=epochs, batch_size=30)
    assert (fitted.snapshot.weights["guide.idle.weight"] == 1).all()


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_run_of_no_epoch_can_be_resumed(backend: str, data: Dataset, tmp_path: Path) -> None:
    fit(data, backend, 0, tmp_path / "part")
    fit(data, backend, 2, tmp_path / "part", resume=True)
    fit(data, backend, 2, tmp_path / "whole")
    assert_same(tensors(tmp_path / "part"), tensors(tmp_path / "whole"))


def test_a_new_run_replaces_another_one_in_its_folder(data: Dataset, tmp_path: Path, monkeypatch) -> None:
    """Between its two files the folder is never a mixture of both runs."""
    fit(data, "pyro", 3, tmp_path)
    monkeypatch.setattr(checkpoint, "_flat", lambda snapshot: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        ppvae.fit(ppvae.method("mmvae", data.modalities), data, out=tmp_path, backend="pyro", epochs=1)
    with pytest.raises(ValueError, match=r"weights\.safetensors is missing"):
        ppvae.load(tmp_path)


def snapshots(count: int) -> list[tuple[Snapshot, dict]]:
    """Checkpoints of a run whose weights all equal the number of epochs behind them."""
    entries = [{"epoch": i + 1, "loss": 0.0, "sites": {}, "seconds": i + 0.5} for i in range(count)]
    return [
        (Snapshot({"w": np.full(20_000, i)}, {"mu": {"w": np.full(20_000, i)}}, i), {"history": entries[:i]})
        for i in range(1, count)
    ]


def write_for_ever(folder: Path) -> None:
    """Write checkpoint after checkpoint; run in a process of its own, to be killed."""
    while True:
        for snapshot, description in snapshots(6):
            checkpoint.write(folder, snapshot, description)


def check_whole(folder: Path) -> int:
    snapshot, description = checkpoint.read(folder)
    assert len(description["history"]) == snapshot.step
    assert (snapshot.weights["w"] == snapshot.step).all()
    assert (snapshot.moments["mu"]["w"] == snapshot.step).all()
    return snapshot.step


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_folder_is_whole_whenever_its_writer_is_killed(tmp_path: Path) -> None:
    rng, seen = np.random.default_rng(0), set()
    code = "import sys; from pathlib import Path; from test_resume import *; forked(Path(sys.argv[1]), int(sys.argv[2]))"
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path), str(rng.integers(1000))], cwd=Path(__file__).parent, **PIPES
    )
    assert done.returncode == 0, done.stderr[-2000:]
    seen = {int(step) for step in done.stdout.split()}
    assert len(seen) > 2


def forked(folder: Path, seed: int, times: int = 150) -> None:
    """Fork a writer, kill it after a random time, read what it left; a plain process, since threads and fork clash."""
    rng = np.random.default_rng(seed)
    checkpoint.write(folder, *snapshots(2)[0])
    for _ in range(times):
        writer = os.fork()
        if writer == 0:
            write_for_ever(folder)
        time.sleep(rng.uniform(0, 0.03))
        os.kill(writer, signal.SIGKILL)
        os.waitpid(writer, 0)
        print(check_whole(folder))


def test_a_reader_never_sees_half_a_checkpoint(tmp_path: Path) -> None:
    written = snapshots(30)
    checkpoint.write(tmp_path, *written[0])
    writer = threading.Thread(target=lambda: [checkpoint.write(tmp_path, *each) for each in written])
    writer.start()
    steps = [check_whole(tmp_path)]
    while writer.is_alive():
        steps.append(check_whole(tmp_path))
    writer.join()
    assert check_whole(tmp_path) == len(written)
    assert steps == sorted(steps)
