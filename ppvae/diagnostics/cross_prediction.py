"""Cross-prediction: every modality predicted from each other one alone and from all, beside what was measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ppvae.data.dataset import Dataset
from ppvae.diagnostics.khat import alone_and_all
from ppvae.inference import subset_questions
from ppvae.inference.fitted import Fitted
from ppvae.inference.points import typical
from ppvae.language.batch import over
from ppvae.language.modality import CATEGORIES
from ppvae.metrics.predictive_means import predicted
from ppvae.metrics.reconstruction import r2
from ppvae.metrics.subsets import shown


@dataclass(frozen=True, eq=False)
class Crossing:
    """Modalities predicted from subsets of modalities.

    Attributes:
        given: the names in each subset.
        measured: modality to what was measured, ``(items, *shape)``, NaN where it was not.
        predicted: modality to the mean predicted from each subset, without measurement noise,
            ``(subsets, items, *shape)``; of a categorical element the expected level, of a text the most typical of the
            draws. NaN for an item that has nothing of the subset.
        coded: modalities whose numbers stand for names, the categorical ones and texts.
    """

    given: tuple[tuple[str, ...], ...]
    measured: Mapping[str, np.ndarray]
    predicted: Mapping[str, np.ndarray]
    coded: frozenset[str] = frozenset()

    @property
    def names(self) -> list[str]:
        """The subsets in words."""
        everything = {*self.measured, *(name for subset in self.given for name in subset)}
        return ["all" if everything <= {*subset} else subset_questions.label(subset) for subset in self.given]

    @property
    def r2(self) -> np.ndarray:
        """The share of each modality's variance that is explained, ``(subsets, modalities)``, NaN for codes."""
        columns = [[self._explained(name, each) for each in made] for name, made in self.predicted.items()]
        return np.array(columns).T

    def _explained(self, name: str, made: np.ndarray) -> float:
        if name in self.coded:
            return np.nan
        return r2(np.where(np.isnan(made), np.nan, self.measured[name]), made)


def crossing(
    fitted: Fitted,
    data: Dataset,
    given: Sequence[Sequence[str]] | None = None,
    ask: Sequence[str] | None = None,
    draws: int = 100,
    seed: int = 0,
) -> Crossing:
    """The mean prediction of each asked modality from each subset.

    Args:
        fitted: the pair.
        data: items that the pair was not trained on; each shows what it has of a subset.
        given: subsets of the data's modalities; by default each alone, and all. What the model takes as given is always
            shown.
        ask: modalities that the data have; by default all of these that the model explains.
        draws: of the latents.
        seed: of the draws.

    Raises:
        ValueError: a modality is unknown, or not in the data.
    """
    held, names = subset_questions.explained(fitted, data), subset_questions.chosen(fitted, data, ask)
    subsets = tuple(tuple(subset) for subset in (alone_and_all(held) if given is None else given))
    drawn = predicted(fitted, shown(data, [fitted.shown(data, subset) for subset in subsets]), names, draws, seed)
    seen = np.stack([subset_questions.showing(data, subset) for subset in subsets])
    texts = [m.name for m in fitted.modalities if m.likelihood == "autoregressive"]
    means = {name: typical(drawn[name]) if name in texts else drawn[name].mean(0) for name in names}
    means = {name: mean.reshape(len(subsets), *data.arrays[name].shape) for name, mean in means.items()}
    means = {name: np.where(over(seen, mean), mean, np.nan) for name, mean in means.items()}
    coded = frozenset(m.name for m in fitted.modalities if m.likelihood in CATEGORIES)
    return Crossing(subsets, {name: data.holed(name) for name in names}, means, coded)
