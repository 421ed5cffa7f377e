"""Validation: the loss of items that take no part in training, checked and measured as those that do."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ppvae.data.dataset import Dataset
from ppvae.runs.vae import VAE
from ppvae.training.checks.inspection import check_values

CHUNK, NUMBERS = 1000, 2**21  # items, and numbers measured of them, at once, at most
DRAWS = 250  # at least


@dataclass(frozen=True, eq=False)
class Validation:
    """Held-out items as the programs see them: with every modality of the training data, in the same order."""

    arrays: Mapping[str, np.ndarray]
    observed: Mapping[str, np.ndarray]

    def loss(self, engine: Any, state: Any) -> float:
        """The loss in nats per item at the final weight of the latent sites, with the same random draws every time.

        Few items are drawn several times over, so that the mean is one of at least 250 draws.
        """
        items = len(next(iter(self.arrays.values())))
        rows = np.tile(np.arange(items), -(-DRAWS // items))
        size = max(min(CHUNK, NUMBERS // sum(math.prod(array.shape[1:]) for array in self.arrays.values())), 1)
        fewest = -(-len(rows) // size)
        count = next((n for n in range(fewest, 2 * fewest) if len(rows) % n == 0), fewest)  # alike, compiled once
        chunks = np.array_split(rows, count)
        losses = [self._loss(engine, state, chunk, number) for number, chunk in enumerate(chunks)]
        return float(np.average(losses, weights=[len(chunk) for chunk in chunks]))

    def _loss(self, engine: Any, state: Any, rows: np.ndarray, number: int) -> float:
        """The loss of some items, in a turn of its own."""
        with engine.environment(state.plan.settings):
            picked = ({name: array[rows] for name, array in held.items()} for held in (self.arrays, self.observed))
            arrays, observed = (engine.put(held, state.plan.settings) for held in picked)
            return float(engine.validate(state, arrays, observed, number))


def prepared(vae: VAE, train: Dataset, held_out: Dataset) -> Validation:
    """Held-out items, checked; a modality that they lack is a hole in each of them.

    Raises:
        TypeError: they are no Dataset.
        ValueError: they share no modality with the training data or have others, or their values do not fit.
    """
    if not isinstance(held_out, Dataset):
        raise TypeError(f"validation takes a Dataset, not {type(held_out).__name__}")
    known = {modality.name: modality for modality in train.modalities or ()}
    shared = [name for name in known if name in held_out.arrays]
    if foreign := [name for name in held_out.arrays if name not in known]:
        cure = f"leave it out: validation.only({shared})" if shared else f"they have {', '.join(known)}"
        raise ValueError(f"validation has the modality {foreign[0]!r}, which the training data lack; {cure}")
    try:
        checked = held_out.like([known[name] for name in shared])
        holes = {name: np.zeros((len(checked), *known[name].shape)) for name in known if name not in shared}
        arrays = {name: {**holes, **checked.arrays}[name] for name in known}
        observed = {**(checked.observed or {}), **{name: np.zeros(len(checked), bool) for name in holes}}
        vae = copy.deepcopy(vae)
        vae.pair.cpu()
        check_values(vae, arrays, observed)
    except ValueError as error:
        raise ValueError(f"validation: {error}") from None
    return Validation(arrays, observed)
