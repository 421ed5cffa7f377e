"""Runs that processes share, by name; ``python -m shared_runs BACKEND FOLDER NAME ...`` trains some in one of these."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import ppvae
from ppvae import Batch, Program, dist, objectives, pyro
from ppvae.data.stored import stored

HERE = str(Path(__file__).parent)


def data() -> ppvae.Dataset:
    """Two modalities of 90 items, one with holes."""
    random = np.random.default_rng(0)
    rows = random.normal(size=(90, 3))
    return ppvae.Dataset({"a": rows, "b": rows + random.normal(size=(90, 3))}, {"a": np.arange(90) % 3 > 0})


def on_disk() -> ppvae.Dataset:
    """The same, of which one modality lies in a file of this process's own."""
    known, path = data(), Path(tempfile.mkdtemp(), "a")
    held = known.arrays | {"a": stored(path, [known.arrays["a"]], 90, (3,))}
    return ppvae.Dataset(held, known.observed, modalities=known.modalities)


class Words(Program):
    """A model that draws positive numbers and shares of one, and drops channels of several draws at once."""

    def __init__(self) -> None:
        super().__init__()
        self.out, self.maps = nn.Linear(4, 3), nn.Sequential(nn.Conv1d(1, 2, 3, padding=1), nn.Dropout1d(0.4))

    def forward(self, batch: Batch) -> Any:
        shift = pyro.sample("shift", dist.Normal(0.0, 1.0).expand([3]).to_event(1))
        with batch.plate():
            z = pyro.sample("z", dist.Gamma(2.0, 1.0).expand([4]).to_event(1))
            share = pyro.sample("share", dist.Dirichlet(torch.ones(4)))
            seen = self.maps((z * share).reshape(-1, 1, 4)).mean(1).reshape(z.shape)
            for name in ("a", "b"):
                pyro.sample(name, dist.Normal(self.out(seen) + shift, 1.0).to_event(1), obs=batch.get(name))


class Reader(Program):
    """The guide of :class:`Words`, with dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(6, 7), nn.Dropout(0.5), nn.Linear(7, 12))
        self.shift = nn.Parameter(torch.zeros(3))

    def forward(self, batch: Batch) -> None:
        pyro.sample("shift", dist.Normal(self.shift, 1.0).to_event(1))
        z, scale, share = self.net(torch.cat([batch.get("a"), batch.get("b")], -1)).exp().split(4, -1)
        with batch.plate():
            pyro.sample("z", dist.Gamma(z, scale).to_event(1))
            pyro.sample("share", dist.Dirichlet(share))


def words() -> ppvae.VAE:
    """A pair whose draws take as many random numbers as their values ask for, within and outside of its sites."""
    torch.manual_seed(launched())  # process 0 decides about the weights
    return ppvae.VAE(Words(), Reader(), objectives.iwae(7))


def launched() -> int:
    """The number of this process."""
    return int(os.environ.get("RANK", 0))


def small(name: str = "mvae", **options: Any) -> ppvae.VAE:
    """A row of the zoo with small networks."""
    return ppvae.method(name, data().modalities, latent=2, hidden=(8,), **options)


def third(entry: Any) -> bool:
    """A callback that ends training after three epochs, where anybody hears it."""
    return entry["epoch"] == 3


def runs(backend: str) -> dict[str, tuple[ppvae.VAE, dict[str, Any]]]:
    """Pairs and options by name."""
    watched = {"validation": data().take(range(16)), "clip": 1.0}
    both: dict[str, tuple[ppvae.VAE, dict[str, Any]]] = {
        "vae": (small("vae"), {"clip": 1.0}),
        "from disk": (small("vae"), {"data": on_disk()}),
        "mvae": (small(), watched),
        "single precision": (small("mopoe"), {"dtype": "float32"}),
        "weights and a callback": (
            small("mmvae", draws=2),
            {"weights": np.arange(90) % 4, "callbacks": [third], "epochs": 5},
        ),
        "patience": (small(), {"patience": 1, "lr": 0.3, "epochs": 30}),
        "no number": (small(), {"lr": 1e15}),
    }
    if backend == "numpyro":
        return both
    return both | {
        "uneven shares": (words(), {"batch_size": 15}),
        "subsets": (small("code"), {"batch_size": 15}),
        "asleep": (small(sleep=1.0), {"batch_size": 15}),
        "an estimator": (ppvae.VAE(words().model, words().guide, "elbo"), {"particles": 3}),
    }


def trained(backend: str, names: Sequence[str]) -> dict[str, Any]:
    """What each run tells after every epoch, or why it was refused."""
    found: dict[str, Any] = {}
    for name, (vae, options) in ((name, runs(backend)[name]) for name in names):
        given: dict[str, Any] = {
            "batch_size": 16,
            "dtype": "float64",
            "progress": False,
            "epochs": 2,
            "backend": backend,
            "data": data(),
        }
        try:
            history = ppvae.fit(vae, **given | options).history
            told = ("loss", "gradient_norm", "validation_loss")
            found[name] = [[entry[key] for key in told if key in entry] for entry in history]
        except FloatingPointError as error:
            found[name] = str(error)
    return found


@contextmanager
def started(words: list[str], count: int = 2) -> Iterator[list[subprocess.Popen[str]]]:
    """Processes of Python as a launcher starts them, each with ``words`` after ``python -m``; none is left after it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    known = {
        "WORLD_SIZE": str(count),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": port,
        "PYTHONPATH": HERE,
        "PYTHONHASHSEED": "0",
    }
    with ExitStack() as stack:
        processes = []
        for rank in range(count):
            told = {**os.environ, **known, "RANK": str(rank), "LOCAL_RANK": str(rank)}
            line = [sys.executable, "-m", *words]
            process = subprocess.Popen(line, env=told, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            processes.append(stack.enter_context(process))
            stack.callback(process.kill)
        yield processes


def ended(processes: list[subprocess.Popen[str]], seconds: float = 240) -> list[tuple[int, str, str]]:
    """Exit code, output and errors of each."""
    said = [process.communicate(timeout=seconds) for process in processes]
    return [(process.returncode, *each) for process, each in zip(processes, said, strict=True)]


def killed(words: list[str], folder: Path, victim: int) -> list[tuple[int, str, str]]:
    """What two processes that train into a folder say once one of them is killed after the first checkpoint."""
    with started(words) as processes:
        limit = time.monotonic() + 240
        while not (folder / "weights.safetensors").exists() and time.monotonic() < limit:
            time.sleep(0.1)
        processes[victim].send_signal(signal.SIGKILL)
        return ended(processes)


def unlike() -> dict[str, str]:
    """Why processes are refused that are given unlike data, or unlike methods whose weights are of the same shapes."""
    given = {
        "data": (small(), data().take(range(45 * launched(), 90))),
        "method": (small(["mvae", "vae"][launched()]), data()),
    }
    found = {}
    for name, (vae, rows) in given.items():
        try:
            ppvae.fit(vae, rows, backend="pyro", epochs=1, progress=False, batch_size=16)
        except ValueError as error:
            found[name] = str(error)
    return found


def main(backend: str, folder: str, *names: str) -> None:
    """Train runs and write what they tell; on Pyro processes are then given unlike things."""
    found = trained(backend, names)
    if backend == "pyro":
        found["unlike"] = unlike()
    Path(folder, f"{launched()}.json").write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
