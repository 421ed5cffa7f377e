"""ArviZ groups: the arrays of an ArviZ result, by group with their dimensions, from a fitted pair on either backend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ppvae.data.dataset import Dataset
from ppvae.inference import arviz
from ppvae.inference.chunks import answer, shares
from ppvae.inference.questions import Question, each_draw, encode_shared
from ppvae.language.batch import Batch
from ppvae.language.pieces import owner, pieces, whole
from ppvae.language.ppl import items
from ppvae.language.traces import (
    Sites,
    is_enumerated,
    joint,
    latents,
    local_latents,
    model_sites,
    random_sites,
    shared_latents,
)

Group = dict[str, tuple[tuple[str, ...], Any]]


def of_guide(fitted: Any, data: Dataset, given: Sequence[str] | None, draws: int, seed: int) -> dict[str, Group]:
    """The groups that stand on the posterior: group to name to ``(dimensions, array)``."""
    names = [name for name in fitted.names if name in data.arrays]
    question = Question(LogLikelihood(tuple(fitted.shown(data, given))), draws, tuple(names), jointly=True)
    likelihood = answer(fitted.vae.pair, fitted.settings, question, data.batch(given=names), data.keys, seed)
    return {
        "posterior": {
            **_shared(fitted, data, fitted.shown(data, given), encode_shared, draws, seed),
            **drawn(fitted.encode(data, given, draws, seed), "latent"),
        },
        "posterior_predictive": drawn(fitted.query(data, given, None, draws, seed), "feature"),
        "log_likelihood": drawn(
            {name: np.where(data.present(name), likelihood[name], np.nan) for name in names if name in likelihood}
        ),
        "sample_stats": _statistics(fitted.log_weights(data, given, draws, seed)),
    }


def of_model(fitted: Any, data: Dataset, draws: int, seed: int) -> dict[str, Group]:
    """The groups of the prior and of the data, alike."""
    names = [name for name in fitted.names if name in data.arrays]
    conditions = [name for name in fitted.vae.model.conditions if name in names]
    batch = data.batch(given=conditions) if conditions else Batch(size=len(data))
    ask = tuple(fitted.explained)
    question = Question(from_prior, draws, ask, jointly=True)
    prior = answer(fitted.vae.pair, fitted.settings, question, batch, data.keys, seed)
    return {
        "prior": {
            **_shared(fitted, data, conditions, shared_from_prior, draws, seed, ask=ask),
            **drawn({name: values for name, values in prior.items() if name not in fitted.names}, "latent"),
        },
        "prior_predictive": drawn({name: prior[name] for name in fitted.names if name in prior}, "feature"),
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


def _shared(
    fitted: Any, data: Dataset, names: Sequence[str], question: Any, draws: int, seed: int, **options: Any
) -> Group:
    """Draws of what all items share, but for what is made of each item anew."""
    rows = np.unique([0, len(data) - 1])
    batch = data.batch(rows, given=names) if names else Batch(size=len(rows))
    trained = data.order == fitted.notes.get("order")
    asked = Question(question, draws, jointly=True, **options)
    if not shares(fitted.vae.pair, fitted.settings, batch, trained):
        return {}
    found = answer(fitted.vae.pair, fitted.settings, asked, batch, data.keys[rows], seed, trained)
    alike = {name: values[:, 0] for name, values in found.items() if (values[:, :1] == values).all()}
    return {name: (_dims(name, ("draw",), values, "latent"), values) for name, values in alike.items()}


@each_draw
def from_prior(model: Any, guide: Any, batch: Batch, draws: int, ask: tuple[str, ...]) -> dict[str, Any]:
    """Draws of each item's latents, and of the asked modalities, from the model alone."""
    with items().repeated(draws):
        sites = model_sites(model, replace(batch, ask=ask))
    own = local_latents({name: site for name, site in sites.items() if owner(name, ask)[0] not in ask})
    return {**own, **{name: whole(sites, name) for name in ask if pieces(sites, name)}}


@each_draw
def shared_from_prior(model: Any, guide: Any, batch: Batch, draws: int, ask: tuple[str, ...]) -> dict[str, Any]:
    """Draws of what all items share from the model alone, ``(draws, 1, ...)``."""
    with items().repeated(draws):
        return shared_latents(model_sites(model, replace(batch, ask=ask)))


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
