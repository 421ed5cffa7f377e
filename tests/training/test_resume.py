"""Resuming: a run that is killed ends with the bits of one that was not, on either backend or across both."""

import itertools
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
import torch

import ppvae
from ppvae import Dataset, cli
from ppvae.inference.fitted import Fitted
from ppvae.runs import checkpoint
from ppvae.runs.description import describe
from ppvae.runs.snapshot import Snapshot

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


def words(data: Path, backend: str, epochs: int, out: Path) -> list[str]:
    options = ["--latent", "2", "--set", "hidden=[16]", "--set", "checkpoint_every=2", "--set", "schedule=cosine"]
    fit = ["fit", "mvae", "--data", str(data), "--backend", backend, "--epochs", str(epochs), "--batch-size", "10"]
    return [*fit, *options, "--out", str(out)]


def tensors(run: Path) -> dict[str, np.ndarray]:
    return safetensors.numpy.load_file(run / WEIGHTS)


def history(run: Path) -> list[dict]:
    return [{k: v for k, v in entry.items() if k != "seconds"} for entry in ppvae.load(run).history]


def wait_until(condition: Callable[[], bool], process: subprocess.Popen) -> None:
    while not condition():
        assert process.poll() is None, "the run ended before it could be killed"
        time.sleep(0.001)


