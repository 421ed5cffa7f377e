"""Stored: a data set whose rows lie in a file is the data set in memory."""

from __future__ import annotations

import errno
from pathlib import Path

import numpy as np
import pytest
from full_disk import full_disk

import ppvae
from ppvae import Dataset, Modality
from ppvae.data import stored as disk
from ppvae.data.stored import stored
from ppvae.training import feeding

IMAGES = np.random.default_rng(0).uniform(size=(40, 1, 3, 4)).astype(np.float32)
HOLES = np.arange(40) % 7 > 0
SERIES = np.random.default_rng(1).normal(size=(40, 2, 5)).astype(np.float32)
TICKS = np.random.default_rng(2).random((40, 2, 5)) < 0.8


@pytest.fixture
def pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Dataset, Dataset]:
    """The same data in memory and on disk, where seven rows of the images are a block."""
    monkeypatch.setattr(disk, "BLOCK", 7 * 12)
    monkeypatch.setattr(feeding, "NUMBERS", 3 * 5 * (12 + 10 + 2))  # two steps
    arrays = {"look": np.where(HOLES[:, None, None, None], IMAGES, 0), "walk": np.where(TICKS, SERIES, 0)}
    halves = {name: np.array_split(array, 3) for name, array in arrays.items()}
    held = {name: stored(tmp_path / name, halves[name], 40, a.shape[1:]) for name, a in arrays.items()}
    known = [Modality("look", (1, 3, 4)), Modality("walk", (2, 5))]
    size = {"size": np.random.default_rng(3).normal(size=(40, 2))}
    made = [
        Dataset({**some, **size}, {"look": HOLES, "walk": TICKS}, modalities=known, ids=[f"i{i}" for i in range(40)])
        for some in (arrays, held)
    ]
    return made[0], made[1]


def test_rows_are_those_of_the_array_in_any_order(pair: tuple[Dataset, Dataset]) -> None:
    memory, stored_ = pair
    train, other = (data.split(0.75, seed=1)[0].take([5, 3, 3]) for data in pair)
    assert isinstance(other.arrays["look"], disk.Stored)
    for name in memory.arrays:
        np.testing.assert_array_equal(train.arrays[name], other.arrays[name])
        np.testing.assert_array_equal(memory.holed(name), stored_.holed(name))
        np.testing.assert_array_equal(memory.batch([2, 9]).get(name), stored_.batch([2, 9]).get(name))
    np.testing.assert_array_equal(memory.keys, stored_.keys)
    for one, two in zip(memory.split()[0].modalities, stored_.split()[0].modalities, strict=True):
        np.testing.assert_array_equal(one.center, two.center)
        np.testing.assert_array_equal(one.spread, two.spread)


def test_values_that_do_not_fit_are_found_in_every_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "BLOCK", 2)
    numbers = np.array([[0.0], [1.0], [0.0], [0.0], [2.0]])
    held = stored(tmp_path / "a", [numbers], 5, (1,))
    with pytest.raises(ValueError, match=r"takes whole numbers from 0 to 1, but holds 2\.0"):
        Dataset({"a": held}, modalities=[Modality("a", (1,), "bernoulli")])


def test_a_full_disk_is_told_as_the_system_tells_it(tmp_path: Path) -> None:
    with full_disk(), pytest.raises(OSError, match="File too large") as refused:
        stored(tmp_path / "a", [np.zeros((99, 1))], 99, (1,))
    assert refused.value.errno == errno.EFBIG


@pytest.mark.parametrize("backend", ["pyro", pytest.param("numpyro", marks=pytest.mark.slow)])
def test_training_from_disk_ends_as_training_in_memory(pair: tuple[Dataset, Dataset], backend: str) -> None:
    """To the last bit on Pyro, and but for rounding on NumPyro, which compiles in a sparing way."""
    near = {"rtol": 0, "atol": 0} if backend == "pyro" else {"rtol": 1e-4, "atol": 1e-5}
    vae = ppvae.method("mvae", pair[0].modalities, latent=2, hidden=(4,), seed=0)
    runs = [
        ppvae.fit(vae, data, backend=backend, epochs=2, batch_size=6, patience=9, seed=0, progress=False)
        for data in pair
    ]
    losses = [[(entry["loss"], entry["validation_loss"]) for entry in run.history] for run in runs]
    np.testing.assert_allclose(*losses, **near)
    for name, weight in runs[0].snapshot.weights.items():
        np.testing.assert_allclose(weight, runs[1].snapshot.weights[name], **near)
    drawn = [run.query(data, given=["size"], seed=3) for run, data in zip(runs, pair, strict=True)]
    np.testing.assert_allclose(drawn[0]["look"], drawn[1]["look"], **near)
