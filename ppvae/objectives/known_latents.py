"""Known latents: the guide by maximum likelihood of latents that are known, the forward divergence ``KL(p ‖ q)``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from ppvae.language.batch import Batch
from ppvae.language.pieces import whole
from ppvae.language.ppl import items, ops
from ppvae.language.traces import alone, model_sites, random_sites
from ppvae.objectives.elbo import Objective


def known_latents(hidden: Mapping[str, np.ndarray], z: np.ndarray, trusted: np.ndarray) -> Objective:
    """``½ log q(z' | x'_S) + ½ log q(z | x_S)``: z' and x' are drawn from the model, z stands beside the item.

    The first term is the sleep phase of wake-sleep (Hinton et al. 1995), which covers the mass of the posterior where
    an ELBO settles in a part of it; the second does the same where the data lie. The model is to rest meanwhile.

    Args:
        hidden: which items of the data do without a modality, ``(items,)`` by name: S is what is left.
        z: draws of the site ``z`` given S, ``(draws, items, latent)``, all of which count.
        trusted: which items' draws count, ``(items,)``.
    """

    table = np.moveaxis(z, 1, 0)

    def objective(model: Any, guide: Any, batch: Batch, beta: Any) -> dict[str, Any]:
        drop = {name: ops.as_tensor(mask)[batch.rows] for name, mask in hidden.items()}
        drawn = ops.moveaxis(ops.as_tensor(table, dtype=items().float_dtype())[batch.rows], 1, 0)
        own = posterior(guide, batch.without(drop)).log_prob(drawn).mean(0)
        made, item = new_item(model, batch)
        return {
            "model's items": 0.5 * posterior(guide, item.without(drop)).log_prob(made),
            "data's items": 0.5 * ops.where(ops.as_tensor(trusted)[batch.rows], own, 0.0),
        }

    return objective


def posterior(guide: Any, batch: Batch) -> Any:
    """The distribution of the site ``z``, batch shape ``(items,)``."""
    return random_sites(guide, alone(batch))["z"]["fn"]


def new_item(model: Any, batch: Batch) -> tuple[Any, Batch]:
    """New latents z of the model, and the batch with what it measures there; no gradient flows through either."""
    known = batch.given([name for name in model.conditions if name in batch.arrays])
    asked = tuple(name for name in batch.arrays if name not in model.conditions)
    sites = model_sites(model, replace(alone(known), ask=asked))
    arrays = {**batch.arrays, **{name: ops.detach(whole(sites, name)) for name in asked}}
    return ops.detach(sites["z"]["value"]), replace(batch, arrays=arrays)
