"""Processes: two that share each batch train as one does; where one is killed the other says so and keeps the run."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shared_runs

import ppvae
from ppvae.backends.devices import processes
from ppvae.runs.settings import Settings
from ppvae.training.epochs import engine_of
from ppvae.training.feeding import feeding

QUICK = {"pyro": ["from disk", "uneven shares"], "numpyro": ["from disk"]}
ALL = {backend: [name for name in shared_runs.runs(backend) if name not in QUICK[backend]] for backend in QUICK}
SOME = [pytest.param((backend, QUICK[backend]), id=backend) for backend in QUICK]
OTHERS = [pytest.param((backend, ALL[backend]), id=f"{backend}-all", marks=pytest.mark.slow) for backend in ALL]


@pytest.fixture(scope="module", params=[*SOME, *OTHERS])
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What one process tells of some runs, and what two do that share them."""
    (backend, names), folder = request.param, tmp_path_factory.mktemp("runs")
    with shared_runs.started(["shared_runs", backend, str(folder), *names]) as two:
        one = shared_runs.trained(backend, names)
        codes = [(code, errors) for code, _, errors in shared_runs.ended(two)]
    assert [code for code, _ in codes] == [0, 0], codes
    return [one, *(json.loads((folder / f"{rank}.json").read_text()) for rank in range(2))]


def test_two_processes_train_as_one_does(both: list[dict[str, Any]]) -> None:
    one, *two = both
    for name, known in one.items():
        for found in two:
            if isinstance(known, str):
                assert found[name] == known
            else:
                np.testing.assert_allclose(found[name], known, rtol=1e-5 if name == "single precision" else 1e-9)


@pytest.mark.parametrize("both", SOME[:1], indirect=True)
def test_processes_with_unlike_tasks_are_refused_alike(both: list[dict[str, Any]]) -> None:
    said = "process 1 has other {} than process 0: give all of them the same"
    for told in both[1:]:
        assert told["unlike"] == {"data": said.format("data"), "method": said.format("method or options")}


TOLD = {"WORLD_SIZE": "2", "RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """A port that nobody listens to yet, where this process is to meet another."""
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        for name, text in {**TOLD, "MASTER_PORT": str(place.getsockname()[1])}.items():
            monkeypatch.setenv(name, text)
        yield place


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("WORLD_SIZE", "two", "WORLD_SIZE is 'two' .* a number from 1 to"),
        ("WORLD_SIZE", "0", "WORLD_SIZE is '0' .* unset WORLD_SIZE to train in one process"),
        ("RANK", None, "RANK is missing .* a number from 0 to 1:"),
        ("RANK", "2", "RANK is '2' .* a number from 0 to 1:"),
        ("MASTER_PORT", "70000", "MASTER_PORT is '70000' .* a number from 1 to 65535"),
        ("MASTER_ADDR", None, "MASTER_ADDR is missing .* host of process 0"),
    ],
)
def test_what_no_launcher_says_is_refused(
    name: str, text: str | None, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for told, given in {**TOLD, name: text}.items():
        monkeypatch.delenv(told, raising=False) if given is None else monkeypatch.setenv(told, given)
    with pytest.raises(ValueError, match=said):
        processes.join()


def test_a_port_in_use_is_named(port: socket.socket) -> None:
    port.listen()
    with pytest.raises(ConnectionError, match=r"127.0.0.1:\d+ is in use: give all processes another MASTER_PORT"):
        processes.join()


def test_a_process_whose_others_never_come_says_so_and_ends(
    port: socket.socket, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    port.close()
    monkeypatch.setattr(processes, "MEETING", timedelta(seconds=1.5))
    monkeypatch.setattr(processes, "SILENT", 0.1)
    with pytest.raises(ConnectionError, match=r"process 0 has waited \d seconds at 127.0.0.1:\d+ for the others of 2"):
        processes.join()
    assert capsys.readouterr().err.startswith("Waiting at 127.0.0.1:")


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_shares_are_all_of_a_batch(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "joined", lambda: True)
    monkeypatch.setattr(processes.distributed, "get_world_size", lambda: count)
    shares = []
    for rank in range(count):
        monkeypatch.setattr(processes.distributed, "get_rank", lambda rank=rank: rank)
        shares.append(np.arange(16)[processes.own(16)])
    np.testing.assert_array_equal(np.concatenate(shares), np.arange(16))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@pytest.mark.parametrize("backend", ["pyro", "numpyro"])
def test_a_process_reads_its_share_of_each_batch_from_disk(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(backend=backend, batch_size=16, device="cpu")
    data, rows = shared_runs.on_disk(), np.arange(32).reshape(2, 16)
    feed = feeding(engine_of(settings), settings, data)
    monkeypatch.setattr(processes, "own", lambda size: slice(size // 2, size))
    (block,) = feed(rows)
    np.testing.assert_array_equal(block.arrays["a"], np.asarray(data.arrays["a"])[rows[:, 8:]].astype(np.float32))
    np.testing.assert_array_equal(block.observed["a"], data.observed["a"][rows[:, 8:]])


def test_more_processes_than_items_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(
        ValueError, match="3 processes cannot share batches of 2 items; launch fewer, or raise batch_size"
    ):
        processes.check_shares(2, subsampled=True)
    with pytest.raises(ValueError, match=r"write batch.plate\(\) there, or train in one process"):
        processes.check_shares(30, subsampled=False)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["pyro", "numpyro"])
@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_process_ends_the_run_with_a_checkpoint(backend: str, victim: int, tmp_path: Path) -> None:
    out = tmp_path / "run"
    words = [
        "ppvae",
        "fit",
        "vae",
        "--backend",
        backend,
        "--set",
        "hidden=[8]",
        "--batch-size",
        "500",
        "--out",
        str(out),
    ]
    said = shared_runs.killed([*words, "--epochs", "100000"], out, victim)
    code, shown, errors = said[1 - victim]
    assert code not in (0, None)
    assert shown == ""
    if (backend, victim) != ("numpyro", 0):  # JAX aborts all others where process 0 dies, in its own words
        assert code == 2
        assert errors.count("Error: another process of this run has ended") == 1
        assert "the same command with --resume goes on from it" in errors
    epochs = len(ppvae.load(out).history)
    with shared_runs.started([*words, "--epochs", str(epochs + 2), "--resume"], count=1) as alone:
        [(code, _, errors)] = shared_runs.ended(alone)
    assert (code, errors) == (0, "")
    resumed = ppvae.load(out).history
    assert len(resumed) == epochs + 2
    train, _ = ppvae.datasets.load("mfeat").split(0.75, seed=0)
    vae = ppvae.method("vae", train.modalities, hidden=(8,))
    fitted = ppvae.fit(vae, train, backend=backend, epochs=min(len(resumed), 5), batch_size=500, progress=False)
    losses = [[entry["loss"] for entry in history] for history in (resumed[: len(fitted.history)], fitted.history)]
    np.testing.assert_allclose(*losses, rtol=1e-5)
