"""ArviZ groups: the arrays of an ArviZ result, by group with their dimensions, from a fitted pair on either backend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ppvae.data.dataset import Dataset
from ppvae.inference import arviz
from ppvae.inference.chunks import answer
from ppvae.inference.questions import Question, each_draw
from ppvae.language.batch import Batch
from ppvae.language.pieces import pieces
from ppvae.language.ppl import items
from ppvae.language.traces import is_enumerated, joint, latents, local_latents, model_sites, random_sites

Group = dict[str, tuple[tuple[str, ...], Any]]


def groups(fitted: Any, data: Dataset, given: Sequence[str] | None, draws: int, seed: int) -> dict[str, Group]:
    """Group to name to ``(dimensions, array)``; see :meth:`ppvae.inference.fitted.Fitted.to_arviz`."""
    names = [m.name for m in fitted.modalities if m.name in data.arrays]
    known = tuple(m.name for m in fitted.modalities)
    options = {"pair": fitted.vae.pair, "settings": fitted.settings, "keys": data.keys, "seed": seed}
    conditions = [name for name in fitted.vae.model.conditions if name in names]
    prior = answer(question=Question(from_prior, draws), batch=_given(data, conditions), **options)
    scored = LogLikelihood(tuple(names if given is None else given))
    likelihood = answer(question=Question(scored, draws, tuple(names)), batch=data.batch(given=names), **options)
    return {
        "posterior": _drawn(fitted.encode(data, given, draws, seed), "latent"),
        "posterior_predictive": _drawn(fitted.query(data, given, None, draws, seed), "feature"),
        "prior": _drawn({name: values for name, values in prior.items() if name not in known}, "latent"),
        "prior_predictive": _drawn({name: values for name, values in prior.items() if name in known}, "feature"),
        "log_likelihood": _drawn({name: np.where(data.present(name), v, np.nan) for name, v in likelihood.items()}),
        "sample_stats": _statistics(fitted.log_weights(data, given, draws, seed)),
        "observed_data": {
            name: (_dims(name, ("item",), data.arrays[name], "feature"), data.holed(name)) for name in names
        },
        "constant_data": {name: (("item",), label) for name, label in (data.labels or {}).items()},
    }


def coords(fitted: Any, data: Dataset) -> dict[str, Any]:
    """The labels of dimensions that the data or the run know: ids of the items, names of a modality's elements."""
    known = {m.name: m.features for m in fitted.modalities if m.features is not None} | data.features
    shown = {name for name in fitted.names if name in data.arrays or name in fitted.explained}
    ids = {} if data.ids is None else {"item": data.ids}
    return ids | {f"{name}_feature": list(features) for name, features in known.items() if name in shown}


@each_draw
def from_prior(model: Any, guide: Any, batch: Batch, draws: int) -> dict[str, Any]:
    """Draws of each item's latents, and of its modalities, from the model alone."""
    with items().repeated(draws):
        return local_latents(model_sites(model, batch))


@each_draw
@dataclass(frozen=True)
class LogLikelihood:
    """``log p(x_m | z)`` of the asked modalities at draws from q(z | x_given), ``(draws, items)``, in nats.

    What the model enumerates is summed out, given the latents that were drawn.
    """

    given: tuple[str, ...]

    def __call__(self, model: Any, guide: Any, batch: Batch, draws: int, ask: tuple[str, ...]) -> dict[str, Any]:
        with items().repeated(draws):
            proposed = latents(random_sites(guide, batch.given(self.given)))
            with items().enumerating():
                sites = random_sites(model, batch, proposed)
        known = {name: site for name, site in sites.items() if name in proposed}
        hidden = {name: site for name, site in sites.items() if is_enumerated(site)}
        found = {name: [own for own in pieces(sites, name) if sites[own]["is_observed"]] for name in ask}
        scored = {
            n: joint({**known, **hidden, **{k: sites[k] for k in own}}, known, own) for n, own in found.items() if own
        }
        return {name: sum(parts.values()) for name, parts in scored.items()}


def _given(data: Dataset, names: Sequence[str]) -> Batch:
    return data.batch(given=names) if names else Batch(size=len(data))


def _statistics(log_weights: np.ndarray) -> Group:
    _, khat = arviz.psis(log_weights)
    return {
        "log_weights": (("draw", "item"), log_weights),
        "elbo": (("item",), log_weights.mean(0)),
        "khat": (("item",), khat),
    }


def _drawn(arrays: Mapping[str, np.ndarray], kind: str = "") -> Group:
    return {name: (_dims(name, ("draw", "item"), array, kind), array) for name, array in arrays.items()}


def _dims(name: str, lead: tuple[str, ...], array: np.ndarray, kind: str) -> tuple[str, ...]:
    """Names of the axes: those of one item are ``NAME_kind``, numbered where there are several; z's is ``latent``."""
    axes = array.ndim - len(lead)
    label = kind if (name, kind) == ("z", "latent") else f"{name}_{kind}"
    return (*lead, *([label] if axes == 1 else [f"{label}_{i}" for i in range(axes)]))
