"""Loading: a fitted pair from its run folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ppvae import checkpoint, zoo
from ppvae.backends.plan import Snapshot
from ppvae.modality import Modality
from ppvae.posterior import Fitted
from ppvae.settings import Settings
from ppvae.vae import VAE


def load(path: str | Path, vae: VAE | None = None) -> Fitted:
    """Read a run folder; nothing in it is run.

    Args:
        path: the folder.
        vae: the pair whose weights these are; needed only where it was not a method of the zoo.

    Raises:
        ValueError: the folder is missing, damaged, or needs ``vae``.
    """
    snapshot, described = checkpoint.read(path)
    try:
        modalities = [Modality(**{**m, "shape": tuple(m["shape"])}) for m in described["modalities"]]
        settings = Settings(**described["settings"])
        history, notes, recipe = described["history"], described["notes"], described["recipe"]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"the run folder {str(path)!r} is damaged: {_first_line(error)}") from None
    pair = _rebuilt(path, recipe, modalities) if vae is None else vae
    _load_weights(path, pair, snapshot, settings)
    return Fitted(pair, modalities, settings, history, snapshot, notes)


def _rebuilt(path: str | Path, recipe: Mapping[str, Any], modalities: list[Modality]) -> VAE:
    if not recipe:
        raise ValueError(
            f"the run folder {str(path)!r} holds the weights of your own programs: pass the pair, load(path, vae=...)"
        )
    return zoo.method(recipe["method"], modalities, **recipe["options"])


def _load_weights(path: str | Path, vae: VAE, snapshot: Snapshot, settings: Settings) -> None:
    vae.pair.to(dtype=getattr(torch, settings.dtype))
    try:
        vae.pair.load_state_dict({name: torch.as_tensor(weight) for name, weight in snapshot.weights.items()})
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1].strip()
        raise ValueError(f"the weights in {str(path)!r} do not fit these programs: {reason}") from None


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]
