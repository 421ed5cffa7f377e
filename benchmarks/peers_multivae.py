"""MultiVae: an epoch by its own trainer for each line that is read; runs in .venv-peers, where there is no ppvae."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ["TQDM_DISABLE"] = "1"  # read when tqdm is loaded

import numpy as np
import torch

try:
    import torchvision  # noqa: F401
except RuntimeError:  # built for another build of torch: its own operators are missing, of which training uses none
    missing = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        missing.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

from multivae.data.datasets import MultimodalBaseDataset
from multivae.models import MMVAE, MVAE, MVTCAE, MMVAEConfig, MoPoE, MoPoEConfig, MVAEConfig, MVTCAEConfig
from multivae.trainers import BaseTrainer, BaseTrainerConfig

VIEWS = ("fou", "fac", "kar", "pix", "zer", "mor")
STORED = Path(__file__).parents[1] / "ppvae" / "datasets" / "mfeat.npz"
MODELS: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "mvae": (MVAE, MVAEConfig, {"k": 0}),
    "mopoe": (MoPoE, MoPoEConfig, {}),
    "mmvae": (MMVAE, MMVAEConfig, {"K": 3, "prior_and_posterior_dist": "normal"}),
    "mvtcae": (MVTCAE, MVTCAEConfig, {}),
}


def trainer(method: str, folder: str) -> BaseTrainer:
    """The trainer of a method, with MultiVae's own networks."""
    with np.load(STORED) as stored:
        arrays = {name: np.asarray(stored[name], np.float32) for name in VIEWS}
    data = {name: torch.as_tensor((x - x.min(0)) / (np.ptp(x, 0) + 1e-6)) for name, x in arrays.items()}
    model, config, options = MODELS[method]
    sizes = {name: tuple(x.shape[1:]) for name, x in data.items()}
    made = model(config(n_modalities=len(VIEWS), latent_dim=16, input_dims=sizes, **options))
    settings = BaseTrainerConfig(
        output_dir=folder, per_device_train_batch_size=128, learning_rate=1e-3, drop_last=True, no_cuda=True
    )
    return BaseTrainer(made, train_dataset=MultimodalBaseDataset(data), training_config=settings)


def main() -> None:
    """Answer until there are no more questions."""
    answers, sys.stdout = sys.stdout, sys.stderr
    logging.disable()
    with tempfile.TemporaryDirectory() as folder:
        training = trainer(sys.argv[1], folder)
        for epoch, _ in enumerate(sys.stdin, 1):
            begin = time.perf_counter()
            training.train_step(epoch)
            print(1e3 * (time.perf_counter() - begin) / len(training.train_loader), file=answers, flush=True)


if __name__ == "__main__":
    main()