def kill_in_mid_epoch(command: list[str], run: Path) -> int:
    """Start the run, kill it a third of an epoch after its second checkpoint; return the epochs it kept."""
    with subprocess.Popen([PPVAE, *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        wait_until((run / WEIGHTS).exists, process)
        first = (run / WEIGHTS).stat().st_ino
        wait_until(lambda: (run / WEIGHTS).stat().st_ino != first, process)
        time.sleep(checkpoint.read(run)[1].history[-1].seconds / 3)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    return len(ppvae.load(run).history)


@pytest.mark.parametrize("backend", ["pyro", pytest.param("numpyro", marks=pytest.mark.slow)])
def test_a_killed_run_ends_with_the_same_bits(backend: str, data_file: Path, tmp_path: Path) -> None:
    epochs = {"pyro": 16, "numpyro": 100}[backend]
    kept = kill_in_mid_epoch(words(data_file, backend, epochs, tmp_path / "killed"), tmp_path / "killed")
    assert 0 < kept < epochs
    assert cli.main([*words(data_file, backend, epochs, tmp_path / "killed"), "--resume"]) == 0
    assert cli.main(words(data_file, backend, epochs, tmp_path / "whole")) == 0
    assert (tmp_path / "killed" / WEIGHTS).read_bytes() == (tmp_path / "whole" / WEIGHTS).read_bytes()
    assert history(tmp_path / "killed") == history(tmp_path / "whole")
    assert len(history(tmp_path / "whole")) == epochs


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


@pytest.mark.parametrize(
    ("first", "optimizer"), [("pyro", "adam"), ("pyro", "momentum"), ("pyro", "rmsprop"), ("numpyro", "adam")]
)
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


@pytest.mark.parametrize("first", [pytest.param("pyro", marks=pytest.mark.slow), "numpyro"])
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


def test_a_fitted_pair_goes_on_like_its_run(data: Dataset, tmp_path: Path) -> None:
    part, whole = (fit(data, "pyro", epochs, tmp_path / str(epochs), kl_warmup=1) for epochs in (2, 4))
    on = ppvae.fit(part, data, backend="pyro", epochs=4, batch_size=20, seed=5)
    assert_same(dict(whole.snapshot.weights), dict(on.snapshot.weights))


def test_a_parameter_that_is_never_used_does_not_stop_a_resume(data: Dataset, tmp_path: Path) -> None:
    for epochs, backend in enumerate(("pyro", "numpyro", "pyro"), 1):
        vae = ppvae.method("mvae", data.modalities, latent=2, hidden=(8,))
        vae.guide.idle = torch.nn.Parameter(torch.ones(2))
        fitted = ppvae.fit(vae, data, out=tmp_path, resume=True, backend=backend, epochs=epochs, batch_size=30)
    assert (fitted.snapshot.weights["guide.idle"] == 1).all()


def test_a_parameter_of_no_dimension_is_kept_as_one(data: Dataset, tmp_path: Path) -> None:
    for epochs, backend in enumerate(("pyro", "numpyro", "pyro"), 1):
        vae = ppvae.method("mvae", data.modalities, latent=2, hidden=(8,))
        vae.guide.idle = torch.nn.Parameter(torch.tensor(0.5))
        fitted = ppvae.fit(vae, data, out=tmp_path, resume=True, backend=backend, epochs=epochs, batch_size=30)
    assert fitted.snapshot.weights["guide.idle"].shape == ()
    assert tensors(tmp_path)["mu/guide.idle"].shape == ()
    assert ppvae.load(tmp_path, vae=vae).snapshot.weights["guide.idle"] == 0.5


@pytest.mark.parametrize("first", BACKENDS)
def test_a_run_of_no_epoch_can_be_resumed(first: str, data: Dataset, tmp_path: Path) -> None:
    fit(data, first, 0, tmp_path / "part")
    fit(data, "pyro", 2, tmp_path / "part", resume=True)
    fit(data, "pyro", 2, tmp_path / "whole")
    assert_same(tensors(tmp_path / "part"), tensors(tmp_path / "whole"))


def test_a_new_run_replaces_another_one_in_its_folder_where_that_is_asked_for(
    data: Dataset, tmp_path: Path, monkeypatch
) -> None:
    """Between its two files the folder is never a mixture of both runs."""
    fit(data, "pyro", 3, tmp_path)
    before, replace = tensors(tmp_path), os.replace
    other = ppvae.method("mmvae", data.modalities)
    with pytest.raises(ValueError, match=r"holds another run: .* --resume \(resume=True\).* --force \(force=True\)"):
        ppvae.fit(other, data, out=tmp_path, backend="pyro", epochs=1)
    assert_same(tensors(tmp_path), before)

    def killed(source: Path, target: Path) -> None:
        if target.name == WEIGHTS:
            raise GeneratorExit  # like Ctrl-C no Exception, but pytest's workers do not end by it
        replace(source, target)

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(GeneratorExit):
        ppvae.fit(other, data, out=tmp_path, backend="pyro", epochs=1, force=True)
    with pytest.raises(ValueError, match=r"weights\.safetensors is missing"):
        ppvae.load(tmp_path)
    monkeypatch.setattr(os, "replace", replace)
    assert len(ppvae.fit(other, data, out=tmp_path, backend="pyro", epochs=1, force=True).history) == 1
    assert ppvae.load(tmp_path).vae.recipe["method"] == "mmvae"


def write_one(folder: Path, epoch: int) -> None:
    """A checkpoint of a run whose weights and moments all equal the number of epochs behind them."""
    entries = [{"epoch": i + 1, "loss": 0.0, "sites": {}, "seconds": i + 0.5} for i in range(epoch)]
    tensors = {"w": np.full(20_000, epoch)}
    description = describe(versions={}, recipe=None, modalities=[], settings={}, history=entries, notes={})
    checkpoint.write(folder, Snapshot(tensors, {"mu": tensors}, epoch), description)


def write_for_ever(folder: Path) -> None:
    """Go on with the run, checkpoint after checkpoint; in a process of its own, to be killed."""
    for epoch in itertools.count(checkpoint.read(folder)[0].step + 1):
        write_one(folder, epoch)


def check_whole(folder: Path) -> int:
    snapshot, description = checkpoint.read(folder)
    assert len(description.history) == snapshot.step
    assert (snapshot.weights["w"] == snapshot.step).all()
    assert (snapshot.moments["mu"]["w"] == snapshot.step).all()
    return snapshot.step


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_folder_is_whole_whenever_its_writer_is_killed(tmp_path: Path) -> None:
    code = "import sys; from pathlib import Path; from test_resume import kill_writers; kill_writers(Path(sys.argv[1]))"
    command = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, check=False, cwd=Path(__file__).parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    steps = [int(step) for step in done.stdout.split()]
    assert steps == sorted(steps)
    assert steps[-1] > 20


def kill_writers(folder: Path, times: int = 100) -> None:
    """Fork a writer, kill it after a random time, read what it left; a plain process, since threads and fork clash."""
    rng = np.random.default_rng(0)
    begin = time.perf_counter()
    for epoch in range(1, 11):
        write_one(folder, epoch)
    each = (time.perf_counter() - begin) / 10
    for _ in range(times):
        writer = os.fork()
        if writer == 0:
            write_for_ever(folder)
        time.sleep(rng.uniform(0, 4 * each))
        os.kill(writer, signal.SIGKILL)
        os.waitpid(writer, 0)
        print(check_whole(folder), flush=True)


def test_a_reader_never_sees_half_a_checkpoint(tmp_path: Path) -> None:
    write_one(tmp_path, 1)
    writer = threading.Thread(target=lambda: [write_one(tmp_path, epoch) for epoch in range(2, 40)])
    writer.start()
    steps = [check_whole(tmp_path)]
    while writer.is_alive():
        steps.append(check_whole(tmp_path))
    writer.join()
    assert check_whole(tmp_path) == 39
    assert steps == sorted(steps)
