"""Accelerators: parity, training, answers and step times of both backends on a GPU, beside the CPU, as one page."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import torch
from torch import nn

import ppvae
from ppvae import Modality
from ppvae.backends import numpyro as compiled
from ppvae.backends import pyro as engine
from ppvae.language.batch import Batch
from ppvae.runs.plan import Pace
from ppvae.training.fit import init

BACKENDS, DEVICES = ("pyro", "numpyro"), ("cpu", "cuda")
METHODS = ("mvae", "mmvae", "mopoe", "mvtcae", "mmvae_plus", "cmvae", "mhvae", "jnf", "mofa")
ENGINES: dict[str, Any] = {"pyro": engine, "numpyro": compiled}
BATCH = 128

Row = Sequence[Any]


def main() -> int:
    """Print the page; 1 where a GPU is missing, a backend or a recorded step gives other numbers, or a step waits."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--device", default="cuda", help="cpu tries the script itself")
    asked.add_argument("--epochs", type=int, default=20)
    chosen = asked.parse_args()
    if chosen.device == "cuda" and not torch.cuda.is_available():
        print("torch sees no GPU here", file=sys.stderr)
        return 1
    train, test = ppvae.datasets.load("mfeat").split(0.75, seed=0)
    print(f"{machine(chosen.device)}\n")
    say("Parity", ("method", "dtype", "log-probabilities", "gradients", "ok"), found := parities(train, chosen.device))
    runs = {(b, d): trained(train, b, d, chosen.epochs) for b in BACKENDS for d in ("cpu", chosen.device)}
    say("Training", ("backend", "device", "loss", "ms a step"), training(runs, len(train)))
    say("Evidence", ("backend", "device", "nats", "standard error", "seconds"), evidences(runs, test))
    waits = list(synchronisations(train, chosen.device))
    say("Synchronisations", ("method", "in a step on Pyro", "in a recorded one"), waits)
    kept = list(recordings(train, chosen.device))
    say("Recorded steps", ("method", "plain, ms", "recorded, ms", "losses differ by"), kept)
    say("Steps", ("case", "backend", "by hand, ms", "ppvae, ms", "ratio", "first step, s"), steps(chosen.device))
    say("Half precision", ("backend", "precision", "ms a step", "loss after 50 steps"), halves(train, chosen.device))
    other, waiting = any(row[-1] for row in kept), any(any(row[1:]) for row in waits)
    return 0 if all(row[-1] for row in found) and not (other or waiting) else 1


def machine(device: str) -> str:
    """What was measured on."""
    card = torch.cuda.get_device_name() if device == "cuda" else "no GPU"
    return f"{card}, {os.cpu_count()} CPU cores, torch {torch.__version__}, JAX {jax.__version__}"


def say(title: str, columns: Sequence[str], rows: Iterable[Row]) -> None:
    """A table in Markdown, line by line as it is measured."""
    print(f"### {title}\n\n| {' | '.join(columns)} |\n|{'---|' * len(columns)}", flush=True)
    for row in rows:
        print(f"| {' | '.join(f'{x:.3g}' if isinstance(x, float) else str(x) for x in row)} |", flush=True)
    print(flush=True)


def parities(train: ppvae.Dataset, device: str) -> list[Row]:
    """Largest relative differences between the backends, both on the device."""
    rows = [_parity(train, method, dtype, device) for method in METHODS for dtype in ("float32", "float64")]
    pictures = ppvae.Dataset(
        {"pix": train.arrays["pix"].reshape(-1, 1, 15, 16) / 6},
        modalities=[Modality("pix", (1, 15, 16), encoder=convolutions, decoder=transposed)],
    )
    return rows + [_parity(pictures, "vae", dtype, device) for dtype in ("float32", "float64")]


