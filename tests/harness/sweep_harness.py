"""A small sweep: its data, its file, and what it left behind."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import optuna

from ppvae.cli.sweeps import journal

START = [sys.executable, "-c", "import sys; from ppvae.cli import main; sys.exit(main())", "sweep"]
SWEEP = """
method = "mvae"
data = "data.npz"
trials = {trials}

[options]
backend = "pyro"
epochs = {epochs}
batch_size = 16

[search]
lr = {{low = 1e-4, high = 1e-1, log = true}}
latent = {{low = 2, high = 6, step = 2}}
hidden = [[8], [4, 4]]
"""


def write_data() -> None:
    rng = np.random.default_rng(0)
    z = rng.normal(size=(40, 1))
    np.savez("data.npz", a=z + rng.normal(size=(40, 3)), b=z + rng.normal(size=(40, 2)))


def write(trials: int = 3, epochs: int = 1, *changes: tuple[str, str]) -> str:
    text = SWEEP.format(trials=trials, epochs=epochs)
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    Path("s.toml").write_text(text)
    return "s.toml"


def start(*words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*START, "s.toml", "--json", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def trials(folder: str = "s") -> list[optuna.trial.FrozenTrial]:
    stored = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(f"{folder}/{journal.JOURNAL}"))
    return optuna.load_study(study_name="sweep", storage=stored).trials
