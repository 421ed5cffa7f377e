"""Unchosen: how long a run trains, and how slowly its prior begins to pull, where nobody says."""

from __future__ import annotations

import math
from typing import Any

from ppvae.objectives import stages
from ppvae.objectives.library import Estimator
from ppvae.runs.settings import EPOCHS, Settings
from ppvae.runs.vae import VAE
from ppvae.training.epochs import steps_in
from ppvae.zoo.table import METHODS

FEWEST = 1000  # steps of a run whose number of epochs nobody chose; docs/decisions.md says why, and of warm-ups


def filled(settings: Settings, vae: VAE, items: int) -> Settings:
    """The settings, with what nobody chose of them.

    These are epochs, at least 50 and so many that there are ``FEWEST`` steps, and the warm-up of the method, which
    takes half of the epochs at most.
    """
    steps, found = steps_in(items, settings), dict[str, Any]()
    if "epochs" not in settings.model_fields_set:
        found["epochs"] = max(EPOCHS, math.ceil(FEWEST / steps))
    epochs = found.get("epochs", settings.epochs)
    if "kl_warmup" not in settings.model_fields_set and (warmup := _warmup(vae)):
        found["kl_warmup"] = min(warmup / steps, math.inf if epochs == "auto" else epochs / 2)
    return settings.model_copy(update=found)


def _warmup(vae: VAE) -> int:
    """Steps over which a method of the zoo lets the weight of its latents grow, if it has its own objective."""
    ours = not any(isinstance(stage.objective, Estimator) for stage in stages(vae.objective))
    return METHODS[vae.recipe["method"]].warmup if vae.recipe and ours else 0