def convolutions(latent: int) -> nn.Module:
    """An encoder of pictures of 15 x 16."""
    return nn.Sequential(nn.Conv2d(1, 32, 3, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(32 * 8 * 8, 2 * latent))


def transposed(latent: int) -> nn.Module:
    """A decoder of pictures of 15 x 16."""
    unfolded = nn.Unflatten(1, (32, 8, 8))
    return nn.Sequential(nn.Linear(latent, 32 * 8 * 8), unfolded, nn.ConvTranspose2d(32, 1, 3, 2, 1, (0, 1)))


def _parity(train: ppvae.Dataset, method: str, dtype: str, device: str) -> Row:
    pair = ppvae.method(method, train.modalities or ())
    found = ppvae.parity(pair, train.batch(slice(64)), dtype=dtype, device=device)
    return method, dtype, found["max_logprob_difference"], found["max_gradient_difference"], found["ok"]


def trained(train: ppvae.Dataset, backend: str, device: str, epochs: int) -> Any:
    """An MVAE of six views."""
    pair = ppvae.method("mvae", train.modalities or (), latent=16, hidden=(512, 512))
    return ppvae.fit(pair, train, backend=backend, device=device, epochs=epochs, batch_size=BATCH, progress=False)


def training(runs: dict[tuple[str, str], Any], items: int) -> Iterable[Row]:
    """Losses after the last epoch, and the time of a step, median of the epochs."""
    for (backend, device), run in runs.items():
        seconds = float(np.median([entry["seconds"] for entry in run.history]))
        yield backend, device, f"{run.history[-1]['loss']:.1f}", 1e3 * seconds / (items // BATCH)


def evidences(runs: dict[tuple[str, str], Any], test: ppvae.Dataset) -> Iterable[Row]:
    """The evidence of the same weights on every backend and device, by 1,000 draws for each of 50 items."""
    weights, few = next(iter(runs.values())), test.take(np.arange(50))
    for backend, device in runs:
        run = weights.to(backend)
        run = replace(run, settings=run.settings.model_copy(update={"device": device}))
        run.log_evidence(few, particles=1000)
        start = time.perf_counter()
        nats = run.log_evidence(few, particles=1000, seed=1)
        error = float(nats.std() / len(nats) ** 0.5)
        yield backend, device, f"{nats.mean():.2f}", error, time.perf_counter() - start


def synchronisations(train: ppvae.Dataset, device: str) -> Iterable[Row]:
    """How often a step waits for the GPU, one operation after the other and as recorded."""
    for method in METHODS if device == "cuda" else ():
        pair = ppvae.method(method, train.modalities or ())
        state = init(pair, train, backend="pyro", device=device)
        yield method, *(_waits(replace(state, recordings=kept), train) for kept in (None, {}))


def _waits(state: Any, train: ppvae.Dataset) -> int:
    pace = Pace(np.ones(()), 1.0)
    with engine.environment(state.plan.settings), engine.pyro.validation_enabled(False):
        arrays = engine.put(train.arrays)
        batch = Batch({name: array[:BATCH] for name, array in arrays.items()}, {}, len(train))
        for _ in range(engine.recorded.AFTER + 2):
            state, _ = engine._step(state, batch, pace, BATCH)
        with warnings.catch_warnings(record=True) as waits:
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode("warn")
            engine._step(state, batch, pace, BATCH)
            torch.cuda.set_sync_debug_mode("default")
    return sum("synchroniz" in str(wait.message) for wait in waits)


def recordings(train: ppvae.Dataset, device: str) -> Iterable[Row]:
    """Steps on Pyro one operation after the other, and as recorded; the largest relative difference of their losses."""
    for method in METHODS:
        pair = ppvae.method(method, train.modalities or (), latent=16, hidden=(512, 512))
        start = engine.export(init(pair, train, backend="pyro", device=device, batch_size=BATCH))
        found = []
        for kept in (None, {}):
            state = init(pair, train, backend="pyro", device=device, batch_size=BATCH)
            with engine.environment(state.plan.settings):
                state = replace(engine.restore(state, start), recordings=kept)
            found.append(_two_epochs(state, train, engine, 30))
        (plain, losses), (quick, others) = found
        yield method, plain, quick, float(np.max(np.abs(losses - others) / np.abs(losses)))


def halves(train: ppvae.Dataset, device: str) -> Iterable[Row]:
    """Steps of an MVAE whose networks are wide enough to keep a GPU busy, by precision."""
    width, batch = (4096, 2048) if device == "cuda" else (32, 128)
    repeated = train.take(np.arange(4 * batch) % len(train))
    for backend in BACKENDS:
        for precision in ("full", "bfloat16"):
            pair = ppvae.method("mvae", train.modalities or (), latent=16, hidden=(width, width))
            options = {"backend": backend, "device": device, "precision": precision, "batch_size": batch, "lr": 1e-4}
            state = init(pair, repeated, **options)
            state = replace(state, recordings={}) if backend == "pyro" else state
            taken, losses = _two_epochs(state, repeated, ENGINES[backend], 25)
            yield backend, precision, taken, f"{losses[-1]:.2f}"


def _two_epochs(state: Any, data: ppvae.Dataset, on: Any, steps: int) -> tuple[float, np.ndarray]:
    """Milliseconds of a step of the second of two epochs of so many, and the losses of both."""
    settings, losses, seconds = state.plan.settings, [], 0.0
    rows = np.arange(steps * settings.batch_size).reshape(steps, -1) % len(data)
    pace = Pace(np.ones(steps, np.float32), np.ones(steps, np.float32))
    with on.environment(settings):
        arrays = on.put(data.arrays, settings)
    on.compile_epoch(state, arrays, {}, rows, rows, pace)
    for _ in range(2):
        before = time.perf_counter()
        state, info = on.epoch(state, arrays, {}, rows, rows, pace)
        seconds = time.perf_counter() - before
        losses.append(-np.sum(list(info.shares.values()), axis=0))
    return 1e3 * seconds / steps, np.concatenate(losses)


def steps(device: str) -> Iterable[Row]:
    """Hand-written loops and ppvae's, interleaved, on the device."""
    bench = Path(__file__).with_name("bench.py")
    words = [sys.executable, bench, "--json", "--device", device, "--only", "mvae,vae"]
    done = subprocess.run(words, stdout=subprocess.PIPE, check=False)
    for row in json.loads(done.stdout.splitlines()[-1])["rows"]:
        keys = ("case", "backend", "hand_ms", "ours_ms", "ratio", "first_step_seconds")
        yield [row[key] if row[key] is not None else "" for key in keys]


if __name__ == "__main__":
    sys.exit(main())
