"""Posterior: what a fitted pair answers about data."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import logsumexp

from ppvae import answers, checkpoint
from ppvae.answers import Question
from ppvae.backends.plan import Snapshot
from ppvae.batch import over
from ppvae.data.dataset import Dataset, check_fits
from ppvae.modality import Modality
from ppvae.settings import Settings
from ppvae.vae import VAE

Reduce = Callable[[np.ndarray], np.ndarray]
LIBRARIES = ("ppvae", "torch", "pyro-ppl", "jax", "numpyro", "optax", "numpy")
DRAWS = 1000  # at most so many draws of an item are held at once
ROWS = 32768  # at most so many draws times items


@dataclass(frozen=True, eq=False)
class Fitted:
    """A trained pair.

    Attributes:
        vae: the pair, holding the trained weights.
        modalities: what it was trained on.
        settings: how it was trained; its backend and dtype also run the answers.
        history: per epoch ``epoch``, ``loss`` and ``sites`` (nats per item), ``seconds``, and ``validation_loss``
            where there was validation data.
        snapshot: weights and optimiser state, from which training can go on.
        notes: facts about the run worth keeping, such as which rows were held out.

    Answers are computed item by item: an item's draws depend on the item and the seed alone, never on its row or on
    the other items.
    """

    vae: VAE
    modalities: Sequence[Modality]
    settings: Settings
    history: Sequence[Mapping[str, Any]]
    snapshot: Snapshot
    notes: Mapping[str, Any] = field(default_factory=dict)

    def encode(
        self, data: Dataset, given: Sequence[str] | None = None, draws: int = 1, seed: int = 0
    ) -> dict[str, np.ndarray]:
        """Draws of every latent from q(z | x_given): site to ``(draws, items, *event)``."""
        return self._ask(Question(answers.encode), data, given, draws, seed)

    def query(
        self,
        data: Dataset,
        given: Sequence[str] | None = None,
        ask: Sequence[str] | None = None,
        draws: int = 1,
        seed: int = 0,
    ) -> dict[str, np.ndarray]:
        """Draws of the asked modalities given the others: name to ``(draws, items, *shape)``.

        Each item is predicted from what it has of ``given`` (all by default). ``ask`` defaults to all modalities.
        """
        return self._ask(Question(answers.predict, ask=self._names(ask)), data, given, draws, seed)

    def generate(self, items: int, seed: int = 0, draws: int | None = None) -> dict[str, np.ndarray]:
        """New items from the model: name to ``(items, *shape)``.

        With ``draws`` each item is measured so many times, ``(draws, items, *shape)``: their mean is the item without
        its measurement noise.
        """
        keys = np.arange(items, dtype=np.uint32)
        drawn = self._run(Question(answers.generate, ask=self._names(None)), {}, {}, keys, draws or 1, seed)
        return drawn if draws else {name: values[0] for name, values in drawn.items()}

    def impute(self, data: Dataset, draws: int = 100, seed: int = 0) -> dict[str, np.ndarray]:
        """The data with each hole filled by the mean of its predictive draws: name to ``(items, *shape)``."""
        drawn = self.query(data, ask=list(data.arrays), draws=draws, seed=seed)
        observed = data.observed or {}
        return {
            name: np.where(over(observed[name], array), array, drawn[name].mean(0)) if name in observed else array
            for name, array in data.arrays.items()
        }

    def log_weights(
        self, data: Dataset, given: Sequence[str] | None = None, particles: int = 1000, seed: int = 0
    ) -> np.ndarray:
        """``log p(x_given, z) − log q(z | x_given)`` of each particle: ``(particles, items)``, in nats.

        Their mean over particles is the ELBO, their log mean exp the importance-weighted evidence.
        """
        return self._ask(Question(answers.log_weights), data, given, particles, seed)["log_weights"]

    def log_evidence(
        self, data: Dataset, given: Sequence[str] | None = None, particles: int = 1000, seed: int = 0
    ) -> np.ndarray:
        """log p(x_given) of each item in nats, ``(items,)``: importance weighted (Burda et al. 2016, equation 8).

        Weights are summed chunk by chunk, so that memory does not grow with particles times items.
        """
        sums = self._ask(Question(answers.log_weights), data, given, particles, seed, _log_sum)["log_weights"]
        return logsumexp(sums, axis=0) - np.log(particles)

    def to(self, backend: str) -> Fitted:
        """The same weights on the other backend."""
        return replace(self, settings=Settings(**{**self.settings.model_dump(), "backend": backend}))

    def save(self, path: str | Path) -> None:
        """Write a run folder that ``ppvae.load`` reads."""
        checkpoint.write(path, self.snapshot, self._description())

    def _description(self) -> dict[str, Any]:
        return {
            "format": 1,
            "versions": {name: metadata.version(name) for name in LIBRARIES},
            "recipe": dict(self.vae.recipe),
            "modalities": [modality.plain() for modality in self.modalities],
            "settings": self.settings.model_dump(),
            "history": list(self.history),
            "notes": dict(self.notes),
        }

    def _names(self, names: Sequence[str] | None) -> tuple[str, ...]:
        known = [m.name for m in self.modalities]
        unknown = [name for name in names or () if name not in known]
        if unknown:
            raise ValueError(f"unknown modality {unknown[0]!r}; this run knows {', '.join(known)}")
        return tuple(known if names is None else names)

    def _ask(
        self,
        question: Question,
        data: Dataset,
        given: Sequence[str] | None,
        draws: int,
        seed: int,
        reduce: Reduce = np.asarray,
    ) -> dict[str, np.ndarray]:
        names = [name for name in self._names(given) if given is not None or name in data.arrays]
        if not names and given is None:
            known = ", ".join(m.name for m in self.modalities)
            raise ValueError(f"the data have none of the run's modalities {known}; they have {', '.join(data.arrays)}")
        for modality in self.modalities:
            if modality.name in names:
                _check_has(data, modality)
        observed = {name: mask for name, mask in (data.observed or {}).items() if name in names}
        arrays = {name: data.arrays[name] for name in names}
        return self._run(question, arrays, observed, data.keys, draws, seed, reduce)

    def _run(
        self,
        question: Question,
        arrays: Mapping[str, Any],
        observed: Mapping[str, Any],
        keys: Any,
        draws: int,
        seed: int,
        reduce: Reduce = np.asarray,
    ) -> dict[str, np.ndarray]:
        """Blocks of draws, and within them blocks of items, each reduced at once, so that memory stays bounded."""
        if draws < 1 or not len(keys):
            raise ValueError(f"{draws} draws of {len(keys)} items were asked for; ask for at least one of one")
        if not 0 <= seed < 2**32:
            raise ValueError(f"seed is {seed}; it must be from 0 to {2**32 - 1}")
        engine = importlib.import_module(f"ppvae.backends.{self.settings.backend}")
        sizes = [min(DRAWS, draws - start) for start in range(0, draws, DRAWS)]
        with engine.environment(self.settings):
            blocks = [
                self._block(
                    engine, replace(question, draws=size), arrays, observed, _seeded(keys, seed, number), reduce
                )
                for number, size in enumerate(sizes)
            ]
        return {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}

    def _block(
        self,
        engine: Any,
        question: Question,
        arrays: Mapping[str, Any],
        observed: Mapping[str, Any],
        keys: np.ndarray,
        reduce: Reduce,
    ) -> dict[str, np.ndarray]:
        size = min(len(keys), max(1, ROWS // question.draws))
        rows = np.arange(-(-len(keys) // size) * size) % len(keys)
        pair = self.vae.pair
        parts = []
        for index in rows.reshape(-1, size):
            inputs = [engine.put({name: a[index] for name, a in group.items()}) for group in (arrays, observed)]
            answer = engine.each_item(pair, question, *inputs, keys[index])
            parts.append({name: reduce(values) for name, values in answer.items()})
        return {name: np.concatenate([p[name] for p in parts], 1)[:, : len(keys)] for name in parts[0]}


def _log_sum(log_weights: np.ndarray) -> np.ndarray:
    """The log of the sum over particles, ``(1, items)``, in double precision."""
    return logsumexp(log_weights.astype(np.float64), axis=0, keepdims=True)


def _check_has(data: Dataset, modality: Modality) -> None:
    if modality.name not in data.arrays:
        raise ValueError(f"the data has no modality {modality.name!r}; it has {', '.join(data.arrays)}")
    check_fits(modality, data.arrays[modality.name])


def _seeded(keys: np.ndarray, seed: int, block: int) -> np.ndarray:
    return np.stack([keys, np.full_like(keys, seed), np.full_like(keys, block)], 1)
