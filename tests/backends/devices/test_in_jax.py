"""Devices in JAX: several that share each batch train as one does; eight of a process's own, without any hardware."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

import ppvae

EIGHT = {**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=8"}
TRAIN = """
import json, sys
from pathlib import Path
import jax, numpy as np, ppvae
from ppvae.backends import numpyro as engine
from ppvae.data.stored import stored
from ppvae.training.feeding import feeding

random, folder = np.random.default_rng(0), Path(sys.argv[1])
rows = random.normal(size=(90, 3))
data = ppvae.Dataset({"a": rows, "b": rows + random.normal(size=(90, 3))}, {"a": np.arange(90) % 3 > 0})
options = dict(batch_size=16, dtype="float64", clip=1.0, kl_warmup=1, progress=False, validation=data.take(range(16)))
def losses(devices, **more):
    vae = ppvae.method("mvae", data.modalities, latent=2, hidden=(8,))
    run = ppvae.fit(vae, data, devices=devices, **{"epochs": 3, **options, **more})
    return [[entry["loss"], entry["validation_loss"], entry["gradient_norm"]] for entry in run.history]
found = {"one": losses(1)}
losses(8, epochs=2, out=folder)
found["several"] = losses(4, out=folder, resume=True)
state = ppvae.init(ppvae.method("vae", data.modalities, latent=2, hidden=(8,)), data, batch_size=16, devices=8)
state, info = ppvae.step(state, data.batch(slice(16)))
held = [[part.data.shape == weight.shape for part in weight.addressable_shards] for weight in state.params.values()]
found["whole"] = all(len(parts) == 8 and all(parts) for parts in held)
(block,) = feeding(engine, state.plan.settings, data)(np.arange(16)[None])
held = [*block.arrays.values(), *block.observed.values()]
found["fed"] = [len(array.addressable_shards) for array in held if array.is_fully_replicated]
held = {name: stored(folder / name, [array], 90, (3,)) for name, array in data.arrays.items()}
kept = ppvae.Dataset(held, data.observed, modalities=data.modalities)
(block,) = feeding(engine, state.plan.settings, kept)(np.arange(32).reshape(2, 16))
found["in parts"] = [[part.data.shape for part in array.addressable_shards] for array in block.arrays.values()]
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    words = [sys.executable, "-c", TRAIN, str(tmp_path_factory.mktemp("run"))]
    done = subprocess.run(words, env=EIGHT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_eight_devices_and_then_four_train_as_one_does(found: dict[str, Any]) -> None:
    np.testing.assert_allclose(found["several"], found["one"], rtol=1e-9)


def test_each_is_given_the_data_before_the_first_epoch(found: dict[str, Any]) -> None:
    assert found["fed"] == [8, 8, 8]


def test_each_is_given_its_part_of_what_is_read_from_disk(found: dict[str, Any]) -> None:
    assert found["in parts"] == [8 * [[2, 2, 3]]] * 2


def test_each_has_all_weights_after_a_single_step(found: dict[str, Any]) -> None:
    assert found["whole"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"devices": 99}, "devices=99 was asked for, but JAX sees 1 of device 'auto'"),
        ({"devices": 2, "backend": "pyro"}, "devices=2 share a batch on backend='numpyro' alone"),
        ({"devices": 0}, "setting 'devices' is 0: input should be greater than or equal to 1"),
    ],
)
def test_what_cannot_be_shared_is_refused_before_training(options: dict[str, Any], said: str) -> None:
    data = ppvae.Dataset({"a": np.zeros((6, 2))}, modalities=[ppvae.Modality("a", (2,))])
    with pytest.raises(ValueError, match=said):
        ppvae.fit(ppvae.method("vae", data.modalities, hidden=(2,)), data, progress=False, **options)
