"""Loading: a fitted pair from its run folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict

from ppvae.inference.fitted import Fitted
from ppvae.language.modality import Modality
from ppvae.runs import checkpoint
from ppvae.runs.settings import Settings
from ppvae.runs.snapshot import Snapshot
from ppvae.runs.vae import VAE
from ppvae.zoo import build


class Entry(BaseModel):
    """An epoch in a run's history."""

    model_config = ConfigDict(extra="allow")

    epoch: int
    loss: float
    sites: dict[str, float]
    seconds: float
    validation_loss: float | None = None
    best_epoch: int | None = None


class Described(BaseModel):
    """What ``run.json`` says of a run."""

    format: Literal[1]
    recipe: dict[str, Any]
    modalities: list[dict[str, Any]]
    settings: Settings
    history: list[Entry]
    notes: dict[str, Any]

    def measured(self) -> list[Modality]:
        """The modalities, whose centers and spreads are among the weights."""
        return [Modality(**{**modality, "shape": tuple(modality["shape"])}) for modality in self.modalities]


def load(path: str | Path, vae: VAE | None = None) -> Fitted:
    """Read a run folder; nothing in it is run.

    Args:
        path: the folder.
        vae: the pair whose weights these are; needed only where it was not a method of the zoo.

    Raises:
        ValueError: the folder is missing, damaged, needs ``vae``, or is of another method than ``vae``.
    """
    snapshot, described = read(path)
    modalities, settings = described.measured(), described.settings
    pair = _rebuilt(path, described.recipe, modalities) if vae is None else vae
    _check_recipe(path, described.recipe, pair)
    _load_weights(path, pair, snapshot, settings)
    history = [entry.model_dump(exclude_unset=True) for entry in described.history]
    return Fitted(pair, modalities, settings, history, snapshot, described.notes)


def read(path: str | Path) -> tuple[Snapshot, Described]:
    """What a run folder holds, checked, without its programs."""
    snapshot, plain = checkpoint.read(path)
    with checkpoint.reading(Path(path)):
        described = Described(**plain)
        described.measured()
        return snapshot, described


def _rebuilt(path: str | Path, recipe: Mapping[str, Any], modalities: list[Modality]) -> VAE:
    if not recipe:
        raise ValueError(
            f"the run folder {str(path)!r} holds the weights of your own programs: pass the pair, load(path, vae=...)"
        )
    with checkpoint.reading(Path(path)):
        return build.method(recipe["method"], modalities, **recipe["options"])


def _check_recipe(path: str | Path, recipe: Mapping[str, Any], vae: VAE) -> None:
    own = json.loads(json.dumps(dict(vae.recipe)))
    if recipe and own and recipe != own:
        one, other = (f"{r['method']} with options {r['options'] or 'none'}" for r in (recipe, own))
        raise ValueError(f"the run folder {str(path)!r} is of {one}, not of {other}")


def _load_weights(path: str | Path, vae: VAE, snapshot: Snapshot, settings: Settings) -> None:
    vae.pair.to(dtype=getattr(torch, settings.dtype))
    try:
        vae.pair.load_state_dict({name: torch.as_tensor(weight) for name, weight in snapshot.weights.items()})
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1].strip()
        raise ValueError(f"the weights in {str(path)!r} do not fit these programs: {reason}") from None
    if snapshot.last and _shapes(snapshot.last) != _shapes(snapshot.weights):
        raise ValueError(f"the run folder {str(path)!r} is damaged: its last weights do not fit its best")
    trained = {name: tuple(p.shape) for name, p in vae.pair.named_parameters() if p.requires_grad}
    for moment, values in snapshot.moments.items():
        if _shapes(values) != trained:
            raise ValueError(f"the run folder {str(path)!r} is damaged: its {moment} do not fit its weights")


def _shapes(arrays: Mapping[str, np.ndarray]) -> dict[str, tuple[int, ...]]:
    return {name: array.shape for name, array in arrays.items()}
