"""Run folders to break: a small one, its parts read and written one by one, and forged so that all checksums hold."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

import ppvae
from ppvae import Dataset
from ppvae.inference.fitted import Fitted
from ppvae.runs import checkpoint
from ppvae.runs.description import Description, Marks

WEIGHTS, RUN = "weights.safetensors", "run.json"


def data_set(seed: int = 1) -> Dataset:
    rng = np.random.default_rng(seed)
    return Dataset({"a": rng.normal(size=(60, 4)), "b": rng.normal(size=(60, 3))})


def fit(data: Dataset, epochs: int, out: Path | None = None, **options: Any) -> Fitted:
    vae = ppvae.method("mvae", data.modalities, latent=2, hidden=(8,))
    chosen = {"backend": "pyro", "epochs": epochs, "batch_size": 20, "seed": 5, **options}
    return ppvae.fit(vae, data, out=out, **chosen)


def weights(run: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The tensors of a run folder, and what they say of themselves."""
    with safetensors.safe_open(run / WEIGHTS, "numpy") as file:
        return {key: file.get_tensor(key) for key in file.keys()}, json.loads(file.metadata()["run"])  # noqa: SIM118


def put_weights(run: Path, tensors: dict[str, np.ndarray], marks: Any) -> None:
    safetensors.numpy.save_file(tensors, run / WEIGHTS, {"run": json.dumps(marks)})


def put_run(run: Path, plain: Any) -> None:
    (run / RUN).write_text(json.dumps(plain))


def forge(run: Path, change: Callable[[dict[str, Any], dict[str, np.ndarray]], object]) -> None:
    """Change description and tensors, and make every id and checksum agree with them again.

    Raises:
        ValueError: no id can be had of such a description.
    """
    plain = json.loads((run / RUN).read_text())
    tensors, told = weights(run)
    change(plain, tensors)
    description = Description.model_validate({k: v for k, v in plain.items() if k not in ("id", "checksum")})
    history = description.checksum(len(description.history))
    put_run(run, {**plain, "id": description.id, "checksum": history})
    told |= {"id": description.id, "epochs": len(description.history), "history": history}
    marks = Marks(**told)
    put_weights(run, tensors, {**told, "tensors": checkpoint._checksum(tensors, marks)})
