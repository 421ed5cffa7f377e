"""ArviZ groups: the arrays of an ArviZ result, by group with their dimensions, from a fitted pair on either backend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ppvae.data.dataset import Dataset
from ppvae.inference import arviz
from ppvae.inference.chunks import answer
from ppvae.inference.questions import Question, each_draw
from ppvae.language.batch import Batch
from ppvae.language.pieces import pieces
from ppvae.language.ppl import items
from ppvae.language.traces import Sites, is_enumerated, joint, latents, local_latents, model_sites, random_sites

Group = dict[str, tuple[tuple[str, ...], Any]]


def of_guide(fitted: Any, data: Dataset, given: Sequence[str] | None, draws: int, seed: int) -> dict[str, Group]:
    """The groups that stand on the posterior: group to name to ``(dimensions, array)``."""
    names = [name for name in fitted.names if name in data.arrays]
    question = Question(LogLikelihood(tuple(fitted.shown(data, given))), draws, tuple(names))
    likelihood = answer(fitted.vae.pair, fitted.settings, question, data.batch(given=names), data.keys, seed)
    return {
        "posterior": drawn(fitted.encode(data, given, draws, seed), "latent"),
        "posterior_predictive": drawn(fitted.query(data, given, None, draws, seed), "feature"),
        "log_likelihood": drawn({name: np.where(data.present(name), v, np.nan) for name, v in likelihood.items()}),
        "sample_stats": _statistics(fitted.log_weights(data, given, draws, seed)),
    }


def of_model(fitted: Any, data: Dataset, draws: int, seed: int) -> dict[str, Group]:
    """The groups of the prior and of the data, alike."""
    names = [name for name in fitted.names if name in data.arrays]
    conditions = [name for name in fitted.vae.model.conditions if name in names]
    batch = data.batch(given=conditions) if conditions else Batch(size=len(data))
    question = Question(from_prior, draws, tuple(fitted.explained))
    prior = answer(fitted.vae.pair, fitted.settings, question, batch, data.keys, seed)
    return {
        "prior": drawn({name: values for name, values in prior.items() if name not in fitted.names}, "latent"),
        "prior_predictive": drawn({name: values for name, values in prior.items() if name in fitted.names}, "feature"),
        "observed_data": {
            name: (_dims(name, ("item",), data.arrays[name], "feature"), data.holed(name)) for name in names
        },
        "constant_data": {name: (("item",), label) for name, label in (data.labels or {}).items()},
    }


def coords(fitted: Any, data: Dataset) -> dict[str, Any]:
    """The labels of dimensions that the data or the run know: ids of the items, names of a modality's elements."""
    known = {m.name: m.features for m in fitted.modalities if m.features is not None} | data.features
    shown = {name for name in fitted.names if name in data.arrays or name in fitted.explained}
    ids = {} if data.ids is None else {"item": data.ids if data.ids.dtype.kind != "O" else [*map(str, data.ids)]}
    return ids | {f"{name}_feature": list(features) for name, features in known.items() if name in shown}


@each_draw
def from_prior(model: Any, guide: Any, batch: Batch, draws: int, ask: tuple[str, ...]) -> dict[str, Any]:
    """Draws of each item's latents, and of the asked modalities, from the model alone."""
    with items().repeated(draws):
        return local_latents(model_sites(model, replace(batch, ask=ask)))


@each_draw
@dataclass(frozen=True)
class LogLikelihood:
    """``log p(x_m | z)`` of the asked modalities at draws from q(z | x_given), ``(draws, items)``, in nats.

    What the model enumerates is summed out, given the latents that were drawn.
    """

    given: tuple[str, ...]

    def __call__(self, model: Any, guide: Any, batch: Batch, draws: int, ask: tuple[str, ...]) -> dict[str, Any]:
        with items().repeated(draws):
            values = latents(random_sites(guide, batch.given(self.given)))
            with items().enumerating():
                return scored(random_sites(model, batch, values), values, ask)


def scored(sites: Sites, values: Mapping[str, Any], ask: tuple[str, ...]) -> dict[str, Any]:
    """``log p(x_m | z)`` of the asked modalities of a model's sites at given values of latents, by name.

    What is enumerated is summed out, given these.
    """
    known = {name: site for name, site in sites.items() if name in values}
    hidden = {name: site for name, site in sites.items() if is_enumerated(site)}
    measured = {name: [own for own in pieces(sites, name) if sites[own]["is_observed"]] for name in ask}
    found = {
        n: joint({**known, **hidden, **{k: sites[k] for k in own}}, known, own) for n, own in measured.items() if own
    }
    return {name: sum(parts.values()) for name, parts in found.items()}


def _statistics(log_weights: np.ndarray) -> Group:
    _, khat = arviz.psis(log_weights)
    return {
        "log_weights": (("draw", "item"), log_weights),
        "elbo": (("item",), log_weights.mean(0)),
        "khat": (("item",), khat),
    }


def drawn(arrays: Mapping[str, np.ndarray], kind: str = "") -> Group:
    """Arrays ``(draws, items, ...)`` with the names of their dimensions."""
    return {name: (_dims(name, ("draw", "item"), array, kind), array) for name, array in arrays.items()}


def _dims(name: str, lead: tuple[str, ...], array: np.ndarray, kind: str) -> tuple[str, ...]:
    """Names of the axes: those of one item are ``NAME_kind``, numbered where there are several; z's is ``latent``."""
    axes = array.ndim - len(lead)
    label = kind if (name, kind) == ("z", "latent") else f"{name}_{kind}"
    return (*lead, *([label] if axes == 1 else [f"{label}_{i}" for i in range(axes)]))
